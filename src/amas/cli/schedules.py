"""`amas schedules`: list, show, change; `amas schedule`: put one. Through the API of the running fleet."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from amas.cli.api import Api, home_at, quoted
from amas.cli.output import console, moment, print_json, value_of
from amas.errors import InputUnusable


def schedules(name: str, folder: Path | None, *, acts: Sequence[str], as_json: bool) -> None:
    """List all schedules, show one, or do one thing to it: pause, resume, run, drop."""
    if len(acts) > 1:
        raise InputUnusable(f"one thing at a time: --{acts[0]} or --{acts[1]}")
    act = acts[0] if acts else ""
    if act and not name:
        raise InputUnusable(f"name the schedule to {act}: amas schedules NAME --{act}")
    api = Api.of(home_at(folder))
    if not name:
        page = api.all("/api/schedules")
        print_json(page) if as_json else _print_all(page["items"])
        return
    path = f"/api/schedules/{quoted(name)}"
    if act == "drop":
        dropped = api.delete(path)
        print_json(dropped) if as_json else console().print(f"dropped {name}")
        return
    view = api.post(f"{path}/{act}") if act else api.get(path)
    print_json(view) if as_json else _print_one(view)


def put(name: str, folder: Path | None, *, schedule: dict[str, Any], task_input: str, as_json: bool) -> None:
    """Keep a schedule; `task_input`: JSON, or text."""
    if schedule.get("task"):
        schedule["task"]["input"] = value_of(task_input, "--task-input")
    view = Api.of(home_at(folder)).put(f"/api/schedules/{quoted(name)}", schedule)
    print_json(view) if as_json else _print_one(view)


def _what(schedule: dict[str, Any]) -> str:
    return str(schedule["goal"]["text"] if schedule["goal"] else schedule["task"]["capability"])


def _print_all(views: list[dict[str, Any]]) -> None:
    if not views:
        console().print("no schedule yet: amas schedule nightly '0 3 * * *' --goal 'Review the code' --input DIR puts one")
        return
    from amas.cli.tree import table

    rows: list[list[object]] = [
        [
            view["schedule"]["name"],
            view["schedule"]["cron"],
            view["schedule"]["timezone"],
            "paused" if view["schedule"]["paused"] else moment(view["next_ms"]),
            moment(view["last_ms"]),
            view["fired"],
            _what(view["schedule"]),
        ]
        for view in views
    ]
    console().print(table("", ["schedule", "cron", "time zone", "next", "last", "fired", "what"], rows))


def _print_one(view: dict[str, Any]) -> None:
    schedule = view["schedule"]
    out = console()
    out.print(f"{schedule['name']}: {_what(schedule)}")
    out.print(f"  at     {schedule['cron']} ({schedule['timezone']})")
    out.print(f"  next   {'paused' if schedule['paused'] else moment(view['next_ms']) or 'never'}")
    out.print(f"  last   {moment(view['last_ms']) or 'not yet'} {view['last_id']}")
    out.print(f"  fired  {view['fired']} times, passed over {view['passed_over']} times")
