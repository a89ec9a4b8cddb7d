"""What makes a fleet sound, whoever declared it: names, hierarchy, limits, and agents that exist.

A `Problem` names its field as fleet files write it (`pools[2].lead`), so that `load.py` can tell the line. `problems` looks
at the declaration alone; `agent_problems` imports what the pools name, which may take seconds and runs its authors' code.
"""

import itertools
import re
from collections import Counter
from collections.abc import Iterator
from typing import NamedTuple

from amas.agents.base import AgentDefinition, load_agent, takes_mail
from amas.core.policy_check import problems as policy_problems
from amas.core.scaling_check import mistakes
from amas.errors import FleetError
from amas.fleet.tools import grant_problems, tool_problems
from amas.model.fleet import FleetSpec, PoolSpec
from amas.model.meant import did_you_mean
from amas.model.states import Layer
from amas.policy.cedar import why_not_cedar
from amas.policy.judge import known
from amas.secrets import SCHEMES, is_reference, secrets_in

HOSTS_MAX = 256
"""On one machine; more hosts than cores gain nothing but isolation."""
STAGES_MAX = 99
"""Stages start one after the other: more than a few only take time."""

_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_NAME_WORDS = "lower case letters and digits in words joined by hyphens"
_CAPABILITY = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+")
_AGENT = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")
_RANK = {layer: rank for rank, layer in enumerate(Layer)}


class Problem(NamedTuple):
    """One mistake and how to mend it."""

    field: str
    message: str


def problems(spec: FleetSpec) -> Iterator[Problem]:
    """Return what is wrong with the declaration, in the order of the file; nothing when it is sound."""
    if not _NAME.fullmatch(spec.name):
        yield Problem("name", f"{spec.name!r} must be {_NAME_WORDS}, such as my-fleet")
    if not 1 <= spec.hosts <= HOSTS_MAX:
        yield Problem("hosts", f"is {spec.hosts}, but must be from 1 to {HOSTS_MAX}")
    yield from _of_hosts(spec)
    if not spec.pools:
        yield Problem("pools", "is empty: a fleet needs at least one pool")
    names = Counter(pool.name for pool in spec.pools)
    for index, pool in enumerate(spec.pools):
        at = f"pools[{index}]"
        if names[pool.name] > 1:
            yield Problem(f"{at}.name", f"{pool.name!r} names {names[pool.name]} pools: give each its own name")
        for field, message in (
            *_of_pool(pool),
            *_of_secrets(pool),
            *_of_place(pool, spec),
            *_of_size(pool, spec),
            *_of_policy(pool),
            *_of_provider(pool, spec),
            *_of_scaling(pool, spec),
            *grant_problems(pool, spec.tools),
        ):
            yield Problem(f"{at}.{field}", message)
    yield from _of_remote(spec)
    yield from _of_policies(spec)
    if spec.limits.max_queued < 0:
        yield Problem("limits.max_queued", f"is {spec.limits.max_queued}, but must be a number of tasks, or 0 for no limit")
    total = sum(pool.replicas for pool in spec.pools)
    if total > spec.limits.max_total_agents:
        most = spec.limits.max_total_agents
        yield Problem("pools", f"have {total} agents, over the limit of {most}: lower replicas, or raise limits.max_total_agents")


def _of_hosts(spec: FleetSpec) -> Iterator[Problem]:
    sure = [f"host-{number}" for number in range(1, min(spec.hosts, HOSTS_MAX) + 1)]
    for host in spec.host_labels:
        if host not in sure:
            mend = f"the local platform has {sure[0]} to {sure[-1]} at all times" if sure else "there is none"
            yield Problem(f"hosts.labels.{host}", f"{mend}; a host that you start yourself says its own: `amas host --label`")
    if (follows := spec.host_scaling) is None:
        return
    for field, message in mistakes(follows.scaling):
        yield Problem(f"hosts.{field.removeprefix('targets.')}", message)
    if follows.scaling.max > HOSTS_MAX:
        yield Problem("hosts.max", f"is {follows.scaling.max}, but must be from 1 to {HOSTS_MAX}")
    if follows.agents < 1:
        yield Problem("hosts.agents", f"is {follows.agents}, but a host seats 1 agent at least")


def _of_pool(pool: PoolSpec) -> Iterator[Problem]:
    if not _NAME.fullmatch(pool.name):
        yield Problem("name", f"{pool.name!r} must be {_NAME_WORDS}, such as code-reviewer")
    if not _AGENT.fullmatch(pool.agent):
        yield Problem("agent", f"{pool.agent!r} must be module:attribute, such as my_agents:summarise")
    if not pool.capabilities:
        yield Problem("capabilities", "is empty: a pool needs at least one, such as [text.summary]")
    for index, capability in enumerate(pool.capabilities):
        if not _CAPABILITY.fullmatch(capability):
            yield Problem(f"capabilities[{index}]", f"{capability!r} must be lower case words joined by dots: text.summary")
        elif capability in pool.capabilities[:index]:
            yield Problem(f"capabilities[{index}]", f"{capability!r} stands here twice: keep one")


def _of_secrets(pool: PoolSpec) -> Iterator[Problem]:
    for reference in secrets_in(pool.options):
        if not is_reference(reference):  # it may be the secret itself, so it isn't shown
            yield Problem("options", f"has a secret that is no reference: write {', '.join(f'{each}:...' for each in SCHEMES)}")


def _of_remote(spec: FleetSpec) -> Iterator[Problem]:
    for index, capability in enumerate(spec.remote.capabilities):
        if not _CAPABILITY.fullmatch(capability):
            yield Problem(f"remote.capabilities[{index}]", f"{capability!r} must be lower case words joined by dots: vision.ocr")


def _of_policies(spec: FleetSpec) -> Iterator[Problem]:
    if not spec.policies:
        return
    for mistake in policy_problems(spec.policies, known(spec)):
        rule = spec.policies[mistake.rule]
        yield Problem(f"policies[{mistake.rule}].{mistake.field}".rstrip("."), f"{rule.name} ({rule.at}): {mistake.message}")
    for index, rule in enumerate(spec.policies):
        if rule.cedar and (wrong := why_not_cedar(rule)):
            yield Problem(f"policies[{index}].cedar", f"{rule.name} ({rule.at}): {wrong}")


def _of_provider(pool: PoolSpec, spec: FleetSpec) -> Iterator[Problem]:
    known = [provider.name for provider in spec.providers]
    if pool.provider and pool.provider not in known:
        mend = did_you_mean(pool.provider, known) or ": declare it under providers"
        yield Problem("provider", f"there is no provider {pool.provider!r}{mend}")


def _of_scaling(pool: PoolSpec, spec: FleetSpec) -> Iterator[Problem]:
    if pool.scaling is None:
        return
    for field, message in mistakes(pool.scaling):
        yield Problem(f"scaling.{field}", message)
    yield from _of_vertical(pool)
    most = spec.limits.max_agents_per_pool
    if pool.scaling.max > most:
        mend = "lower it, or raise limits.max_agents_per_pool"
        yield Problem("scaling.max", f"is {pool.scaling.max}, over the limit of {most} agents in a pool: {mend}")
    if pool.replicas > pool.scaling.max:
        yield Problem("replicas", f"is {pool.replicas}, but scaling.max is {pool.scaling.max}: lower it, or raise that")


def _of_vertical(pool: PoolSpec) -> Iterator[Problem]:
    """A memory limit that moves needs one that is there."""
    if pool.scaling is None or (rule := pool.scaling.vertical) is None:
        return
    if pool.isolation != "process":
        yield Problem("scaling.vertical", "needs isolation: process, since agents in the host's own process have no limit")
    elif not pool.limits.memory_mb:
        yield Problem("scaling.vertical", "needs a limit to begin with: say limits: {memory_mb: ...}")
    elif rule.max_mb <= pool.limits.memory_mb:
        yield Problem(
            "scaling.vertical.max_mb", f"is {rule.max_mb}, but must be more than limits.memory_mb ({pool.limits.memory_mb})"
        )


def _of_policy(pool: PoolSpec) -> Iterator[Problem]:
    if not 1 <= pool.stage <= STAGES_MAX:
        yield Problem("stage", f"is {pool.stage}, but must be from 1, the first to start, to {STAGES_MAX}")
    if not pool.timeout_s > 0:
        yield Problem("timeout", f"is {pool.timeout_s:g} seconds, but an attempt needs some time, such as 10m")
    if not 0 <= pool.retry.retries <= 100:
        yield Problem("retry.retries", f"is {pool.retry.retries}, but must be from 0 to 100")
    if not 0 <= pool.retry.jitter <= 1:
        yield Problem("retry.jitter", f"is {pool.retry.jitter:g}, but must be a share from 0 to 1")
    if not 0 <= pool.retry.backoff_s <= pool.retry.backoff_max_s:
        yield Problem(
            "retry", f"waits {pool.retry.backoff_s:g} s first, but {pool.retry.backoff_max_s:g} s at most: raise backoff_max"
        )
    if pool.max_queued is not None and pool.max_queued < 0:
        yield Problem("max_queued", f"is {pool.max_queued}, but must be a number of tasks, or 0 for no limit")
    if pool.isolation == "shared" and pool.limits != type(pool.limits)():
        yield Problem("limits", "hold only for a process of its own: add isolation: process")
    if pool.limits.memory_mb < 0 or pool.limits.cpu_s < 0:
        yield Problem("limits", "can't be less than 0, which means no limit")


def _of_place(pool: PoolSpec, spec: FleetSpec) -> Iterator[Problem]:
    if pool.layer is Layer.EXECUTIVE:
        if pool.lead:
            yield Problem("lead", "the executive layer reports to nobody: remove this line")
        return
    above = [each.name for each in spec.pools if _RANK[each.layer] < _RANK[pool.layer]]
    if not pool.lead:
        if above:  # a fleet of one layer has nobody to report to
            yield Problem("lead", f"is missing: name the pool that {pool.name!r} reports to, such as {above[0]}")
        return
    leads = [each for each in spec.pools if each.name == pool.lead]
    if not leads:
        known = did_you_mean(pool.lead, above) or (f"; pools above it: {', '.join(above[:8])}" if above else "")
        yield Problem("lead", f"there is no pool {pool.lead!r}{known}")
    elif _RANK[leads[0].layer] >= _RANK[pool.layer]:
        yield Problem(
            "lead",
            f"{pool.lead!r} is in the {leads[0].layer} layer, which isn't above {pool.layer}: "
            f"the layers are {', '.join(Layer)}, and a lead is in one further up",
        )


def _of_size(pool: PoolSpec, spec: FleetSpec) -> Iterator[Problem]:
    limits = spec.limits
    sizes = (
        ("replicas", pool.replicas, limits.max_agents_per_pool, "max_agents_per_pool", "agents in a pool"),
        (
            "tasks_per_agent",
            pool.tasks_per_agent,
            limits.max_tasks_per_agent,
            "max_tasks_per_agent",
            "tasks for an agent",
        ),
    )
    for field, value, most, limit, what in sizes:
        if value < 1:
            yield Problem(field, f"is {value}, but must be at least 1")
        elif value > most:
            yield Problem(field, f"is {value}, over the limit of {most} {what}: lower it, or raise limits.{limit}")


def agent_problems(spec: FleetSpec) -> Iterator[Problem]:
    """Import every pool's agent and every tool's function, and return what is wrong with them."""
    yield from itertools.starmap(Problem, tool_problems(spec))
    for index, pool in enumerate(spec.pools):
        for field, message in pool_agent_problems(pool):
            yield Problem(f"pools[{index}].{field}", message)


def pool_agent_problems(pool: PoolSpec) -> Iterator[Problem]:
    """Import one pool's agent and return what is wrong with it."""
    try:
        found = load_agent(pool.agent)
        if isinstance(found, type):
            found.check(pool)
    except FleetError as error:
        yield Problem("agent", str(error))
        return
    except Exception as error:  # noqa: BLE001  a module's author may raise anything while it is imported
        yield Problem("agent", f"importing {pool.agent!r} failed: {type(error).__name__}: {error}")
        return
    if pool.isolation == "process" and takes_mail(found):
        yield Problem(
            "isolation",
            f"{pool.agent} has on_message, which isn't called in processes of their own: share the host, or use receive",
        )
    missing = [name for name in pool.capabilities if isinstance(found, AgentDefinition) and name not in found.capabilities]
    if missing:
        able = ", ".join(found.capabilities) if isinstance(found, AgentDefinition) else ""
        yield Problem("capabilities", f"{pool.agent} can't do {missing[0]!r}, but only {able}")
