"""A fleet as declared: pools, their place in the hierarchy, policies and limits; `fleet/` reads it from YAML and checks it."""

from typing import Literal

import msgspec

from amas.model.alerts import AlertsSpec
from amas.model.authority import AUTHORITY, Member, Right
from amas.model.backup import BackupSpec
from amas.model.breaker import BreakerSpec
from amas.model.gate import GateSpec
from amas.model.healing import HealingSpec
from amas.model.limits import Amounts
from amas.model.numbers import Numbers, lowest, pool_named
from amas.model.policy import PolicyRule
from amas.model.remote import RemoteSpec
from amas.model.rollout_spec import RolloutSpec
from amas.model.routing import RoutingSpec
from amas.model.runbook import RunBook
from amas.model.scaling import HostScaling, ScalingSpec
from amas.model.states import Layer
from amas.model.task import DEFAULT_RETRY, Json, RetryPolicy
from amas.model.tools import ToolSpec

DELAYED = "delayed"
"""In the place of a queue: the delayed tasks of all queues together."""

VARIANT = "~"
"""Between a pool's name and a version, in the name of the pool that stands for this version during a roll-out."""
MODEL_AGENT = "amas.agents.model_agent:ModelAgent"
"""The agent that is a language model, whose `options.tools` are grants, too."""
STAND_IN = "amas.agents.stand_in:StandIn"
"""The agent that holds the place of one whose skill doesn't exist yet: it answers with what it was given."""

Isolation = Literal["shared", "process"]
"""`shared`: in the host's own process (blocking functions in threads). `process`: each attempt in a child that can be killed."""


class ProcessLimits(msgspec.Struct, frozen=True):
    """What a child process of `isolation: process` may take."""

    memory_mb: int = 2048
    """Address space in MiB; 0 for no limit."""
    cpu_s: int = 0
    """CPU seconds; 0 for no limit."""


class PoolSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Interchangeable agents of one kind."""

    name: str
    """Lower case with hyphens; its agents are called `name-1`, `name-2`, ... (`numbers`)."""
    agent: str
    """`module:attribute` of a `BaseAgent` subclass or an `@agent` function."""
    capabilities: tuple[str, ...]
    title: str = ""
    """For people: `Quality Supervisor`."""
    layer: Layer = Layer.SPECIALIST
    lead: str = ""
    """The pool that this one reports to; empty only where no pool stands above it, as in the executive layer."""
    replicas: int = 1
    tasks_per_agent: int = 1
    isolation: Isolation = "shared"
    limits: ProcessLimits = ProcessLimits()
    timeout_s: float = 600.0
    """Seconds that one attempt may take."""
    retry: RetryPolicy = DEFAULT_RETRY
    max_queued: int | None = None
    """The most tasks that may be queued in each of its queues; 0 for no limit, None for the fleet's."""
    version: str = "1"
    options: dict[str, Json] = msgspec.field(default_factory=dict)
    """Handed to the agent when it is made."""
    provider: str = ""
    """Whose requests and tokens a minute its tasks take, unless they name one themselves."""
    estimate: Amounts | None = None
    """What one attempt takes, where a task doesn't say."""
    budget: Amounts | None = None
    """What all its tasks may spend, ever."""
    rights: frozenset[Right] | None = None
    """What its agents may do; None: what `AUTHORITY` gives its layer."""
    healing: HealingSpec = HealingSpec()
    scaling: ScalingSpec | None = None
    """How its size follows its work; None: it stays as declared."""
    labels: dict[str, str] = {}
    """For people and programs that look for agents: `family`, `speciality`, ..."""
    node_selector: dict[str, str] = {}
    """Labels that a host must have to seat its agents; empty: any host may."""
    stage: int = 1
    """When its agents start: pools of stage 1 are there and well before those of 2 begin; they stop in reverse."""
    life: int = 0
    """How often its agents were asked to be made anew, which hosts do when a pool isn't what it was; no file says it."""
    gone: Numbers = ()
    """The numbers of agents that were taken out of it, below its highest; no file says it."""
    rollout: RolloutSpec | None = None
    """How a new version of it is brought in; None: as the fleet says."""
    variant_of: str = ""
    """The pool in whose place these agents, of another version, take a share of the tasks; empty for a pool of its own."""
    tools: tuple[str, ...] = ()
    """The fleet's tools that its agents may use; an MCP server's name means all of its tools, `server/tool` one."""

    @property
    def grants(self) -> tuple[str, ...]:
        """All tools that it names: of a model pool the functions in its options besides."""
        more = self.options.get("tools") if self.agent == MODEL_AGENT else None
        return (*self.tools, *map(str, more)) if isinstance(more, list | tuple) else self.tools

    @property
    def skill(self) -> str:
        """What its agents really know: the name of their code, `none` where they only hold the place of a skill to come."""
        return "none" if self.agent == STAND_IN else self.agent.partition(":")[2]

    @property
    def numbers(self) -> Numbers:
        """Its agents' numbers: from 1 on, without those that are gone."""
        return lowest(self.replicas, self.gone)

    @property
    def member(self) -> Member:
        """Its place in the hierarchy; a variant has that of its base."""
        rights = AUTHORITY[self.layer] if self.rights is None else self.rights
        return Member(
            pool=self.variant_of or self.name, layer=self.layer, lead=self.lead, rights=rights, capabilities=self.capabilities
        )

    @property
    def queues(self) -> tuple[str, ...]:
        """The queues its agents are served from: one for each capability, and the pool's own.

        A variant is served from its branches of its base's alone, so that it never gets more than its share.
        """
        if self.variant_of:
            return (f"@{self.name}", *(f"{queue}@{self.name}" for queue in (*self.capabilities, f"@{self.variant_of}")))
        return (*self.capabilities, f"@{self.name}")


def own_queue(pool: str) -> str:
    """Return the queue of tasks that name a pool; of a variant its branch of its base's, where they go when the variant goes."""
    base, varied, _ = pool.partition(VARIANT)
    return f"@{base}@{pool}" if varied else f"@{pool}"


def pool_of(agent_id: str) -> str:
    """Return the pool of an agent, of a variant's the one in whose place it stands."""
    return pool_named(agent_id).partition(VARIANT)[0]


class FleetLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of the hierarchy; the environment's ORCHESTRATION_* set the defaults and a fleet file may raise them."""

    max_agents_per_pool: int = 5
    max_tasks_per_agent: int = 3
    max_total_agents: int = 500
    max_agent_spawn_rate: float = 10.0
    """Agents a second by which the fleet grows at most."""
    heartbeat_interval_s: float = 60.0
    """Between two looks whether an agent with a health check of its own can work."""
    max_workflows: int = 100
    max_queued: int = 1_000_000
    """The most tasks that may be queued in one queue, where its pools say nothing else; 0 for no limit."""
    max_subtasks: int = 50
    """In one plan, and in what one lead splits off at a time."""
    decomposition_timeout_s: float = 120.0
    workflow_timeout_h: float = 24.0
    quality_threshold: float = 0.85
    quality_rounds: int = 2
    """How often the gate sends a part back before it goes up as it is, marked."""
    gate: GateSpec = GateSpec()
    """How this fleet's gates judge; what it says of threshold and rounds goes before the two above."""
    replans_max: int = 1
    """How often the failed part of a goal's plan is planned again."""


class ProviderSpec(msgspec.Struct, frozen=True, kw_only=True):
    """An account with a provider of models, and what it allows."""

    name: str
    requests_per_min: int | None = None
    """None: not limited."""
    tokens_per_min: int | None = None


class TenantSpec(msgspec.Struct, frozen=True, kw_only=True):
    """What one tenant gets; a tenant that isn't declared has the defaults."""

    weight: float = 1.0
    """How many times a tenant of weight 1 it gets of what agents do."""
    budget: Amounts | None = None
    """What all its tasks may spend, ever."""


class FleetSpec(msgspec.Struct, frozen=True, kw_only=True):
    """The whole declaration."""

    name: str
    pools: tuple[PoolSpec, ...]
    title: str = ""
    limits: FleetLimits = FleetLimits()
    playbooks: tuple[str, ...] = ()
    """Names of shipped playbooks or paths; empty for all that ship with the product."""
    hosts: int = 1
    """Host processes that the local platform starts; where their number follows load, the fewest."""
    host_labels: dict[str, dict[str, str]] = {}
    """Labels of the local platform's hosts, by host; one that isn't named has none, or those that it was started with."""
    host_scaling: HostScaling | None = None
    """How the number of hosts follows load; None: it stays as declared."""
    folder: str = ""
    """Where its file lies, an absolute path: agents' modules may stand beside it. Empty for one that no file declared."""
    file: str = ""
    """Its file: an absolute path, or the bare name of one that ships with amas. Empty for one that no file declared."""
    providers: tuple[ProviderSpec, ...] = ()
    tenants: dict[str, TenantSpec] = msgspec.field(default_factory=dict)
    routing: RoutingSpec = RoutingSpec()
    breakers: dict[str, BreakerSpec] = msgspec.field(default_factory=dict)
    """By dependency; one that isn't declared has the defaults."""
    remote: RemoteSpec = RemoteSpec()
    rollout: RolloutSpec | None = None
    """How new versions of its pools are brought in; None: where it is asked for, by the defaults, and else at once."""
    backup: BackupSpec | None = None
    """None: it isn't backed up by itself."""
    alerts: AlertsSpec = AlertsSpec()
    runbooks: tuple[RunBook, ...] = ()
    tools: dict[str, ToolSpec] = msgspec.field(default_factory=dict)
    """What its pools' agents may be allowed to use besides their own code."""
    policies: tuple[PolicyRule, ...] = ()
    """Who may use which tools, besides what its pools are granted."""

    @property
    def capabilities(self) -> frozenset[str]:
        """Everything that some agent of this fleet can do, remote ones that it lets in included."""
        remote = self.remote.capabilities if self.remote.agents != "off" else ()
        return self.declared_capabilities.union(remote)

    @property
    def declared_capabilities(self) -> frozenset[str]:
        """What its pools can do."""
        return frozenset(capability for pool in self.pools for capability in pool.capabilities)

    @property
    def members(self) -> tuple[Member, ...]:
        """Everybody's place in the hierarchy, a pool each."""
        return tuple(pool.member for pool in self.pools)

    @property
    def stages(self) -> dict[int, tuple[PoolSpec, ...]]:
        """The pools by the stage in which their agents start, in order."""
        numbers = sorted({pool.stage for pool in self.pools})
        return {number: tuple(pool for pool in self.pools if pool.stage == number) for number in numbers}

    @property
    def queue_bounds(self) -> dict[str, int]:
        """The most tasks that may be queued in each queue, 0 for no limit; pools that share a capability get the larger one's."""
        bounds = {DELAYED: self.limits.max_queued}
        for pool in self.pools:
            most = self.limits.max_queued if pool.max_queued is None else pool.max_queued
            for queue in pool.queues:
                held = bounds.get(queue, most)
                bounds[queue] = max(held, most) if held and most else 0
        for capability in self.remote.capabilities:
            bounds.setdefault(capability, self.limits.max_queued)
        return bounds

    def pool(self, name: str) -> PoolSpec:
        """Return the pool called `name`; KeyError when there is none."""
        for pool in self.pools:
            if pool.name == name:
                return pool
        raise KeyError(name)
