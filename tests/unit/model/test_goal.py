"""What a sub-task is, whoever makes it."""

import msgspec

from amas import SubTask
from amas.model.goal import TITLE_CHARS_MAX


def test_a_title_is_bounded_however_a_sub_task_is_made() -> None:
    short = SubTask(key="one", capability="text.greet", title="x" * TITLE_CHARS_MAX)
    assert short.title == "x" * TITLE_CHARS_MAX
    made = SubTask(key="one", capability="text.greet", title="y" * 1_000_000)
    read = msgspec.convert({"key": "one", "capability": "text.greet", "title": "y" * 1_000_000}, SubTask)
    for each in (made, read, msgspec.structs.replace(short, title="y" * 1_000_000)):
        assert each.title == "y" * (TITLE_CHARS_MAX - 1) + "…"
