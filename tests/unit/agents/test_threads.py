"""Threads for blocking code."""

import threading

import pytest

from amas.agents.threads import DaemonThreads


def test_threads_are_daemons_bounded_and_used_again() -> None:
    threads = DaemonThreads(2, name="t")
    assert threads.submit(lambda: threading.current_thread().daemon).result(10)
    gate = threading.Event()
    first = [threads.submit(gate.wait, 10) for _ in range(2)]
    last = threads.submit(lambda: threading.current_thread().name)
    assert not last.done()
    gate.set()
    assert all(job.result(10) for job in first)
    assert last.result(10) in {"t-1", "t-2"}
    threads.shutdown()


def test_what_is_raised_reaches_the_one_who_waits() -> None:
    threads = DaemonThreads(1, name="t")

    def leave() -> None:
        raise SystemExit(3)

    with pytest.raises(SystemExit):
        threads.submit(leave).result(10)
    assert threads.submit(lambda: "still there").result(10) == "still there"
    threads.shutdown()
