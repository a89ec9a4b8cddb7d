"""Schedules: put, listed, paused, fired at once, dropped."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from hashlib import blake2b
from typing import Annotated

import msgspec
from fastapi import APIRouter, Header, Path, Request
from starlette.responses import Response

from amas.errors import ScheduleChanged, ScheduleUnknown
from amas.model.fleet import FleetSpec
from amas.model.goal import Goal
from amas.model.schedule import Schedule, ScheduledTask, ScheduleView
from amas.model.task import RetryPolicy
from amas.orchestration.submission import check_takes_goals
from amas.server import intake
from amas.server.contract import answers, encoded, takes
from amas.server.identity import Calling
from amas.server.paging import Cursor, Limit, Page
from amas.server.patterns import REVISION_TAG, SCHEDULE_NAME
from amas.server.plane import ControlPlane, Plane
from amas.server.shapes import Dropped, NewGoal, NewSchedule, NewScheduledTask, SchedulePage
from amas.server.tenancy import tenant_of_schedule

router = APIRouter(prefix="/api/schedules", tags=["schedules"])

Name = Annotated[str, Path(pattern=SCHEDULE_NAME, description="The schedule's name.")]
IfMatch = Annotated[
    str,
    Header(
        alias="If-Match",
        pattern=REVISION_TAG,
        description="The `ETag` of the schedule that you looked at, `*` for any: 412 when it was changed or dropped since.",
    ),
]

_NEW = NewSchedule(
    cron="0 6 * * MON-FRI", timezone="Europe/Berlin", task=NewScheduledTask(capability="development.code_review", input={})
)
_VIEW = ScheduleView(
    schedule=Schedule(
        name="morning-review",
        cron=_NEW.cron,
        timezone=_NEW.timezone,
        task=ScheduledTask(capability="development.code_review", input={}),
    ),
    next_ms=1_757_048_400_000,
    fired=3,
    last_ms=1_756_962_000_000,
    last_id="01990d3e-7a10-7c3e-9a44-0a6f5b7c8d9e",
)
_CHANGED = (404, 409, 412, 422, 503)
TRIES_MAX = 20
"""Others may change a schedule meanwhile, but not without end."""


@router.get("", summary="List schedules", **answers(SchedulePage, SchedulePage(items=[_VIEW], next=None), problems=(422, 503)))
async def list_schedules(plane: Plane, caller: Calling, limit: Limit = 1000, cursor: Cursor = "") -> Response:
    """List all schedules by name, with when each is due next and what it submitted last."""
    found = await plane.schedules.all()
    if caller.tenant:
        found = [view for view in found if tenant_of_schedule(view.schedule) == caller.tenant]
    items, following = Page(limit, cursor).of(found, lambda view: view.schedule.name)
    return encoded(SchedulePage(items=items, next=following))


@router.get("/{name}", summary="Look at a schedule", **answers(ScheduleView, _VIEW, problems=(404, 422, 503), tagged=True))
async def get_schedule(name: Name, plane: Plane) -> Response:
    """Show one schedule."""
    return await _shown(plane, name)


@router.put(
    "/{name}",
    summary="Put a schedule",
    openapi_extra=takes(NewSchedule, _NEW),
    **answers(ScheduleView, _VIEW, problems=(400, 412, 413, 415, 422, 503), also={201: "It is new."}, tagged=True),
)
async def put_schedule(name: Name, request: Request, plane: Plane, if_match: IfMatch = "") -> Response:
    """Keep a schedule under a name, in the place of the one that had it; it counts from now on."""
    was = await _matched(plane, name, if_match)
    new = await intake.read_one(request, NewSchedule)
    schedule = Schedule(
        name=name,
        cron=new.cron,
        timezone=new.timezone,
        task=_task(await plane.remote.fleet_for([new.task]), new.task) if new.task else None,
        goal=_goal(plane, new.goal) if new.goal else None,
        missed=new.missed,
        overlap=new.overlap,
        paused=new.paused,
    )
    is_new = await plane.schedules.add(schedule, instead_of=was)
    return await _shown(plane, name, 201 if is_new else 200)


@router.delete("/{name}", summary="Drop a schedule", **answers(Dropped, Dropped(name="nightly"), problems=(404, 412, 422, 503)))
async def drop_schedule(name: Name, plane: Plane, if_match: IfMatch = "") -> Response:
    """Forget a schedule; what it submitted goes on."""
    if not await plane.schedules.drop(name, instead_of=await _matched(plane, name, if_match)):
        raise ScheduleUnknown(f"there is no schedule {name!r}")
    return encoded(Dropped(name=name))


@router.post("/{name}/pause", summary="Pause a schedule", **answers(ScheduleView, _VIEW, problems=_CHANGED, tagged=True))
async def pause_schedule(name: Name, plane: Plane) -> Response:
    """Let a schedule rest until it is resumed."""
    return await _set_paused(plane, name, paused=True)


@router.post("/{name}/resume", summary="Resume a schedule", **answers(ScheduleView, _VIEW, problems=_CHANGED, tagged=True))
async def resume_schedule(name: Name, plane: Plane) -> Response:
    """Let a schedule go on from its next time; what passed meanwhile is not made up for."""
    return await _set_paused(plane, name, paused=False)


@router.post("/{name}/run", summary="Fire a schedule at once", **answers(ScheduleView, _VIEW, problems=_CHANGED, tagged=True))
async def run_schedule(name: Name, plane: Plane) -> Response:
    """Make a schedule due now; within a second it submits, and goes on from its next time."""

    async def due_now(schedule: Schedule, held: bytes) -> None:
        schedule = msgspec.structs.replace(schedule, paused=False)
        await plane.schedules.put(schedule, next_ms=plane.engine.now_ms(), instead_of=held)

    return await _changed(plane, name, due_now)


async def _set_paused(plane: ControlPlane, name: str, *, paused: bool) -> Response:
    async def pause(schedule: Schedule, held: bytes) -> None:
        if schedule.paused != paused:
            await plane.schedules.add(msgspec.structs.replace(schedule, paused=paused), instead_of=held)

    return await _changed(plane, name, pause)


async def _changed(plane: ControlPlane, name: str, change: Callable[[Schedule, bytes], Awaitable[None]]) -> Response:
    """Change a schedule as it is, and again where somebody else changes it meanwhile; return the answer that shows it."""

    async def attempt() -> None:
        held = await plane.schedules.held(name)
        await change((await _view(plane, name)).schedule, held)

    for _ in range(TRIES_MAX - 1):
        with suppress(ScheduleChanged):
            await attempt()
            break
    else:
        await attempt()
    return await _shown(plane, name)


async def _shown(plane: ControlPlane, name: str, status: int = 200) -> Response:
    """Return the answer that shows a schedule."""
    held = await plane.schedules.held(name)  # before the look: a tag that is too old refuses once too often, not too seldom
    return encoded(await _view(plane, name), status, headers={"etag": _tag(held)})


def _tag(held: bytes) -> str:
    return f'"{blake2b(held, digest_size=9).hexdigest()}"'


async def _matched(plane: ControlPlane, name: str, if_match: str) -> bytes | None:
    """Return the schedule that `If-Match` names, as the engine has it; None where it names none."""
    if not if_match:
        return None
    held = await plane.schedules.held(name)
    if not held or if_match not in ("*", _tag(held)):
        raise ScheduleChanged(f"the schedule {name!r} isn't what If-Match names: look again")
    return held


async def _view(plane: ControlPlane, name: str) -> ScheduleView:
    view = await plane.schedules.get(name)
    if view is None:
        raise ScheduleUnknown(f"there is no schedule {name!r}")
    return view


def _task(fleet: FleetSpec, new: NewScheduledTask) -> ScheduledTask:
    intake.check_capabilities([new], fleet)
    retry = new.retry
    return ScheduledTask(
        capability=new.capability,
        input=new.input,
        title=new.title,
        pool=new.pool,
        tenant=new.tenant,
        priority=new.priority,
        timeout_s=new.timeout_s,
        retry=RetryPolicy(retry.retries, retry.backoff_s, retry.backoff_max_s, retry.jitter),
        cost_s=new.cost_s,
    )


def _goal(plane: ControlPlane, new: NewGoal) -> Goal:
    check_takes_goals(plane.fleet)
    return Goal(**{name: getattr(new, name) for name in Goal.__struct_fields__})
