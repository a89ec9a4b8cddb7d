"""`amas logs`: the hosts' and the control plane's JSON lines from the data folder, which stay readable when nothing runs."""

import json
import re
import time
from collections import deque
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import typer

from amas.cli.api import Api, elsewhere, home_at, quoted
from amas.cli.output import Away, console, json_text, remark
from amas.cli.times import moment_of
from amas.errors import AmasError, FleetNotRunning, InputUnusable
from amas.model.meant import did_you_mean
from amas.observe.logfiles import Follower
from amas.observe.logging import LEVELS

if TYPE_CHECKING:
    from rich.text import Text

FOLLOW_EVERY_S = 0.3
SLIP = 0.9
"""How alike names are of which one is the other, mistyped."""
AGAIN_S = 1.0
"""Between streams of a fleet elsewhere, which end with its control plane."""
LINES, LINES_MAX, LINES_AFAR_MAX = 50, 100_000, 1000
"""Shown where nobody says how many, with a `--since` at most, and of a fleet elsewhere."""
_STYLES = {"warning": "yellow", "error": "red", "critical": "red"}


class Asked(NamedTuple):
    """Which lines are wanted; empty fields want all."""

    agents: tuple[str, ...] = ()
    """Ids, or patterns such as `reviewer-*`."""
    task_id: str = ""
    level: str = ""
    """As grave as this at least."""
    grep: str = ""
    """A regular expression, looked for in the line as people see it."""
    since: str = ""
    """An age, such as `10m`, or a date."""


def logs(asked: Asked, folder: Path | None, *, lines: int | None, follow: bool, as_json: bool) -> None:
    """Print the last lines, and new ones until interrupted when following."""
    wants, since = wanted(asked), _since(asked.since)
    home = home_at(folder)
    if elsewhere(home):
        for line in _told_afar(asked, Api.of(home), lines=LINES if lines is None else max(lines, 1), follow=follow):
            if wants(line) and _at(line) >= since:
                _print(line, as_json=as_json)
        return
    follower = Follower(home.logs)
    follower.begin(since=since)
    most = max(lines, 1) if lines is not None else LINES_MAX if since else LINES
    recent, seen = _recent(follower, lambda line: _at(line) >= since and wants(line), most=most)
    for line in recent:
        _print(line, as_json=as_json)
    if not recent and not follow and not as_json:
        console().print(f"nothing logged{_by(asked, seen)} in {home.logs}", soft_wrap=True)
    if follow and home.supervisor_pid() is None:
        remark(f"no fleet runs in {home.folder}: what the next one logs is shown")
    while follow:
        time.sleep(FOLLOW_EVERY_S)
        for line in sorted(_new_lines(follower), key=_at):
            if wants(line):
                _print(line, as_json=as_json)


def _recent(follower: Follower, wants: Callable[[dict[str, Any]], bool], *, most: int) -> tuple[list[dict[str, Any]], set[str]]:
    """Return the newest lines that are wanted, oldest first, and which agents have said anything at all.

    What a look has read comes in no other: all of it counts, also what was written since this began.
    """
    recent: deque[dict[str, Any]] = deque(maxlen=most)
    seen, began = set[str](), _since("0s")
    while found := list(_new_lines(follower)):
        seen.update(str(line.get("agent_id", "")) for line in found)
        recent.extend(line for line in sorted(found, key=_at) if wants(line))
        if all(_at(line) >= began for line in found):
            break
    return sorted(recent, key=_at), seen


def _told_afar(asked: Asked, api: Api, *, lines: int, follow: bool) -> Iterator[dict[str, Any]]:
    """Yield an agent's lines as the control plane of a fleet elsewhere reads them."""
    if len(asked.agents) != 1 or not asked.agents[0].isprintable() or set("*?[") & set(asked.agents[0]):
        raise InputUnusable(
            "the fleet that AMAS_URL names has its logs where it runs: from here they are read of one agent, amas logs AGENT"
        )
    path, limit = f"/api/agents/{quoted(asked.agents[0])}/logs", min(lines, LINES_AFAR_MAX)
    if not follow:
        yield from api.get(path, limit=limit)["lines"]
        return
    api.get("/health")  # somebody is there; whoever goes away later comes back
    last, away, came = "", Away(), False
    while True:
        try:
            for line_id, line in api.events(f"{path}/stream?limit={limit}", after=last):
                last, came = line_id, True
                away.over()
                yield line
            came = True
            away.told(FleetNotRunning("the fleet that AMAS_URL names has ended the stream"))
        except AmasError as error:
            if not came:
                raise
            away.told(error)
        time.sleep(AGAIN_S)


def wanted(asked: Asked) -> Callable[[dict[str, Any]], bool]:
    """Return what says whether a line is wanted; BadParameter for what can't be asked."""
    level = asked.level.upper()
    if level and level not in LEVELS:
        raise typer.BadParameter(f"{asked.level!r} is none: write {', '.join(LEVELS).lower()}", param_hint="--level")
    try:
        pattern = re.compile(asked.grep, re.IGNORECASE)
    except re.error as error:
        raise typer.BadParameter(f"{asked.grep!r} is no regular expression: {error}", param_hint="--grep") from error

    def wants(line: dict[str, Any]) -> bool:
        agent = str(line.get("agent_id", ""))
        return (
            (not asked.agents or any(agent == one or fnmatchcase(agent, one) for one in asked.agents))
            and (not asked.task_id or line.get("task_id") == asked.task_id)
            and (not level or LEVELS.get(str(line.get("level", "info")).upper(), 0) >= LEVELS[level])
            and (not asked.grep or pattern.search(_shown(line).plain) is not None)
        )

    return wants


def _since(said: str) -> str:
    """Return a time that somebody gave as lines have it, "" for none."""
    return f"{moment_of(said, '--since'):%Y-%m-%dT%H:%M:%S.%fZ}" if said else ""


def _at(line: dict[str, Any]) -> str:
    return str(line.get("at", ""))


def _by(asked: Asked, seen: set[str]) -> str:
    """Return whose lines there are none of, and who may be meant where it looks like a slip: many agents never say a word."""
    if len(asked.agents) != 1:
        return ""
    pool, _, number = asked.agents[0].rpartition("-")
    others = {one for one in seen if one.rpartition("-")[2] == number and one.rpartition("-")[0] != pool}
    return f" by {asked.agents[0]}{did_you_mean(asked.agents[0], others, cutoff=SLIP) if asked.agents[0] not in seen else ''}"


def _new_lines(follower: Follower) -> Iterator[dict[str, Any]]:
    for raw in follower.new_lines():
        try:
            line = json.loads(raw)
        except (ValueError, RecursionError):
            continue
        if isinstance(line, dict):
            yield line


def _print(line: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print(json_text(line), flush=True)
    else:
        console().print(_shown(line), soft_wrap=True)


def _shown(line: dict[str, Any]) -> "Text":
    """Return a line as people read it."""
    from rich.text import Text

    said = dict(line)
    text = Text(str(said.pop("at", ""))[:23], style="dim")
    level = str(said.pop("level", "info"))
    text.append(f" {level:7}", style=_STYLES.get(level, "green"))
    if said.get("agent_id"):
        text.append(f" {said.pop('agent_id')}", style="cyan")
    message = said.pop("message", None) or said.pop("event", "")
    text.append(f" {message}")
    for name, value in said.items():
        if value == "":  # such as the workflow of a task that belongs to none
            continue
        text.append(f"  {name}=", style="dim")
        text.append(str(value))
    return text
