"""Whether a fleet has an agent of a name, in a sentence for who named it."""

from collections.abc import Iterable

from amas.model.fleet import VARIANT, PoolSpec
from amas.model.meant import meant_or_known
from amas.model.numbers import named, within

POOLS_TOLD_MAX = 8


def why_no_agent(agent_id: str, pools: Iterable[PoolSpec], *, now: bool = True) -> str:
    """Return why none of these pools has an agent of this name, with the way out; "" where one has.

    `now`: whether the pool must have one of this number at the moment, which scaling changes; else any number will do.
    """
    by_name = {pool.name: pool for pool in pools}
    of, number = named(agent_id)
    wrong = f"this fleet declares no agent {agent_id!r}: "
    if not of:
        example = f"{agent_id if agent_id in by_name else next(iter(by_name), 'coder')}-1"
        return f"{wrong}an agent is called by its pool, a hyphen and a number, such as {example}"
    base = of.partition(VARIANT)[0]  # a version that is rolled out is of its pool
    if base not in by_name:
        return f"{wrong}there is no pool {of!r}{meant_or_known(of, by_name, most=POOLS_TOLD_MAX)}"
    if now and of in by_name and not within(number, by_name[of].numbers):
        return f"{wrong}{of} has {by_name[of].replicas} agents, and `amas ps {of}` lists them"
    return ""
