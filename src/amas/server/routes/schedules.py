"""Schedules: put, listed, paused, fired at once, dropped."""

from typing import Annotated

import msgspec
from fastapi import APIRouter, Path, Request
from starlette.responses import Response

from amas.errors import ScheduleUnknown
from amas.model.fleet import FleetSpec
from amas.model.goal import Goal
from amas.model.schedule import Schedule, ScheduledTask, ScheduleView
from amas.model.task import RetryPolicy
from amas.orchestration.submission import check_takes_goals
from amas.server import intake
from amas.server.contract import answers, encoded, takes
from amas.server.identity import Calling
from amas.server.paging import Cursor, Limit, Page
from amas.server.plane import ControlPlane, Plane
from amas.server.shapes import Dropped, NewGoal, NewSchedule, NewScheduledTask, SchedulePage
from amas.server.tenancy import tenant_of_schedule

router = APIRouter(prefix="/api/schedules", tags=["schedules"])

Name = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$", description="The schedule's name.")]

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


@router.get("", summary="List schedules", **answers(SchedulePage, SchedulePage(items=[_VIEW], next=None), problems=(422, 503)))
async def list_schedules(plane: Plane, caller: Calling, limit: Limit = 1000, cursor: Cursor = "") -> Response:
    """List all schedules by name, with when each is due next and what it submitted last."""
    found = await plane.schedules.all()
    if caller.tenant:
        found = [view for view in found if tenant_of_schedule(view.schedule) == caller.tenant]
    items, following = Page(limit, cursor).of(found, lambda view: view.schedule.name)
    return encoded(SchedulePage(items=items, next=following))


@router.get("/{name}", summary="Look at a schedule", **answers(ScheduleView, _VIEW, problems=(404, 422, 503)))
async def get_schedule(name: Name, plane: Plane) -> Response:
    """Show one schedule."""
    return encoded(await _view(plane, name))


@router.put(
    "/{name}",
    summary="Put a schedule",
    openapi_extra=takes(NewSchedule, _NEW),
    **answers(ScheduleView, _VIEW, problems=(400, 413, 415, 422, 503), also={201: "It is new."}),
)
async def put_schedule(name: Name, request: Request, plane: Plane) -> Response:
    """Keep a schedule under a name, in the place of the one that had it; it counts from now on."""
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
    is_new = await plane.schedules.add(schedule)
    return encoded(await _view(plane, name), 201 if is_new else 200)


@router.delete("/{name}", summary="Drop a schedule", **answers(Dropped, Dropped(name="nightly"), problems=(404, 422, 503)))
async def drop_schedule(name: Name, plane: Plane) -> Response:
    """Forget a schedule; what it submitted goes on."""
    if not await plane.schedules.drop(name):
        raise ScheduleUnknown(f"there is no schedule {name!r}")
    return encoded(Dropped(name=name))


@router.post("/{name}/pause", summary="Pause a schedule", **answers(ScheduleView, _VIEW, problems=(404, 422, 503)))
async def pause_schedule(name: Name, plane: Plane) -> Response:
    """Let a schedule rest until it is resumed."""
    return await _set_paused(plane, name, paused=True)


@router.post("/{name}/resume", summary="Resume a schedule", **answers(ScheduleView, _VIEW, problems=(404, 422, 503)))
async def resume_schedule(name: Name, plane: Plane) -> Response:
    """Let a schedule go on from its next time; what passed meanwhile is not made up for."""
    return await _set_paused(plane, name, paused=False)


@router.post("/{name}/run", summary="Fire a schedule at once", **answers(ScheduleView, _VIEW, problems=(404, 409, 422, 503)))
async def run_schedule(name: Name, plane: Plane) -> Response:
    """Make a schedule due now; within a second it submits, and goes on from its next time."""
    schedule = (await _view(plane, name)).schedule
    await plane.schedules.put(msgspec.structs.replace(schedule, paused=False), next_ms=plane.engine.now_ms())
    return encoded(await _view(plane, name))


async def _set_paused(plane: ControlPlane, name: str, *, paused: bool) -> Response:
    schedule = (await _view(plane, name)).schedule
    if schedule.paused != paused:
        await plane.schedules.add(msgspec.structs.replace(schedule, paused=paused))
    return encoded(await _view(plane, name))


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
