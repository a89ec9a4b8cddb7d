"""Which host runs which agents: pure, so that every host works out its own share without asking anybody."""

from collections.abc import Sequence

from amas.model.fleet import PoolSpec


def agent_numbers(pools: Sequence[PoolSpec], *, index: int, hosts: int) -> dict[str, list[int]]:
    """Return, by pool, the numbers of the agents (1 for `name-1`) that host `index` of `hosts` runs, `index` from 0.

    Agents are dealt out in turn over all pools, so that pools of one agent don't all land on the first host.
    """
    numbers: dict[str, list[int]] = {}
    dealt = 0
    for pool in pools:
        mine = [number for number in range(1, pool.replicas + 1) if (dealt + number - 1) % hosts == index]
        dealt += pool.replicas
        if mine:
            numbers[pool.name] = mine
    return numbers
