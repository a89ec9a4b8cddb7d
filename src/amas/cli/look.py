"""Commands that look at workflows, tasks and agents, or cancel them, through the API of the running fleet."""

from pathlib import Path
from typing import Any

from amas.cli.api import Api, Refused, home_at, quoted
from amas.cli.output import console, harmless, moment, print_json, remark, seconds
from amas.clock import now_ms

LARGE = frozenset({"artifact", "bytes", "media_type"})
"""What the API shows in the place of a value that is too large for a look."""


def workflows(workflow_id: str, folder: Path | None, *, limit: int, as_json: bool) -> None:
    """List workflows, or show one as a tree."""
    api = Api.of(home_at(folder))
    if workflow_id:
        workflow = api.get(f"/api/workflows/{quoted(workflow_id)}")
        if as_json:
            print_json(workflow)
        else:
            from amas.cli.tree import workflow_view

            console().print(workflow_view(workflow, now_ms=now_ms()))
        return
    page = api.get("/api/workflows", limit=limit)
    print_page(
        page,
        ["workflow", "state", "tasks", "started", "took", "goal"],
        [
            [
                item["id"],
                item["state"],
                f"{item['counts'].get('succeeded', 0)}/{sum(item['counts'].values())}",
                moment(item["created_ms"]),
                seconds(item["created_ms"], item["finished_ms"]),
                (item.get("goal") or {}).get("text", ""),
            ]
            for item in page["items"]
        ],
        as_json=as_json,
        nothing='no workflow yet: amas run "Review the code" --input DIR starts one',
    )


def tasks(task_id: str, folder: Path | None, *, filters: dict[str, str], limit: int, as_json: bool) -> None:
    """List tasks, or show one with its attempts."""
    api = Api.of(home_at(folder))
    if task_id:
        task = api.get(f"/api/tasks/{quoted(task_id)}")
        print_json(task) if as_json else print_task(task)
        return
    page = api.get("/api/tasks", limit=limit, **filters)
    print_page(
        page,
        ["task", "state", "capability", "key", "agent", "attempt", "took"],
        [
            [
                item["id"],
                item["state"],
                item["capability"],
                item["key"],
                item["agent_id"],
                item["attempt"],
                seconds(item["started_ms"], item["finished_ms"]),
            ]
            for item in page["items"]
        ],
        as_json=as_json,
        nothing="no such task" if any(filters.values()) else "no task yet: `amas run` has a goal met by some",
    )


def agent(agent_id: str, folder: Path | None, *, as_json: bool) -> None:
    """Show an agent with what it does now."""
    found = Api.of(home_at(folder)).get(f"/api/agents/{quoted(agent_id)}")
    print_json(found) if as_json else print_fields(found)


def agent_rows(items: list[dict[str, Any]]) -> tuple[list[str], list[list[object]]]:
    """Return the columns and rows of a table of agents."""
    columns = ["agent", "title", "layer", "reports to", "skill", "status", "host", "working on"]
    fields = ("agent_id", "title", "layer", "lead", "skill", "status", "host_id")
    return columns, [[*(item[field] for field in fields), ", ".join(item["current_tasks"])] for item in items]


def cancel(an_id: str, folder: Path | None, *, as_json: bool) -> None:
    """Cancel a workflow or a task, whichever has this id."""
    api = Api.of(home_at(folder))
    try:
        answer = api.post(f"/api/workflows/{quoted(an_id)}/cancel")
    except Refused as error:
        if error.status != 404:
            raise
        answer = api.post(f"/api/tasks/{quoted(an_id)}/cancel")
    if as_json:
        print_json(answer)
    else:
        console().print(f"{an_id} is cancelled" if answer["cancelled"] else f"{an_id} had ended already; nothing changed")


def print_begun(answer: dict[str, Any], *, as_json: bool) -> None:
    """Print the id of a workflow that was started, alone, so that a script can take it."""
    if as_json:
        print_json(answer)
        return
    print(harmless(answer["workflow_id"]))
    remark(f"`amas workflows {answer['workflow_id']}` shows it")


def print_page(page: dict[str, Any], columns: list[str], rows: list[list[object]], *, as_json: bool, nothing: str) -> None:
    """Print a page of a list as a table, or as it came for programs; `nothing` where it is empty."""
    if as_json:
        print_json(page)
        return
    if not rows:
        console().print(nothing)
        return
    from amas.cli.tree import table

    console().print(table("", columns, rows))
    if page["next"]:
        remark("there are more: --limit says how many are listed")


def print_killed(items: list[dict[str, Any]]) -> None:
    """Print who does nothing because of the kill switch, a line each; they have a status as idle agents do."""
    for each in items:
        who = "the whole fleet" if each["target"] == "*" else each["target"]
        console().print(f"[red]killed: {who}[/red], by {each['by']}: {each['why']} (amas kill --lift lets it work again)")


def print_fields(shown: dict[str, Any]) -> None:
    """Print one thing's fields, a line each; `_ms` are times."""
    from amas.cli.tree import table

    rows = [[_words(name), _plain(name, value)] for name, value in shown.items()]
    console().print(table("", ["", ""], rows))


def _words(name: str) -> str:
    return name.removesuffix("_ms").replace("_", " ")


def _plain(name: str, value: object) -> object:
    match value:
        case int() if name.endswith("_ms"):
            return moment(value)
        case {"code": str(code), "message": str(message)}:
            return f"{code}: {message}"
        case dict():  # figures, of which what is 0 says nothing
            return ", ".join(f"{word}={figure}" for word, figure in value.items() if figure) or "nothing"
        case list() | tuple():
            return ", ".join(map(str, value))
        case _:
            return value


def print_task(task: dict[str, Any]) -> None:
    """Print a task with its attempts, input and result."""
    from rich.pretty import Pretty

    from amas.cli.tree import table

    attempts = task.pop("attempts", [])
    given, result = task.pop("input", None), task.pop("result", None)
    print_fields({name: value for name, value in task.items() if value not in ("", None, [], 0)})
    if attempts:
        rows: list[list[object]] = [
            [
                item["attempt"],
                item["agent_id"],
                item["host_id"],
                item.get("outcome"),
                seconds(item["started_ms"], item["finished_ms"]),
                (item.get("failure") or {}).get("message", ""),
            ]
            for item in attempts
        ]
        console().print(table("attempts", ["attempt", "agent", "host", "outcome", "took", "failure"], rows))
    for name, value in (("input", given), ("result", result)):
        if isinstance(value, dict) and value.keys() == LARGE:
            where = f"GET /api/tasks/{task['id']}/result has it whole" if name == "result" else "its agent gets it whole"
            console().print(
                f"[bold]{name}[/bold] {value['bytes']:,} bytes, in the artifact store as {value['artifact']}; {where}"
            )
        elif value is not None:
            console().print(f"[bold]{name}[/bold]")
            console().print(Pretty(value, max_length=20, max_string=200, max_depth=4))
