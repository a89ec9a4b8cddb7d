"""The commands that look at a running fleet; `ps.py`, `look.py` and `report.py` do what they say. Part of the `amas` command."""

from pathlib import Path
from typing import Annotated

import typer

from amas.cli import complete
from amas.cli.options import HomeOption, Json, Watch
from amas.cli.output import watched

app = typer.Typer()
STATUSES = ("idle", "working", "error", "healing")


@app.command()
def ps(
    pool: Annotated[str, typer.Argument(help="List this pool's agents.", autocompletion=complete.pools)] = "",
    agents: Annotated[bool, typer.Option("--agents", help="List agents, and not how many of each pool do what.")] = False,
    layer: Annotated[str, typer.Option(help="Only this layer's agents.")] = "",
    capability: Annotated[str, typer.Option(help="Only agents that can do this.")] = "",
    status: Annotated[
        str, typer.Option(help="Only agents that are idle, working, error or healing.", autocompletion=complete.one_of(*STATUSES))
    ] = "",
    host: Annotated[str, typer.Option(help="Only this host's agents.", autocompletion=complete.hosts)] = "",
    label: Annotated[
        list[str], typer.Option("--label", "-l", help="Only agents with such labels: name=value, name!=value, name, !name.")
    ] = [],  # noqa: B006  typer copies it
    limit: Annotated[int, typer.Option(min=1, help="At most this many agents.")] = 100,
    watch: Watch = False,
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """Show each pool's agents by what they do: idle, working or in trouble; with a pool or a filter, the agents themselves."""
    from amas.cli import ps as module

    filters = {"pool": pool, "layer": layer, "capability": capability, "status": status, "host": host, "label": label}
    if agents or any(filters.values()):
        watched(lambda: module.agents(home, filters=filters, limit=limit, as_json=json), watch=watch)
    else:
        watched(lambda: module.pools(home, as_json=json), watch=watch)


@app.command()
def top(home: HomeOption = None, json: Json = False) -> None:
    """Watch the fleet on one screen: figures, pools, queues, hosts, newest failures; q quits."""
    from amas.cli import top as module

    module.top(home, as_json=json)


@app.command()
def agents(
    agent_id: Annotated[str, typer.Argument(help="Show this one.", autocompletion=complete.agents)] = "",
    layer: Annotated[str, typer.Option(help="Only this layer's.")] = "",
    limit: Annotated[int, typer.Option(min=1, help="At most this many agents.")] = 1000,
    watch: Watch = False,
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """List agents with what they do now, or show one; `amas ps` has more to choose by."""
    from amas.cli import look
    from amas.cli import ps as module

    if agent_id:
        watched(lambda: look.agent(agent_id, home, as_json=json), watch=watch)
    else:
        watched(lambda: module.agents(home, filters={"layer": layer}, limit=limit, as_json=json), watch=watch)


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
