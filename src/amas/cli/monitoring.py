"""`amas monitoring write`: the files for Prometheus and Grafana; no fleet need run where its address is said.

`amas monitoring check`: what a Prometheus that watches a fleet has no data for.
"""

from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import typer

from amas.cli.api import Api, home_at
from amas.cli.exit import ExitCode
from amas.cli.output import console, print_json
from amas.errors import InputUnusable
from amas.observe.monitoring import Scraping, files

QUERY = "/api/v1/query"
"""Of a Prometheus."""


class Asked(NamedTuple):
    """What is to be written, and where."""

    folder: Path
    targets: tuple[str, ...]
    token_file: str
    alertmanagers: tuple[str, ...]


def write(asked: Asked, home: Path | None, *, as_json: bool) -> None:
    """Write them and say which."""
    targets = asked.targets or (_running(home),)
    written = []
    try:
        for name, text in files(Scraping(targets, asked.token_file, asked.alertmanagers)):
            path = asked.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
            written.append(str(path))
    except OSError as error:
        raise typer.BadParameter(f"{asked.folder} can't be written: {error.strerror}", param_hint="DIR") from error
    if as_json:
        print_json({"targets": list(targets), "files": written})
        return
    for name in written:
        console().print(name, soft_wrap=True)


def check(url: str, *, as_json: bool) -> ExitCode:
    """Ask a Prometheus all that the dashboards and rules ask, and print what it has no data for."""
    from amas.cli.tree import table
    from amas.observe.coverage import asked, empty

    if urlsplit(url).scheme not in {"http", "https"} or not urlsplit(url).hostname:
        raise typer.BadParameter(f"{url!r} is no address such as http://127.0.0.1:9090", param_hint="URL")
    prometheus = Api(url, mend="give the address of a Prometheus")

    def has_data(expression: str) -> bool:
        try:
            found = prometheus.get(QUERY, query=expression)["data"]["result"]
            return any(each["value"][1] != "NaN" for each in found)
        except (KeyError, TypeError) as error:
            raise InputUnusable(f"what answers at {url} is no Prometheus") from error

    found = empty(has_data)
    if as_json:
        print_json([each._asdict() for each in found])
    elif found:
        rows = [[each.where, each.expression, each.waits_for or "something is wrong"] for each in found]
        console().print(table("No data", ["where", "expression", "waits for"], rows))
    else:
        console().print(f"all {len({expression for _, expression in asked()})} expressions have data")
    return ExitCode.FAILED if any(not each.waits_for for each in found) else ExitCode.OK


def _running(folder: Path | None) -> str:
    from amas.platforms.local.control import fleet_state

    state = fleet_state(home_at(folder).folder)
    if not state.metrics_port:
        raise InputUnusable("this fleet has no page for Prometheus: it was started with ORCHESTRATION_ENABLE_METRICS=false")
    host, _, _ = urlsplit(state.api_url).netloc.rpartition(":")
    return f"{host}:{state.metrics_port}"
