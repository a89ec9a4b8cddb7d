"""DBOS on PostgreSQL: two executors of 100 workflows each, which look every 20 ms; 100 are enqueued in one transaction."""

import sys
import threading

import sqlalchemy as sa
from dbos import DBOS, DBOSClient
from harness import URL, Payload, drive, payload, work

QUEUE = "noops"
VERSION = "1"
BATCH = 100
_OPEN = sa.text("SELECT count(*) FROM dbos.workflow_status WHERE status IN ('ENQUEUED', 'PENDING')")


@DBOS.workflow()
async def noop(task: Payload) -> dict[str, bool]:
    return work(task)


def execute() -> None:
    """Be an executor until killed."""
    DBOS(
        config={
            "name": "bench",
            "system_database_url": URL,
            "sys_db_pool_size": 20,
            "application_version": VERSION,
            "log_level": "ERROR",
        }
    )
    DBOS.launch()
    DBOS.register_queue(QUEUE, worker_concurrency=100, polling_interval_sec=0.02)
    threading.Event().wait()


def main() -> None:
    DBOS(config={"name": "bench", "system_database_url": URL, "application_version": VERSION, "log_level": "ERROR"})
    DBOS.launch()  # makes the tables, before two executors try to
    DBOS.destroy()
    engine, client = sa.create_engine(URL.replace("postgresql://", "postgresql+psycopg://")), DBOSClient(system_database_url=URL)
    options = {"queue_name": QUEUE, "workflow_name": "noop", "app_version": VERSION}

    def submit(tasks: int) -> None:
        for start in range(0, tasks, BATCH):
            with engine.begin() as transaction:
                for number in range(start, start + BATCH):
                    client.enqueue_in_transaction(transaction, options, payload(number))

    def left(_: int) -> int:
        with engine.connect() as connection:
            return int(connection.execute(_OPEN).scalar_one())

    def one(number: int) -> None:
        client.enqueue(options, payload(number)).get_result(polling_interval_sec=0.005)

    drive([[sys.executable, __file__, "work"]] * 2, submit, left, lambda: None, one=one)


if __name__ == "__main__":
    execute() if sys.argv[1:] == ["work"] else main()
