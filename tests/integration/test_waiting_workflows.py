"""Workflows that wait to be let in, most of them one tenant's flood: on a real host, none of them starves."""

import pytest
from benchmarks.parts.goals import FLOOD, Size, meet
from benchmarks.turns import Life, starved
from host_bench import Bench, pool

SIZE = Size(at_a_time=6, waiting=54, tasks=8, tenants=5, each=3)


@pytest.mark.requirement("A4")
async def test_no_workflow_starves_beside_a_flood(bench: Bench) -> None:
    tenants = list(SIZE.tenants_of())
    assert (len(tenants), tenants.count(FLOOD)) == (60, 48)
    async with bench.host([pool("echo")]):
        lives = await meet(bench.engine, SIZE, tenants, "test.echo")
    assert len(lives) == 60
    assert (
        starved(lives, overtakers_max=len(tenants)) == {}
    )  # who is overtaken within is for the benchmark: it goes by learned cost
    waited = [life for life in lives.values() if life.let_in != life.came]
    assert len(waited) == SIZE.waiting, "only so many were in at a time"


def life(tenant: str, came: int, let_in: int | None, ended: int | None) -> Life:
    return Life(tenant, (came, 0), (let_in, 0) if let_in else None, (ended, 0) if ended else None, ended is not None)


def test_who_never_ends_waits_beyond_its_turn_or_is_overtaken_starves() -> None:
    fair = {"a": life("x", 1, 10, 20), "b": life("y", 2, 11, 21)}
    assert starved(fair, overtakers_max=0) == {}
    assert "didn't succeed" in starved({**fair, "c": life("x", 3, 12, None)}, overtakers_max=0)["c"]
    flood = {f"f{n}": life("flood", 3, 30 + n, 60 + n) for n in range(3)}
    late = starved({**flood, "z": life("z", 4, 40, 70)}, overtakers_max=3)
    assert late == {"z": "while it waited, 1 of z were let in, and 3 of flood"}
    assert starved({**fair, "s": life("x", 3, 5, 99)}, overtakers_max=1) == {"s": "2 that were let in after it ended before it"}
