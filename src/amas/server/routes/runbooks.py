"""Run-books: listed, run, confirmed, cancelled, and what was done."""

from typing import Annotated

from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from amas.controllers.runbooks import answer, read_run, read_runs, start
from amas.engine.alerts import AlertStore
from amas.model.runbook import AuditLine, Run, RunBook, Step, StepState
from amas.server import intake
from amas.server.alert_shapes import AuditPage, NewRun, RunAnswer, RunBookPage, RunBookShape, RunPage
from amas.server.contract import answers, encoded, takes
from amas.server.plane import Plane
from amas.server.problems import Fault, Refusal
from amas.server.routes.alerts import declared, receivers_in

router = APIRouter(prefix="/api", tags=["run-books"])

Name = Annotated[str, Path(max_length=100, description="The run-book's name.")]
RunId = Annotated[str, Path(max_length=100, description="The run's id.")]
Limit = Annotated[int, Query(ge=1, le=1000)]

_BOOK = RunBook(name="maintenance", title="Take a host out", steps=(Step(do="drain", name="take its agents", host="$host"),))
_RUN = Run(
    id="0a6f5b7c8d9e",
    book=_BOOK,
    subject={"host": "host-2"},
    status="succeeded",
    begun_ms=1_757_000_000_000,
    by="ada",
    why="a new kernel",
    steps=(StepState(status="succeeded", since_ms=1_757_000_000_500, by="amas", outcome="host-2: drain ordered"),),
    ended_ms=1_757_000_000_500,
)
_LINE = AuditLine(
    at_ms=1_757_000_000_500,
    run=_RUN.id,
    runbook="maintenance",
    subject=_RUN.subject,
    what="succeeded",
    by="amas",
    step="1 take its agents",
    outcome="host-2: drain ordered",
)
_SHAPE = RunBookShape(
    name="maintenance", title=_BOOK.title, needs=["host"], rules=[], steps=["take its agents: drain host $host"]
)


@router.get("/runbooks", summary="List run-books", **answers(RunBookPage, RunBookPage(items=[_SHAPE]), problems=(503,)))
async def list_runbooks(plane: Plane) -> Response:
    """List the fleet's run-books with their steps and the alerts that start them."""
    fleet = await declared(plane)
    shapes = [
        RunBookShape(
            name=book.name,
            title=book.title,
            needs=list(book.needs),
            rules=[rule.name for rule in fleet.alerts.rules if rule.runbook == book.name],
            steps=[in_words(step) for step in book.steps],
        )
        for book in fleet.runbooks
    ]
    return encoded(RunBookPage(items=shapes))


@router.post(
    "/runbooks/{name}/runs",
    summary="Run a run-book",
    openapi_extra=takes(NewRun, NewRun(by="ada", subject={"host": "host-2"}, why="a new kernel")),
    **answers(Run, _RUN, status=201, problems=(400, 409, 413, 415, 422, 503)),
)
async def run_runbook(name: Name, request: Request, plane: Plane) -> Response:
    """Start a run in a person's name; within seconds its first step begins."""
    new = await intake.read_one(request, NewRun)
    if not new.by.strip():
        raise Refusal(Fault(detail="say by whom: the audit names it", pointer="#/by"))
    run = await start(plane.engine, await declared(plane), name, new.subject, by=new.by, why=new.why)
    return encoded(run, 201)


@router.get("/runbook-runs", summary="List runs of run-books", **answers(RunPage, RunPage(items=[_RUN]), problems=(422, 503)))
async def list_runs(plane: Plane, limit: Limit = 100) -> Response:
    """List runs, newest first, with how far each of their steps is."""
    return encoded(RunPage(items=await read_runs(AlertStore(plane.engine), limit=limit)))


@router.get("/runbook-runs/{run_id}", summary="Show a run", **answers(Run, _RUN, problems=(409, 422, 503)))
async def get_run(run_id: RunId, plane: Plane) -> Response:
    """Show one run, with how far each of its steps is."""
    return encoded((await read_run(AlertStore(plane.engine), run_id))[1])


@router.get("/runbook-audit", summary="What run-books did", **answers(AuditPage, AuditPage(items=[_LINE]), problems=(422, 503)))
async def list_audit(plane: Plane, limit: Limit = 100) -> Response:
    """List what was done in runs: who, what, when, and what came of it; newest first."""
    return encoded(AuditPage(items=await AlertStore(plane.engine).audit(AuditLine, limit=limit)))


@router.post(
    "/runbook-runs/{run_id}/answer",
    summary="Confirm a step, or refuse it",
    openapi_extra=takes(RunAnswer, RunAnswer(by="ada", comment="the machine is free")),
    **answers(Run, _RUN, problems=(400, 409, 413, 415, 422, 503)),
)
async def answer_run(run_id: RunId, request: Request, plane: Plane) -> Response:
    """Say yes to the step at which a run waits for a person, or no, upon which the step has failed."""
    return await _answered(run_id, request, plane, "")


@router.post(
    "/runbook-runs/{run_id}/end",
    summary="Cancel a run",
    openapi_extra=takes(RunAnswer, RunAnswer(by="ada", comment="done by hand")),
    **answers(Run, _RUN, problems=(400, 409, 413, 415, 422, 503)),
)
async def end_run(run_id: RunId, request: Request, plane: Plane) -> Response:
    """Do no further step of a run; what was done stays done."""
    return await _answered(run_id, request, plane, "cancel")


async def _answered(run_id: str, request: Request, plane: Plane, what: str) -> Response:
    said = await intake.read_one(request, RunAnswer)
    if not said.by.strip():
        raise Refusal(Fault(detail="say by whom: the audit names it", pointer="#/by"))
    what = what or ("refuse" if said.refuse else "confirm")
    receivers = receivers_in(await declared(plane))
    answered = await answer(AlertStore(plane.engine), run_id, by=said.by, comment=said.comment, what=what, receivers=receivers)
    return encoded(answered)


_ACTS = {
    "restart_host": "start host {step.host} anew",
    "cordon": "cordon host {step.host}",
    "uncordon": "uncordon host {step.host}",
    "drain": "drain host {step.host}",
    "undrain": "uncordon host {step.host}",
    "restart_pool": "make the agents of pool {step.pool} anew",
    "pause_workflows": "pause the workflows that run",
    "resume_workflows": "let the workflows that it paused go on",
    "recover": "put lost work back from the history",
    "back_up": "take a back-up",
    "verify_backup": "check that the newest back-up is whole",
    "page": "tell a person: {step.say}",
    "wait": "wait {step.wait_s:g} s",
}


def in_words(step: Step) -> str:
    """Return a step as a person reads it."""
    match step.do:
        case "check":
            assert step.that is not None, "a check says what is to hold"
            said = f"check that {step.that.text()} within {step.timeout_s:g} s"
        case "scale":
            most = f"{step.by or 0:+d} agents, {step.most} at most"
            said = f"scale pool {step.pool} {f'to {step.to} agents' if step.to is not None else f'by {most}'}"
        case "quarantine":
            whom = f"agent {step.agent}" if step.agent else f"the unwell agents of host {step.host}"
            said = f"quarantine {whom}{f' for {step.wait_s:g} s' if step.wait_s else ''}"
        case "release":
            said = f"let {f'agent {step.agent}' if step.agent else 'those that it quarantined'} have tasks again"
        case _:
            said = _ACTS[step.do].format(step=step)
    only = f", if {step.when.text()}" if step.when is not None else ""
    named = said if said.startswith(step.name) else f"{step.name}: {said}"
    return f"{named}{only}{' (a person confirms)' if step.confirm == 'person' else ''}"
