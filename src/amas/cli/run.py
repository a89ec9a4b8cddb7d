"""`amas run`: a goal from words to deliverable, with the hierarchy at work on the screen."""

import signal
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

from amas.cli.api import Api, Refused, elsewhere, home_at, quoted
from amas.cli.exit import ExitCode
from amas.cli.look import print_begun
from amas.cli.output import complain, console, harmless, print_json
from amas.clock import monotonic_s, now_ms
from amas.errors import FleetNotRunning, InputUnusable
from amas.platforms.local.home import Home

LOOK_EVERY_S = 0.25
PATIENCE_S = 30.0
"""Seconds for which the API may be away, as while the supervisor restarts a killed control plane."""
OPEN = frozenset({"waiting", "running", "paused", "compensating"})
"""The states of a workflow that goes on."""


class Bounds(NamedTuple):
    """What a goal may take; None for no bound."""

    usd: float | None = None
    tokens: int | None = None
    agent_s: float | None = None
    deadline_s: float | None = None

    def fields(self) -> dict[str, Any]:
        """Return them as fields of a goal."""
        amounts = {"usd": self.usd, "tokens": self.tokens, "agent_s": self.agent_s}
        budget = {name: value for name, value in amounts.items() if value is not None}
        said: dict[str, Any] = {"budget": budget} if budget else {}
        return said if self.deadline_s is None else {**said, "deadline_s": self.deadline_s}


class Request(NamedTuple):
    """What was asked on the command line."""

    goal: str
    input: Path | None
    output: Path | None
    fleet: str
    home: Path | None
    test_timeout_s: float | None
    bounds: Bounds
    detach: bool
    as_json: bool


def run(request: Request) -> None:
    """Have the goal met and print where the deliverable lies; exits with the code that says how it went."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # whoever ends this command ends its goal, as Ctrl-C does
    if not request.goal.strip():
        raise InputUnusable("say what you want in plain words, such as: amas run 'Review the code' --input DIR")
    check_input(request.input)
    home = home_at(request.home)
    afar = bool(elsewhere(home))
    if afar and request.output and request.detach:
        raise InputUnusable(
            "a fleet elsewhere can't write to this machine: without --detach the deliverable is fetched at the end"
        )
    if request.detach and not _runs(home):
        raise FleetNotRunning("--detach needs a running fleet, which goes on with the goal: start one with `amas up`")
    with _fleet(request, home) as api:
        output = request.output or Path("amas-out") / time.strftime("%Y%m%d-%H%M%S")
        answer = api.post("/api/goals", _goal(request, None if afar else output, _input(request, api, afar=afar)))
        workflow_id = answer["workflow_id"]
        if request.detach:
            print_begun(answer, as_json=request.as_json)
            return
        try:
            workflow = _follow(api, home, workflow_id, show=not request.as_json)
        except KeyboardInterrupt:
            complain(f"interrupted: {_cancelled(api, workflow_id)}")
            raise SystemExit(ExitCode.INTERRUPTED) from None
        except FleetNotRunning as error:
            if not afar:
                raise
            raise FleetNotRunning(
                f"{error}; workflow {workflow_id} goes on there: amas workflows {workflow_id} shows it"
            ) from error
        if afar and workflow["state"] == "succeeded":
            from amas.cli.afar import fetch

            workflow["result"] = fetch(api, workflow, output)
        raise SystemExit(_report(workflow, as_json=request.as_json))


def _input(request: Request, api: Api, *, afar: bool) -> str:
    """Return the folder that the goal is about, as the fleet's machine knows it; empty for none."""
    if request.input is None:
        return ""
    if not afar:
        return str(request.input.absolute())
    from amas.cli.afar import send

    if request.as_json:
        return send(api, request.input)
    from rich.text import Text

    with console().status(Text(f"sending {harmless(request.input)}"), spinner="line"):
        return send(api, request.input)


def _cancelled(api: Api, workflow_id: str) -> str:
    """Cancel a goal and say what became of that."""
    try:
        api.post(f"/api/workflows/{quoted(workflow_id)}/cancel")
    except (FleetNotRunning, Refused) as error:
        return f"workflow {workflow_id} wasn't cancelled and may go on ({error}): amas cancel {workflow_id} ends it"
    return f"workflow {workflow_id} is cancelled"


def check_input(folder: Path | None) -> None:
    """Raise InputUnusable when there is no such input folder, before anything is started for it."""
    if folder is None:
        return
    if not folder.exists():
        raise InputUnusable(f"--input {folder}: there is no such folder")
    if not folder.is_dir():
        raise InputUnusable(f"--input {folder} is a file; give the folder that the goal is about")


def _goal(request: Request, output: Path | None, input_dir: str) -> dict[str, Any]:
    return {
        "text": request.goal,
        "input_dir": input_dir,
        "output_dir": str(output.absolute()) if output else "",
        "preferences": {} if request.test_timeout_s is None else {"test_timeout_s": request.test_timeout_s},
        **request.bounds.fields(),
    }


@contextmanager
def _fleet(request: Request, home: Home) -> Iterator[Api]:
    """Give the running fleet's API, or that of one that is started for this goal and stopped after it."""
    if _runs(home):
        _check_fleet(request.fleet, home)
        yield Api.of(home)
        return
    from amas.cli.lifecycle import started_fleet

    with started_fleet(request.fleet, home, show=not request.as_json):
        yield Api.of(home)


def _check_fleet(fleet: str, home: Home) -> None:
    """Raise InputUnusable where somebody names another fleet than the one that runs, which meets the goal as it is."""
    if not fleet:
        return
    if url := elsewhere(home):
        raise InputUnusable(f"the fleet at {url}, which AMAS_URL names, meets the goal: leave --fleet out")
    from amas.fleet.load import find_fleet
    from amas.platforms.local.control import fleet_state

    state = fleet_state(home.folder)
    if str(find_fleet(fleet)) != state.fleet_file:
        raise InputUnusable(
            f"the fleet {state.name!r} runs in {home.folder} and meets the goal: leave --fleet out, or name another --home; "
            "`amas apply FILE` changes what runs"
        )


def _runs(home: Home) -> bool:
    return bool(elsewhere(home)) or home.supervisor_pid() is not None


def _look(api: Api, home: Home, workflow_id: str) -> dict[str, Any]:
    """Return the workflow as it stands, waiting while the control plane is being restarted."""
    until = monotonic_s() + PATIENCE_S
    while True:
        try:
            workflow: dict[str, Any] = api.get(f"/api/workflows/{quoted(workflow_id)}")
        except (FleetNotRunning, Refused) as error:
            away = isinstance(error, FleetNotRunning) or error.status == HTTPStatus.SERVICE_UNAVAILABLE
            if not away or monotonic_s() > until or not _runs(home):
                raise
            time.sleep(LOOK_EVERY_S)
        else:
            return workflow


def _follow(api: Api, home: Home, workflow_id: str, *, show: bool) -> dict[str, Any]:
    if not show:
        while (workflow := _look(api, home, workflow_id))["state"] in OPEN:
            time.sleep(LOOK_EVERY_S)
        return workflow
    from rich.live import Live

    from amas.cli.tree import workflow_view

    workflow = _look(api, home, workflow_id)
    try:
        with Live(workflow_view(workflow, now_ms=now_ms()), console=console(), auto_refresh=False, transient=False) as live:
            while workflow["state"] in OPEN:
                time.sleep(LOOK_EVERY_S)
                workflow = _look(api, home, workflow_id)
                live.update(workflow_view(workflow, now_ms=now_ms()), refresh=True)
    finally:
        if not console().is_terminal:
            console().line()  # where there is none, Live leaves its last line open
    return workflow


def _report(workflow: dict[str, Any], *, as_json: bool) -> ExitCode:
    """Print what came of a workflow; its own result, since that of its root task may be a reference to a large value."""
    deliverable, failure = workflow["result"], workflow["failure"] or {}
    if as_json:
        print_json({"workflow": workflow, "deliverable": deliverable, "failure": workflow["failure"]})
    elif workflow["state"] == "succeeded":
        _print_deliverable(deliverable)
    if workflow["state"] != "succeeded":
        complain(failure.get("message") or f"workflow {workflow['id']} is {workflow['state']}")
    match workflow["state"]:
        case "succeeded":
            return ExitCode.OK
        case "cancelled":
            return ExitCode.CANCELLED
        case _:
            code = failure.get("code", "")
            return (
                ExitCode.WRONG_INPUT
                if code in {"no_playbook", "plan_refused", "goal_over_budget", "input_unusable"}
                else ExitCode.FAILED
            )


def _print_deliverable(deliverable: dict[str, Any]) -> None:
    from amas.cli.tree import table

    rows = deliverable.get("table") or []
    if rows:
        console().print(table("", ["", ""], rows))
    if "folder" in deliverable:
        console().print(f"deliverable: [bold]{deliverable['folder']}[/bold]", soft_wrap=True)
    else:  # a plan by a model ends in whatever its last task makes
        print_json(deliverable)
