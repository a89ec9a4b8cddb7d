"""`amas policy`: which tools agents may use; `policies.py` does what the commands say. Part of the `amas` command."""

from pathlib import Path
from typing import Annotated

import typer

from amas.cli.groups import ShowFirst
from amas.cli.options import HomeOption, Json

app = typer.Typer(help="Which tools agents may use, and what was refused.", cls=ShowFirst)
FleetOption = Annotated[
    str, typer.Option("--fleet", help="A fleet file, or the name of one that ships with amas, in place of the running fleet.")
]
Paths = Annotated[list[Path] | None, typer.Argument(metavar="[PATH]...", help="Files or folders with policies.")]


@app.command("show")
def show(
    fleet: FleetOption = "",
    cedar: Annotated[bool, typer.Option("--cedar", help="As Cedar has them.")] = False,
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """List the rules, what pools are granted among them."""
    from amas.cli import policies

    policies.show(fleet, home, cedar=cedar, as_json=json)


@app.command("check")
def check(paths: Paths = None, fleet: FleetOption = "", home: HomeOption = None, json: Json = False) -> None:
    """Check files against a fleet, by default the running one; or a fleet file's own policies. Exit code 2: one is wrong."""
    from amas.cli import policies

    policies.check(paths or [], fleet, home, as_json=json)


@app.command("test")
def test(
    table: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="A table of expected decisions; docs/policies.md.")
    ] = None,
    agent: Annotated[str, typer.Option(help="Who would use it, such as coder-1.")] = "",
    tool: Annotated[str, typer.Option(help="What it would use.")] = "",
    arg: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="An argument, JSON or else text; may be said again.")
    ] = None,
    tenant: Annotated[str, typer.Option(help="Whose work it would be.")] = "",
    fleet: FleetOption = "",
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """Say whether an agent might use a tool, and which rule decides; nothing runs. Exit code 1: refused, or not as expected."""
    from amas.cli import policies

    asked = policies.Asked(agent, tool, tuple(arg or ()), tenant)
    policies.test(table, asked, fleet, home, as_json=json)


@app.command("apply")
def apply(
    paths: Annotated[list[Path], typer.Argument(metavar="PATH...", help="Files or folders with policies.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    why: Annotated[str, typer.Option("--why", help="A word for the history.")] = "",
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """Let the running fleet have these policies and no others; hosts go by them at once."""
    from amas.cli import policies

    policies.apply(paths, home, dry_run=dry_run, why=why, as_json=json)


@app.command("refusals")
def refusals(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many to list, newest first.")] = 20,
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """List the uses of tools that were refused lately, and why."""
    from amas.cli import policies

    policies.refusals(home, limit=limit, as_json=json)
