"""dramatiq: two processes of 16 threads, results on the same server; one `send` after the other (it has no call for many)."""

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend
from harness import LIMIT_S, Payload, Valkey, beside, drive, payload, valkey, work

broker = RedisBroker(url=valkey("0"))
broker.add_middleware(Results(backend=RedisBackend(url=valkey("1"))))
dramatiq.set_broker(broker)


@dramatiq.actor(store_results=True)
def noop(task: Payload) -> dict[str, bool]:
    return work(task)


def submit(tasks: int) -> None:
    for number in range(tasks):
        noop.send(payload(number))


if __name__ == "__main__":
    stored = Valkey(1)
    worker = [beside("dramatiq"), "with_dramatiq", "--processes", "2", "--threads", "16"]
    one = lambda number: noop.send(payload(number)).get_result(block=True, timeout=int(LIMIT_S * 1000))  # noqa: E731
    drive([worker], submit, lambda tasks: tasks - stored.keys(), stored.empty, one=one)
