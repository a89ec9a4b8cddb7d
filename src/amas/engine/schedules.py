"""Schedules as the engine keeps them: each has one next time, and moves on in the same instant in which it submits.

So two leaders at once submit nothing twice, and one that dies between two calls leaves the schedule due.
"""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import msgspec

from amas.clock import SERVER_CLOCK
from amas.core import cron
from amas.engine.connection import Engine
from amas.engine.payload import Carry, only_small
from amas.engine.queue import RETENTION_S
from amas.errors import ScheduleChanged, SubmissionError
from amas.model.goal import Goal
from amas.model.journal import WorkflowOpening
from amas.model.schedule import Schedule, ScheduleView
from amas.model.task import Submission

encode = msgspec.msgpack.Encoder().encode
_schedule = msgspec.msgpack.Decoder(Schedule)

Fate = Literal["fired", "passed_over", "moved"]
OfGoal = Callable[[Goal], Goal]


def _as_it_is(goal: Goal) -> Goal:
    return goal


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

    def __init__(
        self,
        engine: Engine,
        *,
        retention_s: float = RETENTION_S,
        carry: Carry = only_small,
        told: OfGoal = _as_it_is,
        heard: OfGoal = _as_it_is,
    ) -> None:
        """`carry`: what becomes of inputs that are too large for the engine. `told`, `heard`: seal goals, and open them."""
        self._engine, self._retention_ms, self._carry = engine, round(retention_s * 1000), carry
        self._told, self._heard = told, heard

    async def put(self, schedule: Schedule, *, next_ms: int, instead_of: bytes | None = None) -> bool:
        """Keep a schedule under its name, which is due at `next_ms` unless it is paused; return whether the name is new.

        `instead_of`: what was there (`held`); ScheduleChanged when it isn't any more.
        """
        due = "" if schedule.paused else next_ms
        if schedule.goal is not None:
            schedule = msgspec.structs.replace(schedule, goal=self._told(schedule.goal))
        given = (SERVER_CLOCK, schedule.name, encode(schedule), due, *_seen(instead_of))
        return _done(schedule.name, await self._engine.call("schedule", *given))

    async def add(self, schedule: Schedule, *, instead_of: bytes | None = None) -> bool:
        """Check a schedule and keep it under its name, from its next time on; return whether the name is new.

        `ScheduleInvalid` says what is wrong with it; PayloadTooLarge when nobody can carry its task's input, which is found
        out now and not at night. `instead_of`: as `put` has it.
        """
        next_ms = cron.first_ms(schedule, self._engine.now_ms())
        if (task := schedule.task) is not None:
            given = await self._carry(task.input, f"the input of schedule {schedule.name!r}")
            schedule = msgspec.structs.replace(schedule, task=msgspec.structs.replace(task, input=given))
        return await self.put(schedule, next_ms=next_ms, instead_of=instead_of)

    async def drop(self, name: str, *, instead_of: bytes | None = None) -> bool:
        """Forget a schedule; return False when there is none of that name. `instead_of`: as `put` has it."""
        return _done(name, await self._engine.call("unschedule", SERVER_CLOCK, name, *_seen(instead_of)))

    async def held(self, name: str) -> bytes:
        """Return a schedule as the engine has it, which is another after each change; nothing when there is none."""
        (blob,) = await self._engine.read([("HGET", self._engine.key("schedules"), name)])
        return bytes(blob or b"")

    async def get(self, name: str) -> ScheduleView | None:
        """Return one schedule; None when there is none of that name."""
        (blob,) = await self._engine.read([("HGET", self._engine.key("schedules"), name)])
        return (await self._views({name: blob}))[0] if blob else None

    async def all(self) -> list[ScheduleView]:
        """Return every schedule by name."""
        (held,) = await self._engine.read([("HGETALL", self._engine.key("schedules"))])
        return await self._views({name.decode(): held[name] for name in sorted(held)})

    async def blobs(self) -> dict[str, bytes]:
        """Return every schedule as msgpack, by name."""
        (held,) = await self._engine.read([("HGETALL", self._engine.key("schedules"))])
        return {name.decode(): blob for name, blob in held.items()}

    async def instead(self, name: str, blob: bytes, other: bytes) -> bool:
        """Keep a schedule as it is written another way; False where it was changed meanwhile, and then nothing was done."""
        return bool(await self._engine.call("schedule_instead", name, blob, other))

    async def _views(self, blobs: dict[str, bytes]) -> list[ScheduleView]:
        due = await self._engine.read([("ZSCORE", self._engine.key("schedules:due"), name) for name in blobs])
        names = ("fired", "passed_over", "last", "id")
        about = await self._engine.read([("HMGET", self._engine.key("schedule", name), *names) for name in blobs])
        return [
            ScheduleView(
                schedule=self._shown(_schedule.decode(blob)),
                next_ms=int(float(score or 0)),
                fired=int(fired or 0),
                passed_over=int(passed_over or 0),
                last_ms=int(last or 0),
                last_id=(last_id or b"").decode(),
            )
            for blob, score, (fired, passed_over, last, last_id) in zip(blobs.values(), due, about, strict=True)
        ]

    def _shown(self, schedule: Schedule) -> Schedule:
        goal = schedule.goal
        return schedule if goal is None else msgspec.structs.replace(schedule, goal=self._heard(goal))

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


def _seen(blob: bytes | None) -> tuple[bytes, ...]:
    return () if blob is None else (blob,)


def _done(name: str, answer: int) -> bool:
    """Return whether something was done; ScheduleChanged where another schedule was there than was looked at."""
    if answer < 0:
        raise ScheduleChanged(f"the schedule {name!r} was changed or dropped since you looked at it: look again")
    return bool(answer)
