"""Fleet files: found by name or path, read, and checked, with file, line, field and the mend of whatever is wrong.

`load_fleet("amas")` returns the blueprint of that name; `load_fleet("my/fleet.yaml")` a file's. Agents are imported only with
`agents=True`, as `amas up` and `amas doctor` want it. Called by the local platform, hosts and the control plane.
"""

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import msgspec

from amas.agents.generalist import SKILLS
from amas.core.gates import mistakes
from amas.errors import FleetError
from amas.fleet.alerts import AlertsReading, load_runbooks
from amas.fleet.authority import RightsInvalid, layer_rights, pool_rights
from amas.fleet.check import HOSTS_MAX, agent_problems, problems
from amas.fleet.declared import (
    DeclaredBackup,
    DeclaredBreaker,
    DeclaredFleet,
    DeclaredHealing,
    DeclaredHosts,
    DeclaredLimits,
    DeclaredPool,
    DeclaredProvider,
    DeclaredRollout,
    DeclaredRouting,
    DeclaredTenant,
    Time,
    seconds,
)
from amas.fleet.policies import load_policies, policy_paths
from amas.fleet.scaling import host_scaling, scaling_spec
from amas.fleet.tools import ToolsReading
from amas.model.authority import Right
from amas.model.backup import BackupSpec
from amas.model.breaker import BreakerSpec
from amas.model.fleet import MODEL_AGENT, FleetLimits, FleetSpec, PoolSpec, ProcessLimits, ProviderSpec, TenantSpec
from amas.model.gate import GateSpec
from amas.model.goal import ROOT_CAPABILITY
from amas.model.healing import HealingSpec
from amas.model.limits import RATE_MAX, Amounts
from amas.model.meant import did_you_mean
from amas.model.remote import RemoteSpec
from amas.model.rollout_spec import RolloutSpec
from amas.model.routing import RoutingSpec
from amas.model.task import Json, RetryPolicy
from amas.model.yamlfile import YamlFile, shipped_folder
from amas.orchestration.playbooks import load_playbooks
from amas.policy.judge import known
from amas.settings import OrchestrationLimits, QueueSettings, RemoteSettings

QUALITY_ROUNDS_MAX = 10
"""A part that ten rounds didn't mend won't be mended by the eleventh."""

WEIGHT_MIN, WEIGHT_MAX = 0.01, 100.0
"""Beyond these a tenant would have the fleet to itself, or nothing."""

EXPLORE_MAX = 0.5
"""More would be chance and not choice."""
WEIGHT_POINTS_MAX = 1e6

OPEN_MIN_S = 0.1
"""Less would try a dependency that is down again and again."""

GENERALIST = "amas.agents.generalist:Generalist"
"""What works where a pool has `skills`."""

HTTP_AGENT = "amas.agents.http_agent:HttpAgent"
"""What `http` is short for."""
A2A_AGENT = "amas.agents.a2a_agent:A2aAgent"
"""What `a2a` is short for."""
FOREIGN = {HTTP_AGENT: "http", A2A_AGENT: "a2a"}
"""Agents that a pool can switch off, and where they say so."""

REPLANS_MAX = 10
"""As with rounds; each may pay a model and runs parts of a plan."""

_TIMES = ("min_time", "max_duration", "start_limit", "long_runs_limit")
"""Of a `rollout:` section, in seconds in the spec."""
BACKUP_EVERY_MIN_S = 60.0
"""A back-up forks the engine; what is lost in less than a minute a snapshot isn't for."""

_HOUR_S = 3600.0
_OWN = {"quality_rounds", "replans_max", "max_queued"}  # limits that no ORCHESTRATION_ variable sets


def blueprints() -> list[str]:
    """Return the names of the fleets that ship with the product."""
    return sorted(path.stem for path in shipped_folder("fleets").glob("*.yaml"))


def find_fleet(name_or_path: str | Path) -> Path:
    """Return the absolute path of a fleet file; a word without folder and suffix is a blueprint's name."""
    text = str(name_or_path)
    if "/" in text or text.endswith((".yaml", ".yml")):
        path = Path(text).expanduser().absolute()
        if not path.is_file():
            raise FleetError(f"there is no fleet file {text}")
        return path
    path = shipped_folder("fleets") / f"{text}.yaml"
    if not path.is_file():
        raise FleetError(
            f"there is no fleet {text!r}{did_you_mean(text, blueprints())}: amas has {', '.join(blueprints())}; "
            "a file of your own needs its suffix, such as ./fleet.yaml"
        )
    return path


def name_of_fleet(fleet_file: str) -> str:
    """Return a fleet file's path, or its bare name when it ships with amas."""
    path = Path(fleet_file)
    return path.stem if path.parent == shipped_folder("fleets") else fleet_file


def load_fleet(name_or_path: str | Path, *, agents: bool = False, environ: Mapping[str, str] | None = None) -> FleetSpec:
    """Return the fleet that a file declares; FleetFileInvalid names file, line, field and the mend of the first mistake.

    `agents`: import every pool's agent too, and read the playbooks of a fleet that takes goals. Modules beside the file are
    found, here as in the fleet's hosts.
    """
    path = find_fleet(name_or_path)
    file = YamlFile.read(path)
    said = file.decode(DeclaredFleet)
    spec = _Reading(file, environ).fleet(said)
    for field, message in problems(spec):
        raise file.invalid(message, field)
    if said.policies:
        rules = load_policies(policy_paths(said.policies, path.parent), known(spec)).rules
        spec = msgspec.structs.replace(spec, policies=rules)
    if agents:
        if str(path.parent) not in sys.path:
            sys.path.append(str(path.parent))
        for field, message in agent_problems(spec):
            raise file.invalid(message, field)
        if ROOT_CAPABILITY in spec.capabilities:
            load_playbooks(spec.playbooks)
    return _switched_on(spec, file)


def _switched_on(spec: FleetSpec, file: YamlFile) -> FleetSpec:
    """Return the fleet without the foreign agents that are switched off."""
    pools = tuple(
        pool for pool in spec.pools if pool.agent not in FOREIGN or pool.options[FOREIGN[pool.agent]].get("enabled", True)
    )
    if len(pools) == len(spec.pools):
        return spec
    rest = msgspec.structs.replace(spec, pools=pools)
    for _, message in problems(rest):
        raise file.invalid(f"without those that are switched off: {message}", "pools")
    return rest


def _hosts(said: int | Literal["auto"]) -> int:
    return min(len(os.sched_getaffinity(0)), HOSTS_MAX) if said == "auto" else said


class _Reading:
    """Turns what the file says, and the environment where it says nothing, into a spec."""

    def __init__(self, file: YamlFile, environ: Mapping[str, str] | None) -> None:
        self._file = file
        self._defaults, self._queues = OrchestrationLimits.read(environ), QueueSettings.read(environ)
        agents = RemoteSettings.read(environ).agents
        self._remote = {"agents": agents} if agents else {}

    def fleet(self, said: DeclaredFleet) -> FleetSpec:
        try:
            self._authority = layer_rights(said.authority)
        except RightsInvalid as error:
            raise self._file.invalid(str(error), error.field) from error
        self._fleet_limits = self._limits(said.limits)
        hosts = said.hosts if isinstance(said.hosts, DeclaredHosts) else DeclaredHosts(min=_hosts(said.hosts))
        books = load_runbooks([self._beside(name) for name in said.runbooks])
        return FleetSpec(
            name=said.name,
            title=said.title or said.name,
            pools=tuple(self._pool(pool, f"pools[{index}]") for index, pool in enumerate(said.pools)),
            limits=msgspec.structs.replace(self._fleet_limits, gate=self._gate(said.gate)),
            playbooks=tuple(self._beside(name) for name in said.playbooks),
            hosts=hosts.min,
            host_labels=hosts.labels,
            host_scaling=host_scaling(hosts, "hosts", self._seconds),
            folder=str(Path(self._file.path).parent.absolute()),
            file=name_of_fleet(str(Path(self._file.path).absolute())),
            providers=tuple(self._provider(name, provider) for name, provider in said.providers.items()),
            tenants={name: self._tenant(tenant, f"tenants.{name}") for name, tenant in said.tenants.items()},
            routing=self._routing(said.routing),
            breakers={name: self._breaker(name, breaker) for name, breaker in said.breakers.items()},
            remote=msgspec.convert(msgspec.structs.asdict(said.remote) | self._remote, RemoteSpec),
            rollout=self._rollout(said.rollout, "rollout"),
            backup=self._backup(said.backup),
            alerts=AlertsReading(self._file, books).spec(said.alerts),
            runbooks=tuple(books.values()),
            tools=ToolsReading(self._file, self._seconds).specs(said.tools),
        )

    def _gate(self, said: GateSpec) -> GateSpec:
        for field, message in mistakes(said):
            raise self._file.invalid(message, f"gate.{field}")
        return said

    def _routing(self, said: DeclaredRouting) -> RoutingSpec:
        if not 0 <= said.explore <= EXPLORE_MAX:
            raise self._file.invalid(f"is {said.explore:g}, but must be from 0 to {EXPLORE_MAX:g}", "routing.explore")
        half_life_s = self._seconds(said.half_life, "routing.half_life")
        if half_life_s < 1:
            raise self._file.invalid(f"is {half_life_s:g} s, but must be a second or more", "routing.half_life")
        weights = msgspec.structs.asdict(said.weights)
        for name, weight in weights.items():
            if not 0 <= weight <= WEIGHT_POINTS_MAX:
                raise self._file.invalid(f"is {weight:g}, but must be from 0 to {WEIGHT_POINTS_MAX:g}", f"routing.weights.{name}")
        if not any(weights.values()):
            raise self._file.invalid("are all 0, so every pool is as good as any: give one of them points", "routing.weights")
        return RoutingSpec(enabled=said.enabled, explore=said.explore, half_life_s=half_life_s, weights=said.weights)

    def _rollout(self, said: DeclaredRollout | None, at: str) -> RolloutSpec | None:
        if said is None:
            return None
        given = msgspec.structs.asdict(said)
        for name in _TIMES:
            given[f"{name}_s"] = self._seconds(given.pop(name), f"{at}.{name}")
        spec = RolloutSpec(**given)
        if wrong := spec.problem():
            raise self._file.invalid(wrong[1], f"{at}.{wrong[0]}")
        return spec

    def _backup(self, said: DeclaredBackup | None) -> BackupSpec | None:
        if said is None:
            return None
        times = {name: self._seconds(getattr(said, name), f"backup.{name}") for name in ("every", "full", "keep", "keep_full")}
        if times["every"] < BACKUP_EVERY_MIN_S:
            raise self._file.invalid(f"is {times['every']:g} s, but must be a minute or more", "backup.every")
        for name, least in (("full", "every"), ("keep", "every"), ("keep_full", "full")):
            if times[name] < times[least]:
                raise self._file.invalid(f"is less than backup.{least}: make it at least that long", f"backup.{name}")
        to = said.to if not said.to or "://" in said.to else str((Path(self._file.path).parent / said.to).absolute())
        if "://" in to and not to.startswith(("s3://", "file:///")):
            raise self._file.invalid(f"is {to!r}, but must be a folder, file:///folder or s3://bucket/prefix", "backup.to")
        return BackupSpec(
            to=to, every_s=times["every"], full_s=times["full"], keep_s=times["keep"], keep_full_s=times["keep_full"]
        )

    def _tenant(self, said: DeclaredTenant, at: str) -> TenantSpec:
        if not WEIGHT_MIN <= said.weight <= WEIGHT_MAX:
            raise self._file.invalid(f"is {said.weight:g}, but must be from {WEIGHT_MIN:g} to {WEIGHT_MAX:g}", f"{at}.weight")
        return TenantSpec(weight=said.weight, budget=self._amounts(said.budget, f"{at}.budget"))

    def _amounts(self, said: Amounts | None, at: str) -> Amounts | None:
        if said is not None and (problem := said.problem()):
            raise self._file.invalid(problem, at)
        return said

    def _breaker(self, name: str, said: DeclaredBreaker) -> BreakerSpec:
        if said.errors < 1:
            raise self._file.invalid(
                f"is {said.errors}, but a breaker opens after 1 error at the earliest", f"breakers.{name}.errors"
            )
        open_s = self._seconds(said.open, f"breakers.{name}.open")
        if open_s < OPEN_MIN_S:
            raise self._file.invalid(f"is {open_s:g} seconds, but must be at least {OPEN_MIN_S:g}", f"breakers.{name}.open")
        return BreakerSpec(errors=said.errors, open_s=open_s)

    def _provider(self, name: str, said: DeclaredProvider) -> ProviderSpec:
        for field, value in (("requests_per_min", said.requests_per_min), ("tokens_per_min", said.tokens_per_min)):
            if value is not None and not 1 <= value <= RATE_MAX:
                raise self._file.invalid(f"is {value}, but must be from 1 to {RATE_MAX}", f"providers.{name}.{field}")
        return ProviderSpec(name=name, requests_per_min=said.requests_per_min, tokens_per_min=said.tokens_per_min)

    def _pool(self, said: DeclaredPool, at: str) -> PoolSpec:
        retries = said.retry.retries
        agent, options = self._agent(said, at)
        return PoolSpec(
            name=said.name,
            agent=agent,
            capabilities=said.capabilities or tuple(said.skills),
            title=said.title or said.name.replace("-", " ").capitalize(),
            layer=said.layer,
            lead=said.lead,
            replicas=max(said.replicas, said.scaling.min) if said.scaling else said.replicas,
            tasks_per_agent=said.tasks_per_agent,
            isolation=said.isolation,
            limits=ProcessLimits(
                memory_mb=said.limits.memory_mb, cpu_s=round(self._seconds(said.limits.cpu, f"{at}.limits.cpu"))
            ),
            stage=said.stage,
            timeout_s=self._seconds(said.timeout, f"{at}.timeout"),
            retry=RetryPolicy(
                retries=self._defaults.retry_attempts if retries is None else retries,
                backoff_s=self._seconds(said.retry.backoff, f"{at}.retry.backoff"),
                backoff_max_s=self._seconds(said.retry.backoff_max, f"{at}.retry.backoff_max"),
                jitter=said.retry.jitter,
            ),
            max_queued=said.max_queued,
            version=str(said.version),
            options=options,
            provider=said.provider,
            estimate=self._amounts(said.estimate, f"{at}.estimate"),
            budget=self._amounts(said.budget, f"{at}.budget"),
            rights=self._rights(said, at),
            healing=self._healing(said.healing, f"{at}.healing"),
            scaling=scaling_spec(said.scaling, f"{at}.scaling", self._seconds) if said.scaling else None,
            rollout=self._rollout(said.rollout, f"{at}.rollout"),
            labels=said.labels,
            tools=said.tools,
            node_selector=said.node_selector,
        )

    def _healing(self, said: DeclaredHealing, at: str) -> HealingSpec:
        if said.crashes < 1:
            raise self._file.invalid(
                f"is {said.crashes}, but an agent can be quarantined after 1 crash at the earliest", f"{at}.crashes"
            )
        times = {
            f"{name}_s": self._seconds(getattr(said, name), f"{at}.{name}")
            for name in ("window", "backoff", "backoff_max", "quarantine")
        }
        if times["backoff_s"] > times["backoff_max_s"]:
            raise self._file.invalid("waits longer after the first crash than at most: raise backoff_max", at)
        stuck_s = None if said.stuck_after is None else self._seconds(said.stuck_after, f"{at}.stuck_after")
        every_s = self._fleet_limits.heartbeat_interval_s
        return HealingSpec(stuck_after_s=stuck_s, crashes=said.crashes, check_every_s=every_s, **times)

    def _rights(self, said: DeclaredPool, at: str) -> frozenset[Right] | None:
        try:
            return pool_rights(said.rights, said.layer, self._authority)
        except RightsInvalid as error:
            raise self._file.invalid(str(error), f"{at}.{error.field}") from error

    def _agent(self, said: DeclaredPool, at: str) -> tuple[str, dict[str, Json]]:
        """Return what a pool's agents are made from, and their options."""
        foreign = [said.http is not None, said.a2a is not None]
        if [bool(said.agent), bool(said.model_agent), bool(said.skills), *foreign].count(True) != 1:
            ways = (
                "agent: module:attribute, model_agent: spec.yaml, http: {url: ...}, a2a: {card: ...}, "
                "or skills: with an agent for each capability"
            )
            raise self._file.invalid(f"needs an agent: say one of {ways}", at)
        if said.skills:
            if said.capabilities:
                raise self._file.invalid("are those of its skills: remove this line", f"{at}.capabilities")
            return GENERALIST, {**said.options, SKILLS: said.skills}
        if said.http is not None:
            given = msgspec.structs.asdict(said.http)
            timeout_s = self._seconds(given.pop("timeout"), f"{at}.http.timeout")
            return HTTP_AGENT, {**said.options, "http": {**given, "timeout_s": timeout_s}}
        if said.a2a is not None:
            given = msgspec.structs.asdict(said.a2a)
            times = {f"{name}_s": self._seconds(given.pop(name), f"{at}.a2a.{name}") for name in ("poll", "timeout")}
            return A2A_AGENT, {**said.options, "a2a": {**given, **times}}
        if not said.model_agent:
            return said.agent, said.options
        spec = (Path(self._file.path).parent / said.model_agent).absolute()
        return MODEL_AGENT, {**said.options, "spec": str(spec)}

    def _beside(self, playbook: str) -> str:
        """Return a playbook's path as it is meant, from the fleet file's folder; a bare name stays one that ships."""
        is_path = "/" in playbook or playbook.endswith((".yaml", ".yml"))
        return str((Path(self._file.path).parent / playbook).absolute()) if is_path else playbook

    def _limits(self, said: DeclaredLimits) -> FleetLimits:
        given = {name: value for name, value in msgspec.structs.asdict(said).items() if value is not None}
        rounds, replans = given.pop("quality_rounds"), given.pop("replans_max")
        max_queued = given.pop("max_queued", self._queues.max_queued)
        if not 0 <= rounds <= QUALITY_ROUNDS_MAX:
            raise self._file.invalid(f"is {rounds}, but must be from 0 to {QUALITY_ROUNDS_MAX}", "limits.quality_rounds")
        if not 0 <= replans <= REPLANS_MAX:
            raise self._file.invalid(f"is {replans}, but must be from 0 to {REPLANS_MAX}", "limits.replans_max")
        for name, unit_s in (("heartbeat_interval", 1.0), ("decomposition_timeout", 1.0), ("workflow_timeout", _HOUR_S)):
            if name in given:
                time_s = self._seconds(given.pop(name), f"limits.{name}")
                given[name + ("_s" if unit_s == 1.0 else "_h")] = time_s / unit_s
        for field in OrchestrationLimits.fields():
            if field.name in given and not field.within(given[field.name]):
                name = field.name.removesuffix("_s").removesuffix("_h")
                raise self._file.invalid(f"is {given[field.name]:g}, but must be {field.wanted}", f"limits.{name}")
        environment = {
            name: getattr(self._defaults, name) for name in FleetLimits.__struct_fields__ if name not in {*_OWN, "gate"}
        }
        return FleetLimits(**(environment | given), quality_rounds=rounds, replans_max=replans, max_queued=max_queued)

    def _seconds(self, time: Time, field: str) -> float:
        try:
            return seconds(time)
        except ValueError as error:
            raise self._file.invalid(str(error), field) from error
