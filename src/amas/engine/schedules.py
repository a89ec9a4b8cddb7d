"""Schedules as the engine keeps them: each has one next time, and moves on in the same instant in which it submits.

So two leaders at once submit nothing twice, and one that dies between two calls leaves the schedule due.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple

import msgspec

from amas.clock import SERVER_CLOCK
from amas.core import cron
from amas.engine.connection import Engine
from amas.engine.payload import Carry, only_small
from amas.engine.queue import RETENTION_S
from amas.errors import SubmissionError
from amas.model.journal import WorkflowOpening
from amas.model.schedule import Schedule, ScheduleView
from amas.model.task import Submission

encode = msgspec.msgpack.Encoder().encode
_schedule = msgspec.msgpack.Decoder(Schedule)

Fate = Literal["fired", "passed_over", "moved"]


class DueSchedule(NamedTuple):
    """A schedule whose time has come."""

    schedule: Schedule
    due_ms: int


class DueNow(NamedTuple):
    """What a look at the schedules found."""

    now_ms: int
    """By the engine's clock, which is the one that counts."""
    next_ms: int
    """When the next one is due; 0 when there is none."""
    due: list[DueSchedule]


class Firing(NamedTuple):
    """What a schedule submits."""

    at_ms: int
    """The time that it is for."""
    id: str
    """The task's or the workflow's."""
    batch: Sequence[Submission]
    workflow: WorkflowOpening | None = None


class Schedules:
    """The schedules of one cell."""

    def __init__(self, engine: Engine, *, retention_s: float = RETENTION_S, carry: Carry = only_small) -> None:
        """`carry`: what becomes of inputs that are too large for the engine."""
        self._engine, self._retention_ms, self._carry = engine, round(retention_s * 1000), carry

    async def put(self, schedule: Schedule, *, next_ms: int) -> bool:
        """Keep a schedule under its name, which is due at `next_ms` unless it is paused; return whether the name is new."""
        due = "" if schedule.paused else next_ms
        return bool(await self._engine.call("schedule", SERVER_CLOCK, schedule.name, encode(schedule), due))

    async def add(self, schedule: Schedule) -> bool:
        """Check a schedule and keep it under its name, from its next time on; return whether the name is new.

        `ScheduleInvalid` says what is wrong with it; PayloadTooLarge when nobody can carry its task's input, which is found
        out now and not at night.
        """
        next_ms = cron.first_ms(schedule, self._engine.now_ms())
        if (task := schedule.task) is not None:
            given = await self._carry(task.input, f"the input of schedule {schedule.name!r}")
            schedule = msgspec.structs.replace(schedule, task=msgspec.structs.replace(task, input=given))
        return await self.put(schedule, next_ms=next_ms)

    async def drop(self, name: str) -> bool:
        """Forget a schedule; return False when there is none of that name."""
        return bool(await self._engine.call("unschedule", SERVER_CLOCK, name))

    async def get(self, name: str) -> ScheduleView | None:
        """Return one schedule; None when there is none of that name."""
        (blob,) = await self._engine.read([("HGET", self._engine.key("schedules"), name)])
        return (await self._views({name: blob}))[0] if blob else None

    async def all(self) -> list[ScheduleView]:
        """Return every schedule by name."""
        (held,) = await self._engine.read([("HGETALL", self._engine.key("schedules"))])
        return await self._views({name.decode(): held[name] for name in sorted(held)})

    async def blobs(self) -> list[bytes]:
        """Return every schedule as msgpack."""
        (held,) = await self._engine.read([("HVALS", self._engine.key("schedules"))])
        return list(held)

    async def _views(self, blobs: dict[str, bytes]) -> list[ScheduleView]:
        due = await self._engine.read([("ZSCORE", self._engine.key("schedules:due"), name) for name in blobs])
        names = ("fired", "passed_over", "last", "id")
        about = await self._engine.read([("HMGET", self._engine.key("schedule", name), *names) for name in blobs])
        return [
            ScheduleView(
                schedule=_schedule.decode(blob),
                next_ms=int(float(score or 0)),
                fired=int(fired or 0),
                passed_over=int(passed_over or 0),
                last_ms=int(last or 0),
                last_id=(last_id or b"").decode(),
            )
            for blob, score, (fired, passed_over, last, last_id) in zip(blobs.values(), due, about, strict=True)
        ]

    async def due(self, *, limit: int, now_ms: int = SERVER_CLOCK) -> DueNow:
        """Return the schedules whose time has come, those that wait longest first."""
        now, following, *rest = await self._engine.call("due", now_ms, limit)
        found = [DueSchedule(_schedule.decode(rest[i + 2]), int(rest[i + 1])) for i in range(0, len(rest), 3)]
        return DueNow(int(now), int(following), found)

    async def fire(self, found: DueSchedule, firing: Firing | None, *, next_ms: int, now_ms: int = SERVER_CLOCK) -> Fate:
        """Submit `firing`, or nothing, and move the schedule on to `next_ms` (0: never again).

        `moved`: it was no longer due then, and nothing was done. A `SubmissionError` leaves it due.
        """
        opening = firing.workflow if firing else None
        answer = await self._engine.call(
            "fire",
            now_ms,
            self._retention_ms,
            found.schedule.name,
            found.due_ms,
            next_ms or "",
            found.schedule.overlap,
            firing.at_ms if firing else 0,
            firing.id if firing else "",
            encode(opening) if opening else b"",
            encode(firing.batch) if firing else b"",
        )
        told = answer[0].decode()
        if told not in {"fired", "passed_over", "moved"}:
            raise SubmissionError(f"schedule {found.schedule.name!r} can't submit: {told} ({answer[1].decode()})")
        return told  # type: ignore[no-any-return]
