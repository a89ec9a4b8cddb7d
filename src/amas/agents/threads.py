"""Threads for blocking code that may never return.

Python's own pool waits for its threads when the process ends; these are daemons, so a function that hangs can't keep a host from
leaving. Called by the host for blocking agents and plain steps, and by an isolated child.
"""

import threading
from collections.abc import Callable
from concurrent.futures import Executor, Future
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")

_Job = tuple[Future[Any], Callable[..., Any], tuple[Any, ...], dict[str, Any]]


class DaemonThreads(Executor):
    """At most `limit` threads, started when they are needed; what comes meanwhile waits."""

    def __init__(self, limit: int, *, name: str) -> None:
        self._limit, self._name = limit, name
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self._lock = threading.Lock()
        self._threads = 0
        self._idle = 0
        """Threads that wait, less the jobs that wait for one."""
        self._at: dict[Future[Any], int] = {}
        """Which thread is at which job."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Have a thread call `fn`; return the future of its result."""
        future: Future[T] = Future()
        with self._lock:
            self._idle -= 1
            start = self._idle < 0 and self._threads < self._limit
            if start:
                self._threads += 1
                self._idle += 1
                name = f"{self._name}-{self._threads}"
        self._jobs.put((future, fn, args, kwargs))
        if start:
            threading.Thread(target=self._work, name=name, daemon=True).start()
        return future

    def of(self, job: Future[Any]) -> int | None:
        """Return the number of the thread that is at a job, None where none is."""
        return self._at.get(job)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Let idle threads end; busy ones end with their job, or with the process."""
        for _ in range(self._threads):
            self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            future, function, arguments, keywords = job
            if future.set_running_or_notify_cancel():
                self._at[future] = threading.get_ident()
                try:
                    result = function(*arguments, **keywords)
                except BaseException as error:  # noqa: BLE001  foreign code: whoever waits for the future raises it
                    del self._at[future]
                    future.set_exception(error)
                else:
                    del self._at[future]
                    future.set_result(result)
                    del result
            del job, future, function, arguments, keywords
            with self._lock:
                self._idle += 1
