"""`amas quarantine`, `amas recoveries`, `amas breakers`; `healing.py` does what they say. Part of the `amas` command."""

from typing import Annotated

import typer

from amas.cli import complete
from amas.cli.groups import Group
from amas.cli.options import HomeOption, Json, Watch
from amas.cli.output import watched

app = typer.Typer()
quarantine_app = typer.Typer(cls=Group, help="Agents that get no tasks, because they kept crashing or somebody said so.")
app.add_typer(quarantine_app, name="quarantine")
_ABOUT = "The agent's id, such as coder-3."
AgentId = Annotated[str, typer.Argument(metavar="AGENT", help=_ABOUT, autocompletion=complete.agents)]
HeldId = Annotated[str, typer.Argument(metavar="AGENT", help=_ABOUT, autocompletion=complete.quarantined)]


@quarantine_app.command("list")
def list_quarantines(home: HomeOption = None, json: Json = False) -> None:
    """List quarantined agents, and pools that have no others."""
    from amas.cli import healing

    healing.quarantines(home, as_json=json)


@quarantine_app.command("lift")
def lift_quarantine(agent_id: HeldId, home: HomeOption = None, json: Json = False) -> None:
    """Let an agent have tasks again; its host makes it anew."""
    from amas.cli import healing

    healing.lift(agent_id, home, as_json=json)


@quarantine_app.command("set")
def set_quarantine(
    agent_id: AgentId,
    why: Annotated[str, typer.Option(help="The reason, for those who find it tomorrow.")],
    for_s: Annotated[float, typer.Option("--for", min=0, help="Seconds; 0 until somebody lifts it.")] = 0.0,
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """Give an agent no more tasks; what it runs it finishes."""
    from amas.cli import healing

    healing.put(agent_id, home, why=why, for_s=for_s, as_json=json)


@app.command()
def recoveries(
    home: HomeOption = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many to list, newest first.")] = 20,
    json: Json = False,
) -> None:
    """List what failed and was made good: hosts, agents, the engine; and how long the work stood still."""
    from amas.cli import healing

    healing.recoveries(home, limit=limit, as_json=json)


@app.command()
def breakers(
    reset: Annotated[str, typer.Option(help="Close this one: the dependency is back.", autocompletion=complete.breakers)] = "",
    watch: Watch = False,
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """List circuit breakers of what agents depend on, or close one."""
    from amas.cli import healing

    watched(lambda: healing.breakers(reset, home, as_json=json), watch=watch and not reset)
