"""What failed and was made good: what is under way, and the newest ones with their causes and durations.

The engine begins to count where a failure shows in one of its own calls (`functions/58_healing.lua`): a lost host, a stuck
attempt, a leader that fell silent. The duty `controllers/recovering.py` sees when the work goes on. Others note what they
alone can see.
"""

from bisect import bisect_left
from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from amas.clock import SERVER_CLOCK
from amas.engine.connection import Engine
from amas.model.healing import CAUSES, Cause, Recovery

BOUNDS_S = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 7.5, 10.0, 15.0, 30.0, 60.0, 120.0, 300.0)
"""Upper bounds of the buckets: up to ten times the 30 s within which a recovery is to be over."""
WATCHED_MAX = 200
"""Failures looked at in one sweep."""
IDS_MAX = 20_000
"""Of tasks in one sweep, over all of those."""


class UnderWay(NamedTuple):
    """Something failed and hasn't been made good."""

    name: str
    since_ms: int
    cause: Cause
    subject: str
    task_ids: list[str]
    """It is over when none of these waits any more."""


class RecoveryFigures(msgspec.Struct, frozen=True, kw_only=True):
    """How long recoveries of one cause took since the engine began."""

    buckets: list[tuple[float, int]]
    """Upper bound in seconds and cumulative count; the last bound is infinity."""
    count: int
    sum_s: float


class Recoveries:
    """The recoveries of one cell."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def now_ms(self) -> int:
        """Return the engine's time."""
        return self._engine.now_ms()

    async def note(
        self, cause: Cause, subject: str, *, since_ms: int, tasks: int = 0, name: str = "", now_ms: int = SERVER_CLOCK
    ) -> bool:
        """Note that what failed at `since_ms` (the engine's time) is made good; False when somebody has said it before.

        `name`: of what was under way; without it, it is simply added.
        """
        took_s = max(0, (self.now_ms() if now_ms == SERVER_CLOCK else now_ms) - since_ms) / 1000
        bucket = bisect_left(BOUNDS_S, took_s)
        return bool(await self._engine.call("recovered", now_ms, name, cause, subject, since_ms, tasks, bucket))

    async def under_way(self) -> list[UnderWay]:
        """Return what hasn't been made good, oldest first."""
        (held,) = await self._engine.read([("HGETALL", self._engine.key("recovering"))])
        found = [UnderWay(name.decode(), *_under_way.decode(value)) for name, value in held.items()]
        return sorted(found, key=lambda each: each.since_ms)

    async def made_good(self) -> list[UnderWay]:
        """Return those under way whose tasks all run again, or have ended."""
        found: list[UnderWay] = []
        ids = 0
        for each in (await self.under_way())[:WATCHED_MAX]:
            ids += len(each.task_ids)
            if found and ids > IDS_MAX:
                break
            found.append(each)
        states = await self._engine.read([("HGET", self._engine.key("t", i), "s") for each in found for i in each.task_ids])
        over, position = [], 0
        for each in found:
            mine = states[position : position + len(each.task_ids)]
            position += len(each.task_ids)
            if not any(state in (b"queued", b"delayed") for state in mine):
                over.append(each)
        return over

    async def newest(self, *, limit: int = 100) -> list[Recovery]:
        """Return the newest recoveries, newest first; the engine keeps a thousand."""
        (found,) = await self._engine.read([("XREVRANGE", self._engine.key("recoveries"), "+", "-", "COUNT", str(limit))])
        return [
            Recovery(int(held[b"at"]), held[b"cause"].decode(), held[b"subject"].decode(), int(held[b"ms"]), int(held[b"tasks"]))
            for _, held in found
        ]

    async def figures(self) -> dict[Cause, RecoveryFigures]:
        """Return how long recoveries took, by cause; one that never happened has a count of 0."""
        (found,) = await self._engine.read([("HGETALL", self._engine.key("recovered"))])
        held = {name.decode(): int(value) for name, value in found.items()}
        return {cause: _figures(cause, held) for cause in CAUSES}


_under_way = msgspec.msgpack.Decoder(tuple[int, Cause, str, list[str]])


def _figures(cause: str, held: Mapping[str, int]) -> RecoveryFigures:
    total, buckets = 0, []
    for index, bound in enumerate((*BOUNDS_S, float("inf"))):
        total += held.get(f"{cause}:{index}", 0)
        buckets.append((bound, total))
    return RecoveryFigures(buckets=buckets, count=total, sum_s=held.get(f"{cause}:ms", 0) / 1000)
