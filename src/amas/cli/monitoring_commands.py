"""`amas logs`, `amas monitoring` and `amas diagnose`; modules of their names do what they say. Part of the `amas` command."""

from pathlib import Path
from typing import Annotated

import typer

from amas.cli import complete
from amas.cli.groups import Group
from amas.cli.options import HomeOption, Json, Watch
from amas.cli.output import watched

app = typer.Typer()
LEVELS = ("debug", "info", "warning", "error", "critical")
monitoring_app = typer.Typer(cls=Group, help="Set Prometheus and Grafana up for this fleet: configuration, rules, dashboards.")
app.add_typer(monitoring_app, name="monitoring")


@monitoring_app.command("write")
def write_monitoring(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Where the files go; those of the same names are replaced.")],
    target: Annotated[
        list[str] | None,
        typer.Option(help="HOST:PORT of a control plane's metrics, again for each; by default the running fleet's."),
    ] = None,
    token_file: Annotated[str, typer.Option(help="Where Prometheus finds AMAS_TOKEN in a file, if the fleet has one.")] = "",
    alertmanager: Annotated[list[str] | None, typer.Option(help="HOST:PORT of an Alertmanager, again for each.")] = None,
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """Write prometheus.yml, its rules and the dashboards."""
    from amas.cli import monitoring

    asked = monitoring.Asked(folder, tuple(target or ()), token_file, tuple(alertmanager or ()))
    monitoring.write(asked, home, as_json=json)


@monitoring_app.command("check")
def check_monitoring(
    url: Annotated[
        str, typer.Argument(metavar="URL", help="The Prometheus that watches the fleet, such as http://127.0.0.1:9090.")
    ],
    json: Json = False,
) -> None:
    """List what Prometheus has no data for: what dashboards and rules ask, with what has to happen first."""
    from amas.cli import monitoring

    raise typer.Exit(monitoring.check(url, as_json=json))


@app.command()
def diagnose(
    profile: Annotated[
        float, typer.Option(min=0, max=20, help="Profile the control plane for so many seconds instead, for speedscope.app.")
    ] = 0,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where the profile goes; else it is printed.")] = None,
    watch: Watch = False,
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """Say what every part of the running fleet is doing, how late it is, what is slow and what is stuck."""
    from amas.cli import diagnose as module

    if profile:
        module.profile(home, profile, output)
    else:
        watched(lambda: module.diagnose(home, as_json=json), watch=watch)


@app.command()
def logs(
    agents: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="AGENT", help="Only these agents' lines; or a pattern, such as 'reviewer-*'.", autocompletion=complete.agents
        ),
    ] = None,
    task: Annotated[str, typer.Option(help="Only this task's lines.", autocompletion=complete.tasks)] = "",
    level: Annotated[
        str,
        typer.Option(
            help=f"Only lines as grave as this: {', '.join(LEVELS[:-1])} or {LEVELS[-1]}.",
            autocompletion=complete.one_of(*LEVELS),
        ),
    ] = "",
    grep: Annotated[str, typer.Option(help="Only lines with this regular expression in them.")] = "",
    since: Annotated[
        str, typer.Option(help="Only lines of the last 10m or 7d, or since a date (UTC): all of them, unless -n says how many.")
    ] = "",
    home: HomeOption = None,
    lines: Annotated[int | None, typer.Option("--lines", "-n", help="How many of the last lines; 50 by default.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with new lines until Ctrl-C.")] = False,
    json: Json = False,
) -> None:
    """Print what agents and processes logged."""
    from amas.cli import logs as module

    asked = module.Asked(tuple(agents or ()), task, level, grep, since)
    module.logs(asked, home, lines=lines, follow=follow, as_json=json)
