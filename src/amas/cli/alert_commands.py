"""The options of `amas alerts`, `amas runbooks` and `amas runbook`; their work is in `alerts.py`, loaded when one is called."""

from typing import Annotated

import typer

from amas.cli import complete
from amas.cli.groups import Group, ShowFirst
from amas.cli.options import HomeOption, Json

By = Annotated[str, typer.Option("--by", help="Who says so; by default your user name.")]
RunId = Annotated[str, typer.Argument(metavar="ID", help="The run's id, from `amas runbooks`.", autocompletion=complete.runs)]

alert_app = typer.Typer(cls=ShowFirst, help="List alerts, silence one, or test who is told.")
run_app = typer.Typer(cls=Group, help="Run a run-book, show a run, or answer one that asks.", no_args_is_help=True)


@alert_app.command("show")
def show(
    status: Annotated[str, typer.Option(help="Only these: pending, firing or resolved.")] = "",
    watch: Annotated[bool, typer.Option("--watch", help="Go on, and print what changes; Ctrl-C ends it.")] = False,
    rules: Annotated[bool, typer.Option("--rules", help="List the rules in force instead.")] = False,
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """List alerts, silences and who is told; `show` may be left out."""
    from amas.cli import alerts

    if rules:
        alerts.rules(home, as_json=json)
    elif watch:
        alerts.watch(home, status=status, as_json=json)
    else:
        alerts.show(home, status=status, as_json=json)


@alert_app.command("silence")
def silence(
    name: Annotated[str, typer.Argument(help="The rule's name, or '*' for all; with --end, the silence's id.")],
    lasts: Annotated[str, typer.Option("--for", help="How long, such as 2h.")] = "2h",
    why: Annotated[str, typer.Option(help="For those who wonder.")] = "",
    label: Annotated[list[str] | None, typer.Option(help="Only alerts with this label, such as host=host-2.")] = None,
    end: Annotated[bool, typer.Option("--end", help="End the silence of this id.")] = False,
    by: By = "",
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """Have nobody told of an alert, and no run-book follow it, for a while."""
    from amas.cli import alerts

    if end:
        alerts.end_silence(name, home, as_json=json)
    else:
        alerts.silence(alerts.Silencing(name, lasts, why, label or [], by), home, as_json=json)


@alert_app.command("test")
def test(by: By = "", home: HomeOption = None, json: Json = False) -> None:
    """Send a test alert to everybody who is told, and say who got it."""
    from amas.cli import alerts

    raise typer.Exit(alerts.test(home, by=by, as_json=json))


def runbooks(
    audit: Annotated[bool, typer.Option("--audit", help="List what was done, by whom, and what came of it.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many runs, or lines of the audit, newest first.")] = 20,
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """List run-books and their newest runs."""
    from amas.cli import alerts

    if audit:
        alerts.audit(home, limit=limit, as_json=json)
    else:
        alerts.runbooks(home, limit=limit, as_json=json)


@run_app.command("run")
def run(
    name: Annotated[str, typer.Argument(help="The run-book's name.", autocompletion=complete.runbooks)],
    subject: Annotated[list[str] | None, typer.Option(help="What it is about, such as host=host-2.")] = None,
    why: Annotated[str, typer.Option(help="For the audit.")] = "",
    by: By = "",
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """Start a run-book; the fleet follows it."""
    from amas.cli import alerts

    alerts.run(name, home, subject=subject or [], why=why, by=by, as_json=json)


@run_app.command("show")
def show_run(run_id: RunId, home: HomeOption = None, json: Json = False) -> None:
    """Show a run with its steps."""
    from amas.cli import alerts

    alerts.show_run(run_id, home, as_json=json)


@run_app.command("confirm")
def confirm(
    run_id: RunId,
    refuse: Annotated[bool, typer.Option("--refuse", help="Say no: the step fails.")] = False,
    why: Annotated[str, typer.Option(help="For the audit.")] = "",
    by: By = "",
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """Say yes to the step at which a run waits for a person, or no."""
    from amas.cli import alerts

    alerts.answer(run_id, home, body={"by": by, "comment": why, "refuse": refuse}, end=False, as_json=json)


@run_app.command("cancel")
def cancel(
    run_id: RunId,
    why: Annotated[str, typer.Option(help="For the audit.")] = "",
    by: By = "",
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """Do no further step of a run; what was done stays done."""
    from amas.cli import alerts

    alerts.answer(run_id, home, body={"by": by, "comment": why}, end=True, as_json=json)
