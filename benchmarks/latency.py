"""One task at a time on an idle fleet: milliseconds from the call of submit to the result in the submitter's hands."""

import statistics
import time
from typing import Any

from benchmarks import fleet as under_test
from benchmarks.throughput import PAYLOAD

TASKS = 500


async def measure() -> dict[str, Any]:
    """Return p50 and p99 in milliseconds."""
    async with under_test.running(hosts=1) as (_, client):
        taken = []
        for number in range(TASKS + 50):
            began = time.perf_counter()
            task = await client.submit("bench.noop", PAYLOAD)
            await task.result(timeout_s=30)
            if number >= 50:  # the first ones warm up
                taken.append((time.perf_counter() - began) * 1000)
    cuts = statistics.quantiles(taken, n=100)
    return {"latency_idle_p50_ms": round(cuts[49], 2), "latency_idle_p99_ms": round(cuts[98], 2)}
