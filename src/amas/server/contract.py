"""OpenAPI from the same structs that are encoded: what a route answers, with an example, and which problems it may answer.

Routes name their shapes here; `openapi_of` puts the schemas of all of them into the document. FastAPI's own models aren't used,
so that one declaration serves the wire and the documentation.
"""

from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any

import msgspec
from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute
from starlette.responses import Response

from amas.engine.limits import BudgetView, LimitsView
from amas.model.artifact import is_reference, shown
from amas.model.report import FleetReport
from amas.model.routing import RouteTable
from amas.model.scaling import PoolScaling, ScalingBoard
from amas.model.schedule import ScheduleView
from amas.orchestration.routing import Why
from amas.records.views import Analytics, EventRecord
from amas.server import (
    access_shapes,
    alert_shapes,
    backup_shapes,
    desired_shapes,
    diagnostic_shapes,
    healing_shapes,
    hook_shapes,
    message_shapes,
    once,
    policy_shapes,
    remote_shapes,
    rollout_shapes,
    shapes,
)
from amas.server.gate_shapes import WorkflowQuality
from amas.server.problems import MEDIA_TYPE, Problem, problem
from amas.server.timeline import TaskLog, Timeline, TimelineSpan

VERSION = version("amas")

SHAPES: tuple[type, ...] = (
    shapes.NewTask,
    shapes.NewGoal,
    shapes.NewWorkflow,
    shapes.NewSignal,
    shapes.TaskSignal,
    shapes.NewRerun,
    shapes.NewAnswer,
    shapes.StartedWorkflow,
    shapes.Changed,
    shapes.Rerun,
    shapes.ApprovalPage,
    WorkflowQuality,
    shapes.DeadLetterPage,
    shapes.NewSchedule,
    shapes.SchedulePage,
    shapes.Dropped,
    shapes.NewLimit,
    shapes.NewBudget,
    shapes.BudgetPage,
    shapes.CostPage,
    LimitsView,
    BudgetView,
    RouteTable,
    Why,
    shapes.Submitted,
    shapes.SubmittedBatch,
    shapes.TaskIds,
    shapes.Outcomes,
    shapes.SubmittedGoal,
    shapes.Cancelled,
    shapes.TaskDetail,
    shapes.TaskPage,
    shapes.TaskResult,
    Timeline,
    TimelineSpan,
    TaskLog,
    shapes.WorkflowPage,
    shapes.WorkflowDetail,
    shapes.AgentShape,
    shapes.AgentPage,
    shapes.PoolList,
    shapes.LogPage,
    shapes.FleetFigures,
    message_shapes.NewMessage,
    message_shapes.NewQuestion,
    message_shapes.SentMessage,
    message_shapes.MessageShape,
    message_shapes.InboxShape,
    message_shapes.CommunicationFigures,
    message_shapes.RefusedPage,
    message_shapes.DeadMessagePage,
    healing_shapes.QuarantinePage,
    healing_shapes.NewQuarantine,
    healing_shapes.RecoveryPage,
    healing_shapes.BreakerPage,
    healing_shapes.BreakerName,
    healing_shapes.NewKill,
    healing_shapes.KillPage,
    *policy_shapes.SHAPES,
    *remote_shapes.SHAPES,
    *rollout_shapes.SHAPES,
    *diagnostic_shapes.SHAPES,
    backup_shapes.NewBackup,
    backup_shapes.BackupShape,
    backup_shapes.BackupPage,
    shapes.Live,
    shapes.Ready,
    *desired_shapes.SHAPES,
    Analytics,
    EventRecord,
    FleetReport,
    ScheduleView,
    PoolScaling,
    ScalingBoard,
    *alert_shapes.SHAPES,
    *access_shapes.SHAPES,
    *hook_shapes.SHAPES,
    Problem,
)

PROBLEMS: dict[int, tuple[str, str]] = {
    400: ("body_malformed", "the body can't be read: Input data was truncated"),
    401: ("token_needed", "send an API key or the fleet's token as `Authorization: Bearer <AMAS_TOKEN>`"),
    403: ("origin_refused", "a web page of another origin may not use this server"),
    404: ("task_unknown", "there is no task '0198...', neither in the engine nor in the records"),
    408: ("request_overdue", "the body came too slowly: send it again, or in smaller parts"),
    409: ("task_failed", "the project's tests could not be collected"),
    410: (
        "artifact_missing",
        "the artifact sha256:... isn't in the store /home/me/.amas/artifacts: it was removed, or is in another store",
    ),
    412: ("desired_changed", "ann applied another fleet meanwhile (revision 12: the sale): look at the difference again"),
    413: ("body_too_large", "the body is larger than 32 MiB: send fewer tasks at a time"),
    415: ("media_type_unknown", "send application/json"),
    421: ("host_refused", "this server answers to localhost only; the Host header names something else"),
    422: ("request_invalid", "Object missing required field `capability`"),
    429: ("workflows_full", "100 workflows are open and this fleet allows 100"),
    500: ("internal_error", "something went wrong here; the control plane's log says what"),
    504: ("reply_overdue", "code-reviewer-1 didn't answer message 0198... within 10 s"),
    503: ("engine_unreachable", "the engine at unix:///home/me/.amas/engine/engine.sock doesn't answer"),
}
EVERYWHERE = (401, 403, 408, 421, 500)
"""Any route behind the guard may answer these."""


def _reference(value: object) -> object:
    if not is_reference(value):
        raise TypeError(f"{type(value).__name__} is no JSON value")
    return shown(value)


_json = msgspec.json.Encoder(enc_hook=_reference).encode


def encoded(value: object, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    """Return the response that carries a shape; a reference within it to a large value is an object of its own."""
    return Response(_json(value), status, headers, "application/json")


def reference(shape: type) -> dict[str, str]:
    """Return where the document has a shape's schema."""
    return {"$ref": f"#/components/schemas/{shape.__name__}"}


def content(shape: type, example: object) -> dict[str, Any]:
    """Return a body of one shape as OpenAPI says it."""
    return {"application/json": {"schema": reference(shape), "example": msgspec.to_builtins(example)}}


def answers(
    shape: type, example: object, *, status: int = 200, problems: tuple[int, ...] = (), also: dict[int, str] | None = None
) -> dict[str, Any]:
    """Return the keyword arguments of a route that answers `shape`, or one of the problems.

    `also`: further statuses with the same shape, each with what it means.
    """
    meanings = {status: _first_line(shape), **(also or {})}
    responses: dict[int | str, dict[str, Any]] = {
        code: {"description": meaning, "content": content(shape, example)} for code, meaning in meanings.items()
    }
    return {"response_class": Response, "status_code": status, "responses": {**responses, **refusals(*problems)}}


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the problems that a route may answer, with those that any may."""
    found: dict[int | str, dict[str, Any]] = {}
    for status in sorted({*statuses, *EVERYWHERE}):
        code, detail = PROBLEMS[status]
        example = msgspec.to_builtins(problem(status, code, detail))
        found[status] = {
            "description": example["title"],
            "content": {MEDIA_TYPE: {"schema": reference(Problem), "example": example}},
        }
        if status in (429, 503):
            found[status]["headers"] = {"Retry-After": {"description": "Seconds.", "schema": {"type": "integer"}}}
    return found


def takes(shape: type, example: object, **more: dict[str, Any]) -> dict[str, Any]:
    """Return `openapi_extra` for a route with a JSON body; `more` adds media types, `_` standing for `/`."""
    return {"requestBody": {"required": True, "content": {**content(shape, example), **more}}}


def _first_line(shape: type) -> str:
    return (shape.__doc__ or "").strip().splitlines()[0]


def _tell_of_keys(document: dict[str, Any]) -> None:
    """Say of every POST that takes an `Idempotency-Key` that it does."""
    for path, methods in document["paths"].items():
        if "post" in methods and once.takes_key(path):
            methods["post"].setdefault("parameters", []).append(once.HEADER)
            methods["post"]["responses"].setdefault("409", refusals(409)[409])


def openapi_of(app: FastAPI, routers: Sequence[APIRouter], *, locked: bool) -> Callable[[], dict[str, Any]]:
    """Return what `app.openapi` is to be: FastAPI's document with our schemas and bodies. `locked`: a token is asked for."""

    def whole(document: dict[str, Any]) -> None:
        """Put our bodies back as they were declared: FastAPI drops every null, those of examples too."""
        for router in routers:
            for route in router.routes:
                if isinstance(route, APIRoute):
                    for method in route.methods or ():
                        told = document["paths"][route.path_format][method.lower()]["responses"]
                        for status, response in route.responses.items():
                            told[str(status)].update(response)

    def build() -> dict[str, Any]:
        if app.openapi_schema is None:
            document = get_openapi(
                title=app.title, version=app.version, openapi_version="3.1.0", description=app.description, routes=app.routes
            )
            _, components = msgspec.json.schema_components(SHAPES, ref_template="#/components/schemas/{name}")
            parameters = document.get("components", {}).get("schemas", {})  # the enumerations that queries take
            document["components"] = {"schemas": {**parameters, **components}}
            if locked:
                document["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
                document["security"] = [{"token": []}]
            whole(document)
            _tell_of_keys(document)
            app.openapi_schema = document
        return app.openapi_schema

    return build
