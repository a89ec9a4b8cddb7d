"""A workflow as a tree of the hierarchy at work, for a terminal: pure functions from the API's answer to rich renderables.

A node is a task under the task that spawned it: the coordinator, below it the leads and gates, below them the specialists. A team
of many is shown as its members at work and a count of the others, so that the tree fits a screen.
"""

from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.markup import escape
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.segment import Segment
from rich.style import Style
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from amas.cli.output import harmless, in_short

GAP = "  "
"""Between columns."""
SHOWN_MAX = 8
"""Specialists of one team that are shown by name; of more, those that are done are counted."""

MARKS = {
    "waiting": ("·", "dim"),
    "queued": ("○", "dim"),
    "delayed": ("◔", "yellow"),
    "running": ("●", "cyan"),
    "succeeded": ("✓", "green"),
    "failed": ("✗", "red"),
    "cancelled": ("-", "dim"),
}

Task = dict[str, Any]


def workflow_view(workflow: dict[str, Any], *, now_ms: int) -> RenderableType:
    """Return the whole view: the goal, the tree, and a progress bar."""
    tasks: list[Task] = workflow["tasks"]
    children: dict[str, list[Task]] = defaultdict(list)
    for task in tasks:
        children[task["parent_id"]].append(task)
    title = Text(str((workflow.get("goal") or {}).get("text") or workflow["id"]), style="bold")
    tree = Tree(title, guide_style="dim")
    for siblings in children.values():
        siblings.sort(key=_order)
    for root in children[""]:
        _add(tree, root, children, now_ms)
    return Group(tree, _progress(workflow, now_ms))


def _add(branch: Tree, task: Task, children: dict[str, list[Task]], now_ms: int) -> None:
    node = branch.add(_line(task, now_ms))
    team = children.get(task["id"], [])
    shown = team
    if len(team) > SHOWN_MAX and task["parent_id"]:
        shown = [member for member in team if member["state"] in {"running", "failed", "delayed"}][:SHOWN_MAX]
    for member in shown:
        _add(node, member, children, now_ms)
    rest = Counter(member["state"] for member in team if member not in shown)
    if rest:
        node.add(Text(", ".join(f"{count} {state}" for state, count in sorted(rest.items())), style="dim"))


def _order(task: Task) -> tuple[int, str]:
    """Return what sorts a team by when its members began, those that haven't last."""
    return task.get("started_ms") or 1 << 62, task.get("key") or ""


def _line(task: Task, now_ms: int) -> Text:
    mark, style = MARKS[task["state"]]
    line = Text.assemble((f"{mark} ", style), (harmless(task.get("title") or task.get("key") or task["capability"]), ""))
    if task.get("agent_id"):
        line.append(f"  {task['agent_id']}", style="dim")
    if task["state"] == "running" and task.get("progress"):
        line.append(f"  {task['progress']:.0%} {harmless(task.get('note', ''))}".rstrip(), style="cyan")
    if task.get("started_ms"):
        end = task.get("finished_ms") or (now_ms if task["state"] == "running" else 0)
        if end:
            line.append(f"  {max(0, end - task['started_ms']) / 1000:.1f} s", style="dim")
    if task["state"] == "failed" and task.get("failure") and task["failure"].get("code") == "dependency_failed":
        line.append("  not begun: what it needs failed", style="dim")  # the cause stands where it failed
    elif task["state"] == "failed" and task.get("failure"):
        line.append(f"  {harmless(in_short(task['failure']['message']))}", style="red")
    return line


def _progress(workflow: dict[str, Any], now_ms: int) -> Table:
    counts: dict[str, int] = workflow["counts"]
    done = counts.get("succeeded", 0) + counts.get("failed", 0) + counts.get("cancelled", 0)
    total = max(1, sum(counts.values()))
    seconds = ((workflow.get("finished_ms") or now_ms) - workflow["created_ms"]) / 1000
    row = Table.grid(padding=(0, 1))
    row.add_row(
        ProgressBar(total=total, completed=done, width=40),
        Text(f"{done}/{total} tasks"),
        Text(f"{max(0.0, seconds):.1f} s", style="dim"),
        Text(workflow["state"], style=MARKS.get(workflow["state"], ("", "cyan"))[1]),
    )
    return row


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> "Listing":
    """Return a plain table of values as they are; None, and what a row lacks, is left blank."""
    shown = [["" if value is None else harmless(str(value)) for value in row] for row in rows]
    return Listing(title, columns, [row + [""] * (len(columns) - len(row)) for row in shown])


class Listing:
    """A table where every word has room in its column; else each row is a paragraph: its first value, and below it the others
    with their columns' names. Nothing is cut, since an id that is cut short can't be copied; in a pipe a row is a line."""

    def __init__(self, title: str, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        self._title, self._columns, self.rows = title, columns, rows

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        rows = self.rows if console.is_terminal else [[" ".join(cell.split("\n")) for cell in row] for row in self.rows]
        columns = [[name, *cells] for name, *cells in zip(self._columns, *rows, strict=True)]
        whole = [max(map(cell_len, cells)) for cells in columns]
        least = [max(cell_len(word) for cell in cells for word in (cell.split() or [""])) for cells in columns]
        gaps = len(GAP) * (len(columns) - 1)
        if not console.is_terminal or (
            sum(whole) + gaps <= options.max_width and not any("\n" in cell for row in rows for cell in row)
        ):
            yield from self._lines(rows, whole)
        elif sum(least) + gaps <= options.max_width:
            yield self._grid(rows)
        else:
            yield from self._paragraphs(rows)

    def _lines(self, rows: Sequence[Sequence[str]], widths: Sequence[int]) -> RenderResult:
        """Yield a line for each row. By our own hand: rich takes two milliseconds for each, and fleets have 30,000 agents."""
        if self._title:
            yield Text(self._title, style="bold")
        for row, style in ((self._columns, Style(dim=True)), *((row, None) for row in rows)):
            yield Segment(
                GAP.join(cell + " " * (width - cell_len(cell)) for cell, width in zip(row, widths, strict=True)).rstrip(), style
            )
            yield Segment.line()

    def _paragraphs(self, rows: Sequence[Sequence[str]]) -> RenderResult:
        if self._title:
            yield Text(self._title, style="bold")
        for first, *others in rows:
            yield Text(first, style="bold", overflow="fold")
            told = [f"{name}: {cell}" if name else cell for name, cell in zip(self._columns[1:], others, strict=True) if cell]
            yield Padding(Text("  ".join(told), overflow="fold"), (0, 0, 0, 2))

    def _grid(self, rows: Sequence[Sequence[str]]) -> Table:
        title = escape(self._title) or None
        shown = Table(title=title, title_justify="left", title_style="bold", box=None, header_style="dim", pad_edge=False)
        for place, column in enumerate(self._columns):
            shown.add_column(column, overflow="fold", no_wrap=not any(" " in row[place] for row in rows))
        for row in rows:
            shown.add_row(*map(escape, row))
        return shown
