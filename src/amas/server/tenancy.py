"""Whose work is whose: what a caller that is bound to a tenant sees and changes, which is that tenant's alone.

`owned` stands before every route and looks at the ids in its path; lists ask with the caller's tenant; bodies say what the caller
is (`identity.as_caller`). What is another tenant's isn't there: the answer is the same 404 as for an id that nobody ever had.
Whoever isn't bound to a tenant costs nothing here.
"""

from collections.abc import Iterable, Mapping, Sequence

from fastapi import Request

from amas.errors import ScheduleUnknown, TaskUnknown, WebhookUnknown, WorkflowUnknown
from amas.model.schedule import Schedule
from amas.records.views import tenant_of
from amas.server.identity import Caller, caller_of
from amas.server.plane import ControlPlane, plane_of
from amas.server.queries import check_query
from amas.server.shapes import NewTask


async def owned(request: Request) -> None:
    """Raise what an unknown id would raise where the path names something that isn't the caller's tenant's.

    A query that the route doesn't take is refused here, too: another dependency would cost as much again.
    """
    if request.scope["query_string"] and request.url.path.startswith("/api/"):  # what else there is, others send people to
        check_query(request.scope.get("route"), request.query_params)
    caller = caller_of(request)  # not as dependencies, which cost as much again for each request
    if caller.tenant:
        await check_owned(await plane_of(request), caller, request.url.path, request.path_params)


async def check_owned(plane: ControlPlane, caller: Caller, path: str, given: Mapping[str, str]) -> None:
    """Do the same for a tenant's caller, by the path and what is named in it."""
    if (task_id := given.get("task_id")) is not None and not await own_tasks(plane, caller, [task_id]):
        raise TaskUnknown(f"there is no task {task_id!r}, neither in the engine nor in the records")
    if (workflow_id := given.get("workflow_id")) is not None and await tenant_of_workflow(plane, workflow_id) != caller.tenant:
        raise WorkflowUnknown(f"there is no workflow {workflow_id!r}, neither in the engine nor in the records")
    if (name := given.get("name")) is not None and path.startswith("/api/schedules/"):
        found = await plane.schedules.get(name)
        if found is not None and tenant_of_schedule(found.schedule) != caller.tenant:
            raise ScheduleUnknown(f"there is no schedule {name!r}")
    if (hook_id := given.get("webhook_id")) is not None:
        kept = await plane.hooks.get(hook_id)
        if kept is not None and kept.hook.tenant != caller.tenant:
            raise WebhookUnknown(f"there is no webhook {hook_id!r}")


async def own_tasks(plane: ControlPlane, caller: Caller, task_ids: Sequence[str]) -> list[str]:
    """Return those of the tasks that are the caller's to see: all for a caller without a tenant, known or not."""
    if not caller.tenant:
        return list(task_ids)
    found = await plane.queue.tenants_of(task_ids)
    if missing := [task_id for task_id in task_ids if task_id not in found]:
        found |= await plane.records.tenants_of(missing)
    return [task_id for task_id in task_ids if found.get(task_id) == caller.tenant]


async def check_needs(plane: ControlPlane, caller: Caller, tasks: Iterable[NewTask]) -> None:
    """Raise TaskUnknown where a task of a tenant's caller needs, and so would read, one that isn't that tenant's."""
    if not caller.tenant:
        return
    tasks = list(tasks)
    wanted = {need for task in tasks for need in task.needs} - {task.key for task in tasks}
    missing = wanted.difference(await own_tasks(plane, caller, sorted(wanted)))
    if missing:
        raise TaskUnknown(f"there is no task {min(missing)!r}, neither in the engine nor in the records")


def tenant_of_schedule(schedule: Schedule) -> str:
    """Return for whom a schedule submits."""
    what = schedule.task or schedule.goal
    return what.tenant if what else ""


async def tenant_of_workflow(plane: ControlPlane, workflow_id: str) -> str | None:
    """Return a workflow's tenant, "" for none; None when nobody knows the workflow."""
    held = await plane.queue.workflow(workflow_id)
    if held is not None:
        return tenant_of(held["goal"])
    recorded = await plane.records.workflow(workflow_id)
    return None if recorded is None else recorded.tenant
