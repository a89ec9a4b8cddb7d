"""How long a tenant's single task waits while another tenant has flooded the fleet, beyond what it takes on an idle one.

The flood's tasks hold the fleet's 512 places for 0.2 s each, so it lasts for half a minute, and a place becomes free every
0.4 ms. The small tenant has one task at a time.
"""

import asyncio

from amas.client import NewTask
from benchmarks.fleet import NAPS, running
from benchmarks.progress import say
from benchmarks.results import Measured, quantiles
from benchmarks.work import naps, timed

HOLD_S = 0.2
PAUSE_S = 0.02
"""Between the small tenant's tasks."""
BATCH = 1000


async def measure(*, quick: bool) -> Measured:
    """Return the median's difference in milliseconds, flooded less idle, and both distributions."""
    flood, singles = (2_000, 10) if quick else (100_000, 200)
    single = NewTask(capability="bench.nap", input={"seconds": 0}, tenant="small")
    async with running(hosts=1, fleet_file=NAPS) as (_, client):

        async def taken(count: int) -> list[float]:
            found = []
            for _ in range(count):
                await asyncio.sleep(PAUSE_S)
                found.append(await timed(client, single))
            return found

        await taken(5)
        idle = quantiles(await taken(singles))
        say("the flood comes")
        for _ in range(0, flood, BATCH):
            await client.submit_batch(naps(BATCH, HOLD_S, tenant="large"))
        before = sum((await client.queue.depths()).values())
        say("in the flood")
        flooded = quantiles(await taken(singles))
        after = sum((await client.queue.depths()).values())
    assert quick or after, "the flood was over before the last single task"
    return Measured(
        {
            "fair_share_wait_ms": round(flooded["p50"] - idle["p50"], 2),
            "fair_share_wait_p99_ms": round(flooded["p99"] - idle["p50"], 2),
        },
        {"idle_ms": idle, "flooded_ms": flooded, "singles": singles, "queued": [before, after]},
    )
