"""Tasks a second over all families, and where their CPU goes: beside it, in the same run, the smallest fleet there is.

What both fleets take for one task is CPU time and counts of commands, which other programs on the machine change little; the rate
itself is a clock's, and worth what the yardstick says. Agents are made when they get their first task: every one has had one
before anything is measured, since a fleet that works has that behind it.
"""

import statistics
import time
from itertools import cycle, islice

from amas.client import Fleet, NewTask
from amas.engine.connection import Engine
from amas.model.fleet import FleetSpec
from benchmarks.fleet import NOOP, cpu_by_process, recorded
from benchmarks.fleet30k.place import Found, Place, Row, differences
from benchmarks.work import LIMIT_S

BATCH = 1000
PAYLOAD = {"text": "x" * 116}
"""128 bytes of JSON. A stand-in answers with them: 256 there and back, as many as an ordinary no-op task's."""
ORDINARY = NOOP
"""One pool of a few agents, as `make bench` has it."""


def capabilities(spec: FleetSpec) -> list[str]:
    """Return what the stand-ins of a fleet can do, or its only pool."""
    return [pool.capabilities[0] for pool in spec.pools if pool.skill == "none"] or [spec.pools[0].capabilities[0]]


def tasks_over(names: list[str], count: int) -> list[NewTask]:
    """Return so many tasks, over all capabilities by turns."""
    return [NewTask(capability=name, input=PAYLOAD) for name in islice(cycle(names), count)]


async def once(client: Fleet, names: list[str], tasks: int) -> dict[str, float]:
    """Return tasks a second from the first call until every result is held, and the share that succeeded."""
    work = tasks_over(names, tasks)
    began = time.perf_counter()
    handles = [handle for first in range(0, tasks, BATCH) for handle in await client.submit_batch(work[first : first + BATCH])]
    outcomes = [await handle.outcome(timeout_s=LIMIT_S) for handle in handles]
    seconds = time.perf_counter() - began
    return {"tasks_per_s": tasks / seconds, "succeeded": sum(outcome.state.value == "succeeded" for outcome in outcomes) / tasks}


async def commands(engine: Engine) -> dict[str, tuple[int, int]]:
    """Return how often each command of the engine ran so far, and the microseconds that it took."""
    found = await engine.client.info("commandstats")
    return {name.removeprefix("cmdstat_"): (int(of["calls"]), int(of["usec"])) for name, of in found.items()}


async def measure(place: Place, *, tasks: int, runs: int) -> Found:
    """Return rates and the costs of one task, history included: medians of several runs."""
    names, engine = capabilities(place.spec), place.client.engine
    await once(place.client, names, max(place.agents, min(tasks, 2 * BATCH)))  # warm
    rates, took, ran = [], [], []
    for _ in range(runs):
        await recorded(place.fleet)  # a run must not pay for the history of the one before
        cpu, before = cpu_by_process(place.fleet), await commands(engine)
        rates.append(await once(place.client, names, tasks))
        await recorded(place.fleet)
        took.append(differences(cpu_by_process(place.fleet), cpu, 1e6 / tasks))
        ran.append({name: (of[0] - before.get(name, (0, 0))[0], of[1]) for name, of in (await commands(engine)).items()})
    calls = [run.pop("fcall")[0] for run in ran]
    return {
        "queues": len(names),
        "tasks_per_s": round(statistics.median(run["tasks_per_s"] for run in rates)),
        "best_tasks_per_s": round(max(run["tasks_per_s"] for run in rates)),
        "success_percent": round(min(run["succeeded"] for run in rates) * 100, 2),
        "cpu_us_per_task": round(statistics.median(sum(run.values()) for run in took), 1),
        "cpu_us_by_process": {name: statistics.median(run[name] for run in took) for name in took[0]},
        "tasks_per_call": round(tasks / statistics.median(calls), 1),
        "commands_per_task": round(statistics.median(sum(count for count, _ in run.values()) for run in ran) / tasks, 2),
        "details": {
            "rates": [round(run["tasks_per_s"]) for run in rates],
            "cpu_us_by_process": took,
            "commands_per_task": {name: round(of[0] / tasks, 3) for name, of in ran[-1].items() if of[0] > tasks / 100},
        },
    }


def rows(found: Found) -> list[Row]:
    """Return the lines of the table, with the ordinary fleet's figures beside."""
    beside = found["beside"]

    def both(name: str) -> str:
        return f"{found[name]:,} ({beside[name]:,})"

    where = [
        (f"{us:g} ({beside['cpu_us_by_process'].get(name, 0):g})", "", f"of these, {name}")
        for name, us in found["cpu_us_by_process"].items()
    ]
    return [
        (
            both("tasks_per_s"),
            "20,000",
            f"no-op tasks a second over {found['queues']} queues; in brackets, over {beside['queues']}",
        ),
        (both("best_tasks_per_s"), "", "the best run"),
        (both("success_percent"), "98", "of these succeeded, %"),
        (both("cpu_us_per_task"), "", "CPU of all processes for one task, history included, us"),
        *where,
        (both("commands_per_task"), "", "commands that the engine runs for one task"),
        (both("tasks_per_call"), "", "tasks for each call of the engine"),
    ]
