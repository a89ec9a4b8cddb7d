"""`amas logs`: the hosts' and the control plane's JSON lines from the data folder, which stay readable when nothing runs."""

import json
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from amas.cli.api import home_at
from amas.cli.output import console, json_text
from amas.observe.logfiles import Follower

FOLLOW_EVERY_S = 0.3


class Filter(NamedTuple):
    """Which lines are wanted; empty fields want all."""

    agent_id: str
    task_id: str

    def wants(self, line: dict[str, Any]) -> bool:
        """Return whether a line is one of those."""
        return (not self.agent_id or line.get("agent_id") == self.agent_id) and (
            not self.task_id or line.get("task_id") == self.task_id
        )


def logs(wanted: Filter, folder: Path | None, *, lines: int, follow: bool, as_json: bool) -> None:
    """Print the last lines, and new ones until interrupted when following."""
    home = home_at(folder)
    follower = Follower(home.logs)
    recent: deque[dict[str, Any]] = deque(maxlen=max(lines, 1))
    for line in sorted(_new_lines(follower), key=lambda line: str(line.get("at", ""))):
        if wanted.wants(line):
            recent.append(line)
    for line in recent:
        _print(line, as_json=as_json)
    if not recent and not follow and not as_json:
        console().print(f"nothing logged in {home.logs}")
    while follow:
        time.sleep(FOLLOW_EVERY_S)
        for line in _new_lines(follower):
            if wanted.wants(line):
                _print(line, as_json=as_json)


def _new_lines(follower: Follower) -> Iterator[dict[str, Any]]:
    for raw in follower.new_lines():
        try:
            line = json.loads(raw)
        except ValueError:
            continue
        if isinstance(line, dict):
            yield line


def _print(line: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json_text(line), flush=True)
        return
    from rich.text import Text

    said = dict(line)
    text = Text(str(said.pop("at", ""))[:23], style="dim")
    level = str(said.pop("level", "info"))
    text.append(f" {level:7}", style={"warning": "yellow", "error": "red", "critical": "red"}.get(level, "green"))
    if said.get("agent_id"):
        text.append(f" {said.pop('agent_id')}", style="cyan")
    message = said.pop("message", None) or said.pop("event", "")
    text.append(f" {message}")
    for name, value in said.items():
        text.append(f"  {name}=", style="dim")
        text.append(str(value))
    console().print(text, soft_wrap=True)
