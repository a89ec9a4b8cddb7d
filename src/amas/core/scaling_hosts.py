"""How many hosts a local fleet is to have: pure, for the host scaler and its tests.

Two signals: the agents that are to be seated, by their weight, and the CPU that hosts use. Bounds, windows and paces are those of
pools (`core/scaling.py`), and so is the promise that nothing flaps. What is running elsewhere is none of these hosts.
"""

from amas.core.placement import agent_weight
from amas.core.scaling import Turn, settled
from amas.core.scaling_history import ScalingMemory, looked
from amas.core.scaling_signals import ceiling, in_proportion
from amas.model.desired import Desired
from amas.model.scaling import HostScaling, HostsSeen, Observation, Signal


def weight(desired: Desired) -> int:
    """Return what all agents weigh that are wanted."""
    return sum(pool.replicas * agent_weight(pool) for pool in desired.pools)


def decide_hosts(spec: HostScaling, memory: ScalingMemory, seen: HostsSeen, *, hosts: int) -> Turn:
    """Return the number of hosts where `hosts` are wanted now."""
    memory = looked(memory, Observation(at_ms=seen.at_ms), hosts, spec.scaling)
    return settled(spec.scaling, memory, _signals(spec, seen), hosts, what="host")


def _signals(spec: HostScaling, seen: HostsSeen) -> tuple[Signal, ...]:
    """Return what each asks for, the neediest first."""
    words = f"agents that weigh {seen.weight} are to be seated, {spec.agents} on a host"
    found = [Signal(name="agents", value=seen.weight, target=spec.agents, agents=ceiling(seen.weight / spec.agents), words=words)]
    target = spec.scaling.targets.cpu
    if target and seen.cpu:
        mean = sum(seen.cpu) / len(seen.cpu)
        needed = in_proportion(mean, target, len(seen.cpu), spec.scaling.tolerance)
        words = f"{len(seen.cpu)} host{' uses' if len(seen.cpu) == 1 else 's use'} {mean:.3g} CPUs each, {target:g} are meant"
        found.append(Signal(name="cpu", value=mean, target=target, agents=needed, words=words))
    return tuple(sorted(found, key=lambda signal: -signal.agents))
