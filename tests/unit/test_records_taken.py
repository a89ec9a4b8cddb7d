"""What the recorder decodes of a submission."""

import msgspec

from amas.engine.queue import make_submission
from amas.model.journal import EntryKind, JournalEntry
from amas.model.task import Submission, SubmitOptions, TaskSpec
from amas.records.taken import Brief, Submitted, brief, take_apart


def test_a_brief_is_the_beginning_of_a_specification() -> None:
    whole = [field.name for field in msgspec.structs.fields(TaskSpec)]
    assert [field.name for field in msgspec.structs.fields(Brief)] == whole[: len(msgspec.structs.fields(Brief))]
    assert [field.name for field in msgspec.structs.fields(Submitted)] == [
        field.name for field in msgspec.structs.fields(Submission)
    ]
    spec = TaskSpec(
        capability="work", input={"x": [1]}, key="k", title="T", layer="l", needs=("a",), workflow_id="w", parent_id="p"
    )
    found = brief(msgspec.msgpack.encode(spec))
    for name in ("capability", "key", "title", "layer", "needs", "workflow_id", "parent_id"):
        assert getattr(found, name) == getattr(spec, name)


def test_options_are_kept_as_they_came_and_refused_ones_left_out() -> None:
    batch = [make_submission(name, TaskSpec(capability="work"), pool="p", delay_s=2) for name in ("a", "b")]
    entry = JournalEntry(id="5-1", kind=EntryKind.SUBMIT, at_ms=5, batch=msgspec.msgpack.encode(batch), refused=frozenset({0}))
    (kept,) = take_apart(entry).submitted
    assert (kept.id, kept.queue) == ("b", "@p")
    assert msgspec.msgpack.decode(kept.options, type=SubmitOptions) == batch[1].options
