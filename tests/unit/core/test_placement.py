"""Every agent is on one host, and hosts are evenly filled."""

from hypothesis import given
from hypothesis import strategies as st

from amas.core.placement import agent_numbers
from amas.model.fleet import PoolSpec


@given(st.lists(st.integers(0, 20), max_size=12), st.integers(1, 7))
def test_agents_are_dealt_out_once_and_evenly(replicas: list[int], hosts: int) -> None:
    pools = [PoolSpec(name=f"p{n}", agent="m:a", capabilities=("x",), replicas=r) for n, r in enumerate(replicas)]
    shares = [agent_numbers(pools, index=index, hosts=hosts) for index in range(hosts)]
    placed = sorted((name, number) for share in shares for name, numbers in share.items() for number in numbers)
    assert placed == sorted((pool.name, number) for pool in pools for number in range(1, pool.replicas + 1))
    sizes = [sum(map(len, share.values())) for share in shares]
    assert max(sizes) - min(sizes) <= 1
