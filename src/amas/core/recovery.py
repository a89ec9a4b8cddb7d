"""Decides how a lost engine's work is put into a new one: which journal the records follow, in which order tasks go, as what.

Pure. `controllers/recover.py` carries it out.
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from amas.model.journal import Position
from amas.model.recovery import LostTask, LostWorkflow, Outline
from amas.model.states import TaskState

BEGIN: Position = (0, 0)


class JournalView(NamedTuple):
    """A journal as it is found."""

    mark: str
    """Of the engine's data."""
    first: Position
    last: Position
    """`BEGIN` while there are no entries, as for `first`."""


def lost_since(recorded: str, position: Position, found: JournalView) -> Position | None:
    """Return where the recorder must begin anew because the engine lost what was recorded; None where it can go on.

    `recorded` is the mark of the engine that the records follow, empty before they knew of marks. Another mark is another
    engine: its journal is recorded from its beginning, whatever its clock says. The same mark with a journal that ends before
    the position is an engine that lost its last words, such as a replica that took over: the recorder steps back.
    """
    if recorded and recorded != found.mark:
        return BEGIN
    if not recorded and not (found.first <= position <= found.last):
        return BEGIN
    if BEGIN < found.last < position:
        return found.last
    return None


def in_order(tasks: Mapping[str, Outline]) -> Iterator[str]:
    """Yield the ids of open tasks, each after those among them that it needs, and after its own sub-tasks.

    So whatever begins to run while the rest is on its way finds what it looks for. No recursion: a chain may be 100,000 long.
    """
    before = {task_id: [need for need in task.needs if need in tasks] for task_id, task in tasks.items()}
    for task in tasks.values():
        if task.parent_id in before:
            before[task.parent_id].append(task.id)
    seen: set[str] = set()
    told: set[str] = set()
    for first in tasks:
        stack = [first]
        while stack:
            task_id = stack[-1]
            if task_id not in seen:
                seen.add(task_id)
                stack += [other for other in before[task_id] if other not in seen]
                continue
            stack.pop()
            if task_id not in told:
                told.add(task_id)
                yield task_id


def by_turn(workflows: Iterable[LostWorkflow]) -> list[LostWorkflow]:
    """Return workflows as they are to be let in: those that were in, then those that waited, each oldest first."""
    return sorted(workflows, key=lambda one: (one.waiting, one.created_ms, one.id))


def counts(tasks: Iterable[Outline]) -> dict[str, int]:
    """Return the counters of a workflow with these tasks, as the engine keeps them."""
    found = dict.fromkeys(("total", "open", "succeeded", "failed", "cancelled", "bad", "halted"), 0)
    for task in tasks:
        found["total"] += 1
        found[task.state.value if task.state.terminal else "open"] += 1
        if not task.parent_id:
            found["bad"] += task.state is TaskState.FAILED and task.options.get("x") != "skip"
            found["halted"] += task.state is TaskState.CANCELLED
    return found


def options_now(task: LostTask, *, known: frozenset[str] | set[str], now_ms: int) -> dict[str, Any]:
    """Return the options with which an open task is submitted again.

    One that waited for its needs waits for them still; one that was suspended on sub-tasks is queued, finds them, and waits for
    them again. `known` has the ids that the engine will know: a need that nobody remembers isn't waited for.
    """
    options = dict(task.outline.options)
    state, waits = task.outline.state, task.outline.state is TaskState.WAITING and task.attempt == 0
    needs = [need for need in options.pop("n", None) or () if waits and need in known]
    if needs:
        options["n"] = needs
    if not waits:
        options.pop("d", None)
    if state is TaskState.DELAYED:
        options["d"] = max(1, task.ready_ms - now_ms)
    if expires_ms := options.get("e"):
        options["e"] = max(1, task.created_ms + expires_ms - now_ms)
    return options
