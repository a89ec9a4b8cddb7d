"""A pool from nothing to 10,000 agents and back, beside the 30,000 that go on: seconds, CPU, and what it takes of the engine.

A change of size is over when every host has told the engine that it has carried it out. Beside the seconds stand counts that no
load changes: revisions of the desired state (the wish, and each time that the placer dealt), and the engine's calls meanwhile.
"""

import statistics
import time
from typing import Any

from amas.engine.desired import DesiredState
from benchmarks.fleet import cpu_by_process
from benchmarks.fleet30k.place import POOL_MAX, Found, Place, Row, differences
from benchmarks.fleet30k.rate import commands


def names(agents: int) -> list[str]:
    """Return what the pools are called that so many agents come and go in."""
    return [f"elastic-{number}" for number in range(-(-agents // POOL_MAX))]


def pools(agents: int) -> str:
    """Return, in YAML, what the fleet under test has besides: an agent in each, which the first change of size takes away."""
    agent = "agent: amas.agents.stand_in:StandIn"
    return "\n".join(
        f"  - {{name: {name}, {agent}, capabilities: [bench.{name.replace('-', '_')}], replicas: 1}}" for name in names(agents)
    )


def declared(place: Place) -> int:
    """Return how many agents stand there whatever the size of the other pools."""
    return sum(pool.replicas for pool in place.spec.pools if not pool.name.startswith("elastic-"))


async def change(place: Place, agents: int, over: list[str]) -> dict[str, Any]:
    """Scale pools to so many agents together and return what that took."""
    engine = place.client.engine
    state = DesiredState(engine)
    cpu, ran, revision = cpu_by_process(place.fleet), await commands(engine), await state.revision()
    began = time.perf_counter()
    for at, name in enumerate(over):
        await place.scale(name, agents // len(over) + (at < agents % len(over)))
    await place.until(declared(place) + agents)
    seconds = time.perf_counter() - began
    after, now = cpu_by_process(place.fleet), await commands(engine)
    return {
        "seconds": round(seconds, 3),
        "cpu_ms": {name: ms for name, ms in differences(after, cpu, 1000).items() if name != "client"},
        "revisions": await state.revision() - revision,
        "engine_calls": now["fcall"][0] - ran["fcall"][0],
    }


async def measure(place: Place, *, to: int, runs: int) -> Found:
    """Return what each way took, the medians and the worst."""
    over, ups, downs = names(to), [], []
    await change(place, 0, over)
    for _ in range(runs):
        ups.append(await change(place, to, over))
        downs.append(await change(place, 0, over))
    both = [one["seconds"] + other["seconds"] for one, other in zip(ups, downs, strict=True)]
    return {
        "agents": to,
        "up_s": round(statistics.median(one["seconds"] for one in ups), 2),
        "down_s": round(statistics.median(one["seconds"] for one in downs), 2),
        "there_and_back_s": round(statistics.median(both), 2),
        "there_and_back_worst_s": round(max(both), 2),
        "cpu_ms": round(statistics.median(sum(one["cpu_ms"].values()) for one in (*ups, *downs))),
        "revisions": max(one["revisions"] for one in (*ups, *downs)),
        "engine_calls": round(statistics.median(one["engine_calls"] for one in (*ups, *downs))),
        "details": {"up": ups, "down": downs},
    }


def rows(found: Found) -> list[Row]:
    """Return the lines of the table."""
    return [
        (f"{found['there_and_back_s']:g}", "under 5", f"seconds of a pool from 0 to {found['agents']:,} agents and back"),
        (f"{found['there_and_back_worst_s']:g}", "", "the slowest of them"),
        (f"{found['up_s']:g}, {found['down_s']:g}", "", "of these up, and down"),
        (f"{found['cpu_ms']:,}", "", "CPU of all processes for one way, ms"),
        (
            f"{found['revisions']}, {found['engine_calls']}",
            "",
            "revisions of the desired state for one way, and calls of the engine",
        ),
    ]
