"""taskiq on Redis streams, which acknowledge: two worker processes of 100 tasks each; 100 `kiq` calls under way."""

import asyncio

import uvloop
from harness import Payload, Valkey, beside, drive, payload, valkey, work
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

results = RedisAsyncResultBackend(redis_url=valkey("1"), result_ex_time=3600)
broker = RedisStreamBroker(url=valkey("0")).with_result_backend(results)
AT_ONCE = 100
WORKER = "worker with_taskiq:broker --workers 2 --max-async-tasks 100 --max-prefetch 100 --no-parse --log-level WARNING"


@broker.task(task_name="noop")
async def noop(task: Payload) -> dict[str, bool]:
    return work(task)


async def _submit(tasks: int) -> None:
    for start in range(0, tasks, AT_ONCE):
        await asyncio.gather(*(noop.kiq(payload(start + one)) for one in range(AT_ONCE)))


async def _one(number: int) -> None:
    await (await noop.kiq(payload(number))).wait_result(check_interval=0.001)


def main() -> None:
    loop = uvloop.new_event_loop()
    asyncio.set_event_loop(loop)
    loop.run_until_complete(broker.startup())
    stored = Valkey(1)
    submit = lambda tasks: loop.run_until_complete(_submit(tasks))  # noqa: E731
    one = lambda number: loop.run_until_complete(_one(number))  # noqa: E731
    drive([[beside("taskiq"), *WORKER.split()]], submit, lambda tasks: tasks - stored.keys(), stored.empty, one=one)
    loop.run_until_complete(broker.shutdown())


if __name__ == "__main__":
    main()
