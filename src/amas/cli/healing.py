"""`amas quarantine`, `amas recoveries`, `amas breakers`: how the fleet heals, through the API of the running fleet."""

from pathlib import Path
from typing import Any
from urllib.parse import quote

from amas.cli.api import Api, home_at
from amas.cli.output import console, moment, print_json
from amas.cli.who import me


def quarantines(folder: Path | None, *, as_json: bool) -> None:
    """List the agents that get no tasks."""
    _print_quarantines(Api.of(home_at(folder)).get("/api/quarantine"), as_json=as_json)


def lift(agent_id: str, folder: Path | None, *, as_json: bool) -> None:
    """Let an agent have tasks again."""
    path = f"/api/quarantine/{quote(agent_id, safe='')}?by={quote(me(), safe='')}"
    _print_quarantines(Api.of(home_at(folder)).delete(path), as_json=as_json)


def put(agent_id: str, folder: Path | None, *, why: str, for_s: float, as_json: bool) -> None:
    """Give an agent no more tasks."""
    body = {"why": why, "by": me(), "for_s": for_s}
    found = Api.of(home_at(folder)).put(f"/api/quarantine/{quote(agent_id, safe='')}", body)
    _print_quarantines(found, as_json=as_json)


def _print_quarantines(found: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(found)
        return
    rows = [
        [item["agent_id"], item["why"], item["by"], moment(item["at_ms"]), moment(item["until_ms"]) or "it is lifted"]
        for item in found["items"]
    ]
    _print(["agent", "why", "by", "since", "until"], rows, nothing="no agent is quarantined")
    for pool in found["pools_down"]:
        console().print(f"[red]every agent of {pool} is quarantined[/red]: its tasks wait")


def recoveries(folder: Path | None, *, limit: int, as_json: bool) -> None:
    """List what failed and was made good."""
    found = Api.of(home_at(folder)).get("/api/recoveries", limit=limit)
    if as_json:
        print_json(found)
        return
    rows = [
        [moment(item["at_ms"]), item["cause"].replace("_", " "), item["subject"], f"{item['duration_s']:.2f} s", item["tasks"]]
        for item in found["items"]
    ]
    _print(["at", "what", "who", "took", "tasks"], rows, nothing="nothing has failed so far")
    if found["under_way"]:
        console().print(f"{found['under_way']} under way: their tasks still wait")


def breakers(reset: str, folder: Path | None, *, as_json: bool) -> None:
    """List the breakers, or close one."""
    api = Api.of(home_at(folder))
    found = api.post("/api/breakers/reset", {"name": reset}) if reset else api.get("/api/breakers")
    if as_json:
        print_json(found)
        return
    rows = [
        [
            item["name"],
            item["state"].replace("_", "-"),
            f"{item['errors']} of {item['errors_max']}",
            moment(item["open_until_ms"]),
            item["opened"],
            item["why"],
        ]
        for item in found["items"]
    ]
    columns = ["dependency", "breaker", "errors in a row", "open until", "opened", "last why"]
    _print(columns, rows, nothing="no agent has used a dependency so far: docs/healing.md says how")


def _print(columns: list[str], rows: list[list[object]], *, nothing: str) -> None:
    if not rows:
        console().print(nothing)
        return
    from amas.cli.tree import table

    console().print(table("", columns, rows))
