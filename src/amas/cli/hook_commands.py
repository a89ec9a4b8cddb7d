"""`amas webhooks`; `hooks.py` does what it says. Part of the `amas` command."""

from typing import Annotated

import typer

from amas.cli import complete
from amas.cli.groups import ShowFirst
from amas.cli.options import HomeOption, Json

app = typer.Typer(
    cls=ShowFirst, help="Who is told of ends and approvals: `show`, which may be left out, add, test, resend, remove."
)
Id = Annotated[
    str,
    typer.Argument(
        metavar="ID", help="The webhook's id, or the end of it, as `amas webhooks` shows it.", autocompletion=complete.webhooks
    ),
]


@app.command("show")
def show(home: HomeOption = None, json: Json = False) -> None:
    """List webhooks and how it goes with them."""
    from amas.cli import hooks

    hooks.show(home, as_json=json)


@app.command("add")
def add(
    url: Annotated[str, typer.Argument(help="Where events are posted to.")],
    event: Annotated[
        list[str] | None,
        typer.Option(
            help="Such as task.failed, goal.* or approval.waiting; may be said again. By default all ends and approvals."
        ),
    ] = None,
    tenant: Annotated[str, typer.Option(help="Only this tenant's work.")] = "",
    workflow: Annotated[str, typer.Option(help="Only what belongs to this workflow.")] = "",
    capability: Annotated[str, typer.Option(help="Only tasks of this capability.")] = "",
    secret: Annotated[str, typer.Option(help="env:AMAS_WEBHOOK_SECRET_...; by default one is made and shown, this once.")] = "",
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """Have an address told, from now on, and print the secret that its posts are signed with."""
    from amas.cli import hooks

    said = {"tenant": tenant, "workflow_id": workflow, "capability": capability, "secret": secret}
    hooks.add(url, event or [], home, said=said, as_json=json)


@app.command("test")
def test(webhook: Id, home: HomeOption = None, json: Json = False) -> None:
    """Post a test event and say what came of it."""
    from amas.cli import hooks

    hooks.test(webhook, home, as_json=json)


@app.command("missed")
def missed(webhook: Id, home: HomeOption = None, json: Json = False) -> None:
    """List what a webhook was told in vain until it was given up."""
    from amas.cli import hooks

    hooks.missed(webhook, home, as_json=json)


@app.command("resend")
def resend(webhook: Id, home: HomeOption = None, json: Json = False) -> None:
    """Send again what was given up; a disabled webhook is enabled, too."""
    from amas.cli import hooks

    hooks.resend(webhook, home, as_json=json)


@app.command("remove")
def remove(webhook: Id, home: HomeOption = None, json: Json = False) -> None:
    """Forget a webhook and what it hasn't got."""
    from amas.cli import hooks

    hooks.remove(webhook, home, as_json=json)
