"""A fleet as its YAML file writes it: what people may leave out, and times with their unit. `load.py` makes a `FleetSpec` of it.

Times are `90`, `90s`, `10m`, `24h` or `1.5d`; a plain number is seconds.
"""

import re
from typing import Annotated, Any, Literal

import msgspec

from amas.fleet.declared_tools import DeclaredTool
from amas.model.alerts import Severity
from amas.model.fleet import Isolation
from amas.model.gate import GateSpec
from amas.model.limits import Amounts
from amas.model.remote import RemoteSpec
from amas.model.routing import RoutingWeights
from amas.model.scaling import ScalingWindow
from amas.model.states import Layer

Time = float | str

_TIME = re.compile(r"(\d+(?:\.\d+)?) ?(ms|s|m|h|d)?")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0}


class DeclaredRetry(msgspec.Struct, frozen=True, kw_only=True):
    """How often and how soon a failed task is tried again."""

    retries: int | None = None
    """Not said: ORCHESTRATION_RETRY_ATTEMPTS."""
    backoff: Time = 1.0
    backoff_max: Time = 60.0
    jitter: float = 0.5


class DeclaredProcessLimits(msgspec.Struct, frozen=True, kw_only=True):
    """What a process of `isolation: process` may take."""

    memory_mb: int = 2048
    cpu: Time = 0.0


class DeclaredHealing(msgspec.Struct, frozen=True, kw_only=True):
    """How patient a pool is with agents that crash or stand still."""

    stuck_after: Time | None = None
    """Not said: 5m, or half of what an attempt may take if that is more; 0: never."""
    crashes: int = 3
    window: Time = 600.0
    backoff: Time = 1.0
    backoff_max: Time = 60.0
    quarantine: Time = 900.0


class DeclaredTargets(msgspec.Struct, frozen=True, kw_only=True):
    """What is meant to be had of each signal that a pool's size follows."""

    queue_depth: float | None = None
    queue_total: float | None = None
    oldest: Time | None = None
    utilisation: float | None = None
    cpu: float | None = None
    memory_mb: float | None = None
    messages: float | None = None
    workflows: float | None = None


class DeclaredPace(msgspec.Struct, frozen=True, kw_only=True):
    """How fast a pool grows or shrinks; what isn't said is as in `model.scaling`."""

    count: int | None = None
    percent: float | None = None
    every: Time | None = None
    after: Time | None = None
    cooldown: Time | None = None


class DeclaredVertical(msgspec.Struct, frozen=True, kw_only=True):
    """How the memory limit of its isolated attempts follows what they take."""

    step_mb: int
    max_mb: int
    memory: float = 0.8
    cooldown: Time = "30m"
    back: Time = "2h"


class DeclaredScaling(msgspec.Struct, frozen=True, kw_only=True):
    """How a pool's size follows its work."""

    max: int
    min: int = 1
    targets: DeclaredTargets = DeclaredTargets()
    up: DeclaredPace = DeclaredPace()
    down: DeclaredPace = DeclaredPace()
    tolerance: float = 0.1
    to_zero_after: Time = 300.0
    schedules: tuple[ScalingWindow, ...] = ()
    usd_per_hour: float | None = None
    agent_usd_per_hour: float | None = None
    forecast: bool = False
    recommend_only: bool = False
    vertical: DeclaredVertical | None = None


class DeclaredHosts(msgspec.Struct, frozen=True, kw_only=True):
    """How many hosts there are, where that follows load, and their labels."""

    min: int = 1
    max: int | None = None
    """Not said: their number stays at `min`."""
    labels: dict[str, dict[str, str]] = msgspec.field(default_factory=dict)
    """By host: `host-1`, ..."""
    agents: int = 10_000
    cpu: float = 0.7
    up: DeclaredPace = DeclaredPace()
    down: DeclaredPace = DeclaredPace()


class DeclaredHttp(msgspec.Struct, frozen=True, kw_only=True):
    """How a foreign agent is called, as `agents/http_agent.py` says."""

    url: str
    health: str = ""
    request: Any = None
    result: str = ""
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    timeout: Time = 60.0
    private: bool = False
    enabled: bool = True


class DeclaredA2a(msgspec.Struct, frozen=True, kw_only=True):
    """How a foreign A2A agent is spoken to, as `agents/a2a_agent.py` says."""

    card: str
    hosts: tuple[str, ...] = ()
    tenant: str = ""
    skills: tuple[str, ...] = ()
    text: Any = None
    data: Any = None
    result: str = ""
    questions: Literal["fail", "escalate"] = "fail"
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    poll: Time = 5.0
    timeout: Time = 60.0
    private: bool = False
    enabled: bool = True


class DeclaredRollout(msgspec.Struct, frozen=True, kw_only=True):
    """How a new version is brought in."""

    steps: tuple[float, ...] = (0.05, 0.25, 0.5)
    min_tasks: int = 50
    min_time: Time = "1m"
    max_duration: Time = "24h"
    start_limit: Time = "5m"
    success_drop: float = 0.05
    quality_drop: float = 0.05
    latency_ratio: float = 1.5
    cost_ratio: float = 1.25
    alpha: float = 0.05
    beta: float = 0.05
    environment: Literal["production", "staging"] = "production"
    long_runs: Literal["keep", "hand_over"] = "keep"
    long_runs_limit: Time = "1h"


class DeclaredPool(msgspec.Struct, frozen=True, kw_only=True):
    """One pool."""

    name: str
    capabilities: tuple[str, ...] = ()
    """Where it has `skills`, those of its skills."""
    agent: str = ""
    model_agent: str = ""
    """The path of a model agent's spec, from the fleet file's folder, in place of `agent`."""
    skills: dict[str, str] = msgspec.field(default_factory=dict)
    """By capability, the `module:attribute` of the agent that does it, in place of `agent`: one agent of many trades."""
    http: DeclaredHttp | None = None
    """A foreign agent's server, in place of `agent`: each task is a request to it."""
    a2a: DeclaredA2a | None = None
    """A foreign agent that speaks A2A, in place of `agent`."""
    title: str = ""
    layer: Layer = Layer.SPECIALIST
    lead: str = ""
    replicas: int = 1
    tasks_per_agent: int = 1
    isolation: Isolation = "shared"
    limits: DeclaredProcessLimits = DeclaredProcessLimits()
    timeout: Time = 600.0
    retry: DeclaredRetry = DeclaredRetry()
    max_queued: int | None = None
    version: str | int | float = "1"
    stage: int = 1
    """When its agents start: after those of every lower stage are there."""
    options: dict[str, Any] = msgspec.field(default_factory=dict)
    provider: str = ""
    estimate: Amounts | None = None
    budget: Amounts | None = None
    rights: tuple[str, ...] = ()
    """Added to its layer's; with a `-` before it, taken away."""
    healing: DeclaredHealing = DeclaredHealing()
    scaling: DeclaredScaling | None = None
    rollout: DeclaredRollout | None = None
    """How a new version of it is brought in, in place of what the fleet says."""
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    tools: tuple[str, ...] = ()
    """Those of the fleet's tools that its agents may use."""
    node_selector: dict[str, str] = msgspec.field(default_factory=dict)


class DeclaredLimits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of the hierarchy and its workflows that this fleet sets for itself; what isn't said is the environment's."""

    max_agents_per_pool: int | None = None
    max_tasks_per_agent: int | None = None
    max_total_agents: int | None = None
    max_agent_spawn_rate: float | None = None
    heartbeat_interval: Time | None = None
    max_workflows: int | None = None
    max_subtasks: int | None = None
    max_queued: int | None = None
    decomposition_timeout: Time | None = None
    workflow_timeout: Time | None = None
    quality_threshold: float | None = None
    quality_rounds: int = 2
    replans_max: int = 1


class DeclaredTenant(msgspec.Struct, frozen=True, kw_only=True):
    """What one tenant gets."""

    weight: float = 1.0
    budget: Amounts | None = None


class DeclaredProvider(msgspec.Struct, frozen=True, kw_only=True):
    """What an account with a provider allows; what isn't said is not limited."""

    requests_per_min: int | None = None
    tokens_per_min: int | None = None


class DeclaredRouting(msgspec.Struct, frozen=True, kw_only=True):
    """How tasks are shared among pools that can do the same."""

    enabled: bool = True
    explore: float = 0.05
    half_life: Time = "30m"
    weights: RoutingWeights = RoutingWeights()


class DeclaredBackup(msgspec.Struct, frozen=True, kw_only=True):
    """When the fleet is backed up by itself, and for how long that is kept."""

    to: str = ""
    """A folder or s3://bucket/prefix; not said: AMAS_BACKUP_URL."""
    every: Time = "1h"
    full: Time = "24h"
    keep: Time = "7d"
    keep_full: Time = "30d"


class DeclaredBreaker(msgspec.Struct, frozen=True, kw_only=True):
    """When a dependency's breaker opens, and for how long."""

    errors: int = 5
    open: Time = 30.0


class DeclaredRule(msgspec.Struct, frozen=True, kw_only=True):
    """One rule for alerts."""

    name: str
    when: str
    severity: Severity = "warning"
    hold: Time = msgspec.field(name="for", default=0.0)
    clear: Time = 30.0
    labels: dict[str, str] = msgspec.field(default_factory=dict)
    runbook: str = ""
    summary: str = ""


class DeclaredWebhook(msgspec.Struct, frozen=True, kw_only=True):
    """One receiver of alerts."""

    name: str
    url: str
    severities: tuple[Severity, ...] = ("critical", "warning", "info")
    link_local: bool = False


class DeclaredAlerts(msgspec.Struct, frozen=True, kw_only=True):
    """The part `alerts` of a fleet file."""

    defaults: bool = True
    """Whether the rules that every fleet has are its too."""
    off: tuple[str, ...] = ()
    """Of those, the ones that it doesn't want."""
    rules: tuple[DeclaredRule, ...] = ()
    """Its own; one with the name of a default takes its place."""
    webhooks: tuple[DeclaredWebhook, ...] = ()


class DeclaredFleet(msgspec.Struct, frozen=True, kw_only=True):
    """The whole file."""

    name: str
    pools: tuple[DeclaredPool, ...]
    title: str = ""
    limits: DeclaredLimits = DeclaredLimits()
    playbooks: tuple[str, ...] = ()
    hosts: int | Literal["auto"] | DeclaredHosts = 1
    """`auto`: one for each core that this process may use."""
    providers: dict[str, DeclaredProvider] = msgspec.field(default_factory=dict)
    tenants: dict[str, DeclaredTenant] = msgspec.field(default_factory=dict)
    authority: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    """By layer, as a pool's `rights`: added to what the layer may do, or taken away."""
    gate: GateSpec = GateSpec()
    """How its gates judge, where no playbook, phase or task says otherwise."""
    routing: DeclaredRouting = DeclaredRouting()
    breakers: dict[str, DeclaredBreaker] = msgspec.field(default_factory=dict)
    """By dependency."""
    remote: RemoteSpec = RemoteSpec()
    """Which agents that run elsewhere it lets in; AMAS_REMOTE_AGENTS goes before what is said here."""
    rollout: DeclaredRollout | None = None
    """How new versions of its pools are brought in; not said: at once, unless `amas rollout` is asked."""
    backup: DeclaredBackup | None = None
    alerts: DeclaredAlerts = DeclaredAlerts()
    runbooks: tuple[str, ...] = ()
    """Names of shipped run-books or paths; empty for all that ship with the product."""
    tools: dict[str, DeclaredTool] = msgspec.field(default_factory=dict)
    policies: Annotated[
        str | tuple[str, ...],
        msgspec.Meta(extra={"mend": "rules stand in a file of their own, which is named here, such as policies.yaml"}),
    ] = ()
    """Files and folders with rules for tools, from the fleet file's folder."""


def seconds(time: Time) -> float:
    """Return a time in seconds; ValueError says what it should look like."""
    if isinstance(time, str):
        match = _TIME.fullmatch(time.strip())
        if match is None:
            raise ValueError(f"{time!r} is no time: write 90s, 10m or 24h; a plain number is seconds")
        time = float(match[1]) * _SECONDS[match[2] or "s"]
    if not 0 <= time < float("inf"):
        raise ValueError(f"{time!r} is no time: it can't be less than 0 or without end")
    return time
