"""What the fleet's figures need of the engine, at one moment and in one call: `functions/93_figures.lua`."""

from collections.abc import Sequence
from typing import NamedTuple

from amas.engine.connection import Engine
from amas.engine.desired import document_of
from amas.model.desired import Desired

_NEVER = -1
"""A revision that nothing has."""


class EngineFigures(NamedTuple):
    """The engine at one moment."""

    totals: dict[str, int]
    """The counters kept since the engine began."""
    workflows_open: int
    workflows_waiting: int
    """Of the open ones, those that wait for their turn."""
    delayed: int
    dead_letters: int
    queued: dict[str, int]
    """How many tasks are queued, by queue, for those that aren't empty."""
    bounds: dict[str, int]
    unrecorded_ms: int
    """When the oldest entry of the journal was written that isn't recorded; 0: there is none."""


class FiguresLook:
    """Looks at one cell; has the desired state as it was at the last look, and takes it anew only when it has changed."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._desired, self._revision = Desired(), _NEVER

    async def read(self, recorded: str = "") -> tuple[EngineFigures, Desired]:
        """Return the figures, and what is wanted of the fleet. `recorded`: the last entry that is; "" where nobody knows."""
        told = await self._engine.call("figures", self._revision, recorded)
        counted, (workflows, waiting, delayed, dead), queued, bounds, wanted, unrecorded_ms = told
        if wanted is not None:
            self._desired = document_of(dict(zip(wanted[::2], wanted[1::2], strict=True)))
            self._revision = self._desired.revision
        found = EngineFigures(
            totals=_numbers(counted),
            workflows_open=int(workflows),
            workflows_waiting=int(waiting),
            delayed=int(delayed),
            dead_letters=int(dead),
            queued=_numbers(queued),
            bounds=_numbers(bounds),
            unrecorded_ms=int(unrecorded_ms),
        )
        return found, self._desired


def _numbers(told: Sequence[bytes | int]) -> dict[str, int]:
    names, numbers = told[::2], told[1::2]
    return {name.decode(): int(number) for name, number in zip(names, numbers, strict=True) if isinstance(name, bytes)}
