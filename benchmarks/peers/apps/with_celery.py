"""celery: two workers of four threads, prefetching 64, without gossip and heartbeats; one `apply_async` after the other."""

from celery import Celery
from harness import LIMIT_S, Payload, Valkey, beside, drive, payload, valkey, work

app = Celery("with_celery", broker=valkey("0"), backend=valkey("1"))
app.conf.update(
    task_serializer="json",
    result_serializer="json",
    accept_content=["json"],
    worker_prefetch_multiplier=64,
    broker_connection_retry_on_startup=True,
)
WORKER = "-A with_celery worker -P threads -c 4 -O fair --without-gossip --without-mingle --without-heartbeat -l WARNING"


@app.task
def noop(task: Payload) -> dict[str, bool]:
    return work(task)


def submit(tasks: int) -> None:
    for number in range(tasks):
        noop.apply_async((payload(number),))


if __name__ == "__main__":
    stored = Valkey(1)
    workers = [[beside("celery"), *WORKER.split(), "-n", f"worker{number}@local"] for number in (1, 2)]
    one = lambda number: noop.apply_async((payload(number),)).get(timeout=LIMIT_S, interval=0.001)  # noqa: E731
    drive(workers, submit, lambda tasks: tasks - stored.keys(), stored.empty, one=one)
