"""How many agents each signal of a pool asks for. Pure; `core/scaling.py` decides from the neediest.

What an agent works on always counts, whatever is declared, so nothing that is busy is called too many. What waits never asks for
more agents than there are tasks. Signals of hosts, and the length of a whole queue, ask in proportion to the agents there are.
"""

from collections.abc import Iterator
from math import ceil

from amas.core.forecast import forecast
from amas.core.scaling_history import INTERVAL_MS, ScalingMemory, arrivals, oldest_s, service_s
from amas.model.scaling import Observation, ScalingSpec, Signal

AGENTS_MAX = 1_000_000
"""A signal that asks for more, such as one with a tiny target, asks for this."""
FORECAST_UTILISATION = 0.8
"""Of agents that are provided for what is expected, where no utilisation is declared: arrivals are never even."""


def signals(spec: ScalingSpec, memory: ScalingMemory, seen: Observation, *, replicas: int, slots: int) -> tuple[Signal, ...]:
    """Return what each signal asks for, the neediest first; `slots` are the tasks that an agent does at a time."""
    found = [
        *_of_tasks(spec, memory, seen, replicas=replicas, slots=slots),
        *_of_hosts(spec, seen, replicas),
        *_of_counts(spec, seen),
    ]
    if spec.forecast and (expected := _expected(spec, memory, seen, slots)):
        found.append(expected)
    return tuple(sorted(found, key=lambda signal: (-signal.agents, signal.target is None)))


def ceiling(needed: float) -> int:
    """Round up, but not for what is only an error of the arithmetic."""
    return AGENTS_MAX if needed >= AGENTS_MAX else ceil(needed - 1e-9)


def _of_tasks(spec: ScalingSpec, memory: ScalingMemory, seen: Observation, *, replicas: int, slots: int) -> Iterator[Signal]:
    wanted, waits, runs = spec.targets, _count(seen.waiting, "waits", "wait"), _count(seen.running, "runs", "run")
    there = _there(seen, replicas)
    busy, work = seen.running / slots, ceiling((seen.running + seen.waiting) / slots)
    yield Signal(name="busy", value=seen.running, agents=ceiling(busy), words=runs)
    if seen.waiting:
        yield Signal(name="waiting", value=seen.waiting, agents=1, words=waits)
    if (each := wanted.queue_depth) is not None:
        agents = min(ceiling(busy + seen.waiting / each), work)
        words = f"{waits}, {each:g} for an agent, and {runs}"
        yield Signal(name="queue_depth", value=seen.waiting, target=each, agents=agents, words=words)
    if (whole := wanted.queue_total) is not None:
        agents = min(in_proportion(seen.waiting, whole, there, spec.tolerance), work)
        words = f"{waits}, {whole:g} are meant to"
        yield Signal(name="queue_total", value=seen.waiting, target=whole, agents=agents, words=words)
    if (wait_s := wanted.oldest_s) is not None and (oldest := oldest_s(memory, seen)) is not None:
        agents = min(in_proportion(oldest, wait_s, there, spec.tolerance), work)
        words = f"the next task has waited {oldest:.3g} s, {wait_s:g} s are meant"
        yield Signal(name="oldest", value=oldest, target=wait_s, agents=agents, words=words)
    if (share := wanted.utilisation) is not None:
        used = seen.running / (slots * replicas) if replicas else 0.0
        words = f"{runs} on {slots * replicas} places, {share:.0%} are meant to be taken"
        yield Signal(name="utilisation", value=used, target=share, agents=ceiling(busy / share), words=words)


def _of_hosts(spec: ScalingSpec, seen: Observation, replicas: int) -> Iterator[Signal]:
    wanted = spec.targets
    for name, value, target, words in (
        ("cpu", seen.cpu, wanted.cpu, "its hosts use {:.3g} CPUs each, {:g} are meant"),
        ("memory", seen.memory_mb, wanted.memory_mb, "its hosts hold {:.4g} MiB each, {:g} are meant"),
    ):
        if value is not None and target is not None:
            agents = in_proportion(value, target, _there(seen, replicas), spec.tolerance)
            yield Signal(name=name, value=value, target=target, agents=agents, words=words.format(value, target))


def _of_counts(spec: ScalingSpec, seen: Observation) -> Iterator[Signal]:
    wanted = spec.targets
    for name, value, target, words in (
        ("messages", seen.messages, wanted.messages, "{} messages lie in its inboxes, {:g} for an agent"),
        ("workflows", seen.workflows, wanted.workflows, "{} workflows are open, {:g} for an agent"),
    ):
        if target is not None:
            yield Signal(name=name, value=value, target=target, agents=ceiling(value / target), words=words.format(value, target))


def _expected(spec: ScalingSpec, memory: ScalingMemory, seen: Observation, slots: int) -> Signal | None:
    """Provide for the interval in which agents that are asked for now would be there."""
    steps = ceil(spec.up.after_s * 1000 / INTERVAL_MS) + 1
    expected, work_s = forecast(arrivals(memory.marks), steps), service_s(memory.marks)
    if expected is None or work_s is None:
        return None
    per_s = expected * seen.share * 1000 / INTERVAL_MS
    agents = ceiling(per_s * work_s / slots / (spec.targets.utilisation or FORECAST_UTILISATION))
    words = f"{per_s:.3g} tasks a second are expected, {work_s:.3g} s of work each"
    return Signal(name="forecast", value=per_s, agents=agents, words=words)


def _count(tasks: float, one: str, many: str) -> str:
    if not tasks:
        return f"nothing {one}"
    return f"1 task {one}" if tasks == 1 else f"{tasks:.6g} tasks {many}"


def _there(seen: Observation, replicas: int) -> int:
    """Return the agents to whom a figure is owed: not those that are wanted and haven't come yet."""
    return replicas if seen.seated is None else seen.seated


def in_proportion(value: float, target: float, agents: int, tolerance: float) -> int:
    """Return the agents with which a figure would be on target if it goes down as they go up."""
    ratio = value / target
    return agents if abs(ratio - 1) <= tolerance else ceiling(agents * ratio)
