"""Outcomes that are waited for, perhaps: most of a batch's are there before anybody asks for them one by one."""

import asyncio
from collections.abc import Callable

from amas.model.task import TaskOutcome


class Expected:
    """An outcome to come: a future that costs next to nothing until somebody waits for it; on one event loop only."""

    __slots__ = ("_error", "_outcome", "_settled", "then")

    def __init__(self, then: Callable[[], object] | None = None) -> None:
        """`then` is called when the outcome is there."""
        self._outcome: TaskOutcome | None = None
        self._error: BaseException | None = None
        self._settled: asyncio.Event | None = None
        self.then = then

    def done(self) -> bool:
        """Return whether it is there."""
        return self._outcome is not None or self._error is not None

    def set_result(self, outcome: TaskOutcome) -> None:
        """Set the outcome; only the first counts."""
        if not self.done():
            self._outcome = outcome
            self._wake()

    def set_exception(self, error: BaseException) -> None:
        """Have those who wait raise, since the outcome won't come."""
        if not self.done():
            self._error = error
            self._wake()

    def _wake(self) -> None:
        if self._settled is not None:
            self._settled.set()
        if self.then is not None:
            self.then()

    async def wait(self) -> None:
        """Return when it is there."""
        if not self.done():
            if self._settled is None:
                self._settled = asyncio.Event()
            await self._settled.wait()

    def get(self) -> TaskOutcome:
        """Return the outcome, which must be there."""
        if self._error is not None:
            raise self._error
        assert self._outcome is not None, "only what is there is got"
        return self._outcome
