"""The tree of the hierarchy at work, as text."""

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from amas.cli.tree import SHOWN_MAX, table, workflow_view


def _task(task_id: str, parent: str = "", **more: Any) -> dict[str, Any]:
    return {"id": task_id, "parent_id": parent, "key": task_id, "capability": "x", "state": "succeeded", **more}


def _text(tasks: list[dict[str, Any]], **workflow: Any) -> str:
    console = Console(width=120, record=True, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    counts: dict[str, int] = {}
    for task in tasks:
        counts[task["state"]] = counts.get(task["state"], 0) + 1
    shown = {
        "id": "w",
        "goal": {"text": "Do it"},
        "state": "running",
        "created_ms": 1000,
        "counts": counts,
        "tasks": tasks,
        **workflow,
    }
    with console.file:
        console.print(workflow_view(shown, now_ms=4000))
        return console.export_text()


def test_a_team_stands_under_its_lead_in_the_order_in_which_it_began() -> None:
    text = _text(
        [
            _task("root"),
            _task("lead", "root", started_ms=1500),
            _task("late", "lead", started_ms=1900),
            _task("early", "lead", started_ms=1600),
            _task("not yet", "lead", state="waiting"),
        ]
    )
    order = [text.index(name) for name in ("Do it", "root", "lead", "early", "late", "not yet")]
    assert order == sorted(order)
    assert "4/5 tasks" in text
    assert "3.0 s" in text


def test_of_a_large_team_those_at_work_are_named_and_the_others_counted() -> None:
    team = [_task(f"done-{n}", "lead", started_ms=n + 1) for n in range(SHOWN_MAX)]
    at_work = _task("busy", "lead", state="running", started_ms=3000, progress=0.5, note="half way", agent_id="reviewer-1")
    text = _text([_task("root"), _task("lead", "root"), *team, at_work])
    assert "busy  reviewer-1  50% half way  1.0 s" in text
    assert f"{SHOWN_MAX} succeeded" in text
    assert "done-1" not in text


def test_names_from_a_reviewed_project_are_not_markup() -> None:
    text = _text([_task("root", title="[red]review[/red] of [/]")])
    assert "[red]review[/red] of [/]" in text


def test_what_agents_write_does_not_steer_the_terminal() -> None:
    console = Console(file=StringIO(), width=200)
    console.print(table("", ["note"], [["done\x1b]0;mine\x07\x9b31m"]]))
    shown = console.file.getvalue()
    assert "done\\x1b]0;mine\\x07\\x9b31m" in shown


ROWS = [
    ["01990d3e-7a10-7c3e-9a44-0a6f5b7c8d9e", "failed", "development.code_review", "code-reviewer-17", "it fell\napart " * 20],
    ["01990d3e-7a10-7c3e-9a44-0a6f5b7c8d9f", "succeeded", "testing.unit", "test-runner-4", None],
]
COLUMNS = ["task", "state", "capability", "agent", "why"]


def _listed(columns: int, *, terminal: bool = True) -> list[str]:
    console = Console(file=StringIO(), width=columns, force_terminal=terminal, color_system=None)
    console.print(table("newest [tasks]", COLUMNS, ROWS))
    return console.file.getvalue().splitlines()


@pytest.mark.parametrize("columns", [20, 40, 60, 80, 120, 200])
def test_a_table_fits_its_screen_and_cuts_nothing(columns: int) -> None:
    lines = _listed(columns)
    assert max(map(len, lines)) <= columns
    text = "".join(line.strip() for line in lines)
    for row in ROWS:
        for word in " ".join(filter(None, row)).split():
            assert word in text
    assert "…" not in text and lines[0].startswith("newest [tasks]")


def test_a_row_is_a_line_where_there_is_room_and_in_a_pipe() -> None:
    assert [line.split()[0] for line in _listed(200)[1:3]] == ["task", ROWS[0][0]]
    piped = _listed(1_000_000, terminal=False)
    assert len(piped) == 4 and piped[2].split()[:4] == ROWS[0][:4]


def test_where_a_row_does_not_fit_its_values_stand_below_its_name() -> None:
    lines = _listed(60)
    at = lines.index(ROWS[1][0])
    assert lines[at + 1].startswith("  state: succeeded  capability: testing.unit")
