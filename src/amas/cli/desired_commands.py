"""The commands that change what is wanted of a running fleet; `desired.py` does what they say. Part of the `amas` command."""

from pathlib import Path
from typing import Annotated

import typer

from amas.cli import complete
from amas.cli.options import HomeOption, Json, Watch
from amas.cli.output import watched

app = typer.Typer()

Why = Annotated[str, typer.Option("--why", help="A word for the history.")]
HostArgument = Annotated[
    str, typer.Argument(metavar="HOST", help="A host's name, such as host-1.", autocompletion=complete.hosts)
]
Wait = Annotated[bool, typer.Option("--wait/--no-wait", help="Return once the hosts have carried it out, or at once.")]

Timeout = Annotated[
    float | None,
    typer.Option("--timeout", min=0, help="Seconds to wait in all; by default until nothing has come further for 120 s."),
]


@app.command()
def apply(
    file: Annotated[Path | None, typer.Argument(metavar="FILE", help="A fleet file.")] = None,
    revision: Annotated[
        int | None, typer.Option(help="Instead of a file: go back to the fleet that this revision brought.")
    ] = None,
    again: Annotated[bool, typer.Option("--again", help="Roll versions out once more that were taken back.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    why: Why = "",
    wait: Wait = True,
    timeout: Timeout = None,
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """Make the running fleet what a file declares: say what will change, ask, change it, and wait until it runs so."""
    from amas.cli import desired

    asked = desired.Asked(file, revision, why, again=again, yes=yes, dry_run=dry_run, wait=wait, timeout_s=timeout)
    desired.apply(asked, home, as_json=json)


@app.command()
def diff(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A fleet file.")], home: HomeOption = None, json: Json = False
) -> None:
    """Say what applying a file would change; the exit code is 0 for nothing and 1 for something."""
    from amas.cli import desired

    desired.diff(file, home, as_json=json)


@app.command()
def scale(
    pool: Annotated[
        str, typer.Argument(metavar="POOL", help="A pool's name, such as code-reviewer.", autocompletion=complete.pools)
    ],
    replicas: Annotated[int | None, typer.Argument(metavar="N", min=0, help="How many agents it is to have.")] = None,
    reset: Annotated[bool, typer.Option("--reset", help="As many as the fleet file says, again.")] = False,
    why: Why = "",
    wait: Wait = True,
    timeout: Timeout = None,
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """Let a pool have more or fewer agents than its file says, within the fleet's limits."""
    from amas.cli import desired

    said = desired.Said(why, wait=wait, as_json=json, timeout_s=timeout)
    desired.scale(pool, None if reset else replicas, home, said=said, reset=reset)


@app.command()
def restart(
    what: Annotated[
        str,
        typer.Argument(
            metavar="HOST|POOL|AGENT",
            help="A host to start anew, or a pool or an agent to make anew.",
            autocompletion=complete.hosts_pools_agents,
        ),
    ],
    why: Why = "",
    wait: Wait = True,
    timeout: Timeout = None,
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """Start a host anew, or make agents anew: a pool's once they have done what they run, or one at once, which gives it back."""
    from amas.cli import desired

    desired.restart(what, home, said=desired.Said(why, wait=wait, as_json=json, timeout_s=timeout))


@app.command()
def drain(
    host: HostArgument,
    why: Why = "",
    wait: Wait = True,
    timeout: Timeout = None,
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """Move a host's agents to others, each once it has done what it runs; `amas uncordon` takes it back."""
    from amas.cli import desired

    desired.order(host, "drain", home, said=desired.Said(why, wait=wait, as_json=json, timeout_s=timeout))


@app.command()
def cordon(host: HostArgument, why: Why = "", home: HomeOption = None, json: Json = False) -> None:
    """Let a host keep its agents and get no more; `amas uncordon` ends that."""
    from amas.cli import desired

    desired.order(host, "cordon", home, said=desired.Said(why, wait=False, as_json=json))


@app.command()
def uncordon(
    host: HostArgument,
    why: Why = "",
    wait: Wait = True,
    timeout: Timeout = None,
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """Let a host that was cordoned or drained get agents again."""
    from amas.cli import desired

    desired.order(host, "uncordon", home, said=desired.Said(why, wait=wait, as_json=json, timeout_s=timeout))


@app.command()
def hosts(home: HomeOption = None, watch: Watch = False, json: Json = False) -> None:
    """List hosts with their agents and what is wanted of them."""
    from amas.cli import desired

    watched(lambda: desired.hosts(home, as_json=json), watch=watch)


@app.command()
def history(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many changes, newest first.")] = 20,
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """Say who changed what the fleet is to be, and why."""
    from amas.cli import desired

    desired.history(home, limit=limit, as_json=json)


@app.command()
def scaling(
    pool: Annotated[
        str, typer.Argument(metavar="[POOL]", help="One pool, with its signals and last changes.", autocompletion=complete.pools)
    ] = "",
    watch: Watch = False,
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """Show pools whose size follows their work: how many agents, how many there should be, and why."""
    from amas.cli import scaling as module

    watched(lambda: module.scaling(pool, home, as_json=json), watch=watch)
