"""Commands that show routes and why a task went where it went, through the API of the running fleet."""

from pathlib import Path
from typing import Any

from amas.cli.api import Api, home_at, quoted
from amas.cli.output import console, moment, print_json

COLUMNS = ["pool", "share", "success", "of", "median", "USD each", "points", "waiting", "slots", "version", ""]


def why(task_id: str, folder: Path | None, *, as_json: bool) -> None:
    """Say why a task went where it went."""
    found = Api.of(home_at(folder)).get(f"/api/tasks/{quoted(task_id)}/why")
    if as_json:
        print_json(found)
        return
    console().print(f"{task_id} {found['sentence']}", markup=False, soft_wrap=True)


def routes(folder: Path | None, *, as_json: bool) -> None:
    """Show every route: each pool's share and its figures."""
    from amas.cli.tree import table

    found = Api.of(home_at(folder)).get("/api/routes")
    if as_json:
        print_json(found)
        return
    if not found["routes"]:
        console().print("no routes: no two live pools of this fleet can do the same (docs/routing.md)")
        return
    console().print(f"table {found['version']}, of {moment(found['at_ms'])}")
    for route in found["routes"]:
        title = f"{route['capability']} ({route['waiting']} in common)"
        console().print(table(title, COLUMNS, [_row(choice) for choice in route["choices"]]))


def _row(choice: dict[str, Any]) -> list[object]:
    if choice["excluded"]:
        return [choice["pool"], *[""] * 6, choice["waiting"], choice["slots"], "", choice["excluded"]]
    remarks = [*(["explored"] if choice["explored"] else []), *([] if choice["pulls"] else ["takes only what it is given"])]
    return [
        choice["pool"],
        f"{choice['share']:.0%}",
        f"{choice['success']:.1%}",
        f"{choice['trials']:.0f}",
        f"{choice['median_s']:.3g} s",
        f"{choice['usd']:.4f}",
        f"{choice['points']:.3g}",
        choice["waiting"],
        choice["slots"],
        ", ".join(choice["versions"]),
        ", ".join(remarks),
    ]
