"""saq: two worker processes of 100 tasks each on uvloop; 100 `enqueue` calls under way (it has no call for many)."""

import asyncio
import sys

import uvloop
from harness import Payload, drive, payload, valkey, work
from saq import Queue

queue = Queue.from_url(valkey("0"))
AT_ONCE = 100


async def noop(_: object, *, task: Payload) -> dict[str, bool]:
    return work(task)


settings = {"queue": queue, "functions": [noop], "concurrency": 100}


async def _submit(tasks: int) -> None:
    for start in range(0, tasks, AT_ONCE):
        await asyncio.gather(*(queue.enqueue("noop", task=payload(start + one), ttl=3600) for one in range(AT_ONCE)))


def main() -> None:
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    run = loop.run_until_complete
    run(queue.connect())
    drive(
        [[sys.executable, __file__, "work"]],
        lambda tasks: run(_submit(tasks)),
        lambda _: run(queue.count("incomplete")),
        lambda: run(queue.redis.flushdb()),
        one=lambda number: run(queue.apply("noop", poll_interval=0.001, task=payload(number))),
    )


if sys.argv[1:] == ["work"]:
    from saq.__main__ import main as saq

    uvloop.install()
    sys.argv = ["saq", "with_saq.settings", "--workers", "2", "--quiet"]
    saq()
elif __name__ == "__main__":
    main()
