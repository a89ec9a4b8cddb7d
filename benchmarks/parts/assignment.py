"""How long it takes to choose the specialists for a plan of 10,000 tasks in a fleet of 200 pools, 20 for each capability."""

import statistics
import time

from amas.core.assignment import Crew, assigned
from amas.model.goal import SubTask
from amas.model.limits import Amounts
from benchmarks.results import Measured

POOLS, CAPABILITIES = 200, 20


async def measure(*, quick: bool) -> Measured:
    """Return the seconds for 10,000 tasks."""
    count, runs = (1_000, 2) if quick else (10_000, 5)
    crews = [
        Crew(pool=f"pool-{n}", capabilities=(f"work.{n % CAPABILITIES}", f"work.{(n + 1) % CAPABILITIES}"), slots=1 + n % 5)
        for n in range(POOLS)
    ]
    estimates = {f"work.{n}": Amounts(agent_s=float(1 + n), usd=0.01) for n in range(CAPABILITIES)}
    tasks = [SubTask(key=str(n), capability=f"work.{n % CAPABILITIES}") for n in range(count)]
    took = []
    for _ in range(runs):
        began = time.perf_counter()
        found = assigned(tasks, crews, estimates)
        took.append(time.perf_counter() - began)
        assert len(found.pools) == count
    return Measured(
        {"assignment_10000_s": round(statistics.median(took) * 10_000 / count, 4)}, {"runs_s": [round(each, 4) for each in took]}
    )
