"""`amas monitoring write`: the files for Prometheus and Grafana; no fleet need run where its address is said."""

from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import typer

from amas.cli.api import home_at
from amas.cli.output import console, print_json
from amas.observe.monitoring import Scraping, files


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


def _running(folder: Path | None) -> str:
    from amas.platforms.local.control import fleet_state

    state = fleet_state(home_at(folder).folder)
    host, _, _ = urlsplit(state.api_url).netloc.rpartition(":")
    return f"{host}:{state.metrics_port}"
