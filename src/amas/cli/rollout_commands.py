"""`amas rollout` and its commands; `rollouts.py` does what they say. Part of the `amas` command."""

from typing import Annotated

import typer

from amas.cli import complete
from amas.cli.groups import Group
from amas.cli.options import HomeOption, Json, Watch
from amas.cli.output import watched

app = typer.Typer(
    cls=Group,
    help="Bring in a pool's new version beside the old one, so that its tasks decide whether it stays.",
    no_args_is_help=True,
)
RolloutPool = Annotated[str, typer.Argument(metavar="POOL", help="The pool's name.", autocompletion=complete.pools)]
By = Annotated[str, typer.Option(help="Who says so; by default this machine's user.")]


@app.command("start")
def rollout_start(
    pool: RolloutPool,
    version: Annotated[str, typer.Option(help="The new version.")],
    agent: Annotated[str, typer.Option(help="Its agent, module:attribute; left out: the pool's.")] = "",
    option: Annotated[list[str] | None, typer.Option("--set", help="An option, name=value; may be said again.")] = None,
    by: By = "",
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """Let a new version of a pool have a share of its tasks, as the pool's or fleet's rollout section says."""
    from amas.cli import rollouts

    wanted = {"version": version, "agent": agent, "by": by}
    rollouts.start(pool, home, wanted=wanted, sets=option or (), as_json=json)


@app.command("status")
def rollout_status(
    pool: Annotated[str, typer.Argument(metavar="POOL", help="Only this pool's.", autocompletion=complete.pools)] = "",
    watch: Watch = False,
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """Show how roll-outs stand: what both versions did, and what would be done now."""
    from amas.cli import rollouts

    watched(lambda: rollouts.status(pool, home, as_json=json), watch=watch)


@app.command("approve")
def rollout_approve(pool: RolloutPool, by: By = "", home: HomeOption = None, json: Json = False) -> None:
    """Let a new version leave staging."""
    from amas.cli import rollouts

    rollouts.act(pool, "approve", home, by=by, as_json=json)


@app.command("promote")
def rollout_promote(pool: RolloutPool, by: By = "", home: HomeOption = None, json: Json = False) -> None:
    """Promote a new version now, whatever its figures say."""
    from amas.cli import rollouts

    rollouts.act(pool, "promote", home, by=by, as_json=json)


@app.command("abort")
def rollout_abort(pool: RolloutPool, by: By = "", home: HomeOption = None, json: Json = False) -> None:
    """Take a new version back now."""
    from amas.cli import rollouts

    rollouts.act(pool, "abort", home, by=by, as_json=json)
