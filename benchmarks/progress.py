"""What a run says while it goes on: one line on standard error, so that standard output holds results alone."""

from collections.abc import Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

_columns = (
    TextColumn("[bold]{task.fields[part]:12}"),
    BarColumn(30),
    MofNCompleteColumn(),
    TimeElapsedColumn(),
    TextColumn("{task.description}"),
)
_bar = Progress(*_columns, console=Console(stderr=True))


@contextmanager
def shown(parts: int) -> Iterator[None]:
    """Show how many of so many parts are done."""
    with _bar:
        _bar.add_task("", total=parts, part="")
        yield


def begin(part: str) -> None:
    """Say which part has begun."""
    for task_id in _bar.task_ids:
        _bar.update(task_id, part=part, description="")


def done() -> None:
    """Say that a part is done."""
    for task_id in _bar.task_ids:
        _bar.advance(task_id)


def say(text: str) -> None:
    """Say what is being done within the part."""
    for task_id in _bar.task_ids:
        _bar.update(task_id, description=text)
