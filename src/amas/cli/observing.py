"""`amas monitoring` and `amas diagnose`; `monitoring.py` and `diagnose.py` do what they say. Part of the `amas` command."""

from pathlib import Path
from typing import Annotated

import typer

from amas.cli.options import HomeOption, Json

app = typer.Typer()
monitoring_app = typer.Typer(help="Prometheus's configuration and rules, and Grafana's dashboards, for this fleet.")
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


@app.command()
def diagnose(
    profile: Annotated[
        float, typer.Option(min=0, max=20, help="Profile the control plane for so many seconds instead, for speedscope.app.")
    ] = 0,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Where the profile goes; else it is printed.")] = None,
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """Say what every part of the running fleet is doing, how late it is, what is slow and what is stuck."""
    from amas.cli import diagnose as module

    if profile:
        module.profile(home, profile, output)
    else:
        module.diagnose(home, as_json=json)
