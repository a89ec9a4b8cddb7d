"""The commands that look at a running fleet; `ps.py`, `look.py` and `report.py` do what they say. Part of the `amas` command."""

from pathlib import Path
from typing import Annotated

import typer

from amas.cli.options import HomeOption, Json

app = typer.Typer()


@app.command()
def ps(
    pool: Annotated[str, typer.Argument(help="List this pool's agents.")] = "",
    agents: Annotated[bool, typer.Option("--agents", help="List agents, and not how many of each pool do what.")] = False,
    layer: Annotated[str, typer.Option(help="Only this layer's agents.")] = "",
    capability: Annotated[str, typer.Option(help="Only agents that can do this.")] = "",
    status: Annotated[str, typer.Option(help="Only agents that are idle, working, error or healing.")] = "",
    host: Annotated[str, typer.Option(help="Only this host's agents.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most this many agents.")] = 100,
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """Show how many agents of each pool are idle, working or in trouble; with a pool or a filter, the agents themselves."""
    from amas.cli import ps as module

    filters = {"pool": pool, "layer": layer, "capability": capability, "status": status, "host": host}
    if agents or any(filters.values()):
        module.agents(home, filters=filters, limit=limit, as_json=json)
    else:
        module.pools(home, as_json=json)


@app.command()
def agents(
    agent_id: Annotated[str, typer.Argument(help="Show this one.")] = "",
    layer: Annotated[str, typer.Option(help="Only this layer's.")] = "",
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """List agents with what they do now, or show one."""
    from amas.cli import look

    look.agents(agent_id, home, layer=layer, as_json=json)


@app.command()
def report(
    since: Annotated[str, typer.Option(help="How far back: 10m, 1h, 7d; 30d at most.")] = "1h",
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write it as one HTML file, too.")] = None,
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """Report how the fleet did: availability, success, what was lost, recoveries, utilisation and cost of each family."""
    from amas.cli import report as module

    module.report(home, since=since, output=output, as_json=json)
