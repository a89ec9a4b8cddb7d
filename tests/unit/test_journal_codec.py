"""The journal's entries, taken apart; and values that travel as blobs."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amas.model.blob import blob_bytes, to_blob, unwrap, wrap
from amas.model.journal import EntryKind, WorkflowChange, decode, failed_attempts, progress_notes, task_changes
from amas.model.states import TaskState, WorkflowState
from amas.model.task import Completion, FailedAttempt, Failure, Submission, SubmitOptions, TaskSpec

pack = msgspec.msgpack.encode
SPEC = TaskSpec(capability="work", input={"a": 1})
json = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


def entry(kind: str, **fields: bytes):
    return decode(b"5-1", {b"k": kind.encode(), b"t": b"42", **{name.encode(): value for name, value in fields.items()}})


def test_an_entry_without_anything() -> None:
    bare = entry("host")
    assert (bare.id, bare.kind, bare.at_ms, bare.host_id, bare.opened) == ("5-1", EntryKind.HOST, 42, "", None)
    assert list(task_changes(bare)) == list(failed_attempts(bare)) == progress_notes(bare) == []


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValueError, match="nonsense"):
        entry("nonsense")


def test_a_submission_comes_with_its_workflow_and_what_followed() -> None:
    batch = [Submission(name, "work", to_blob(SPEC), 2, SubmitOptions(needs=["x"])) for name in "abc"]
    found = entry("submit", b=pack(batch), x=pack([1]), fx=pack([["c", "waiting", None]]), w=pack(["w", "\x01", "a"]))
    changes = list(task_changes(found))
    assert [(change.task_id, change.state) for change in changes] == [("a", "queued"), ("c", "queued"), ("c", "waiting")]
    assert (changes[0].spec, changes[0].priority) == (SPEC, 2)
    assert found.opened is not None and (found.opened.id, found.opened.root_id) == ("w", "a")


def test_claims_and_completions() -> None:
    (claim,) = task_changes(entry("claim", h=b"h1", b=pack([["a", 3, "agent-1"]])))
    assert (claim.state, claim.attempt, claim.agent_id, claim.host_id) == (TaskState.RUNNING, 3, "agent-1", "h1")
    batch = [Completion("a", 3, to_blob({"r": 1})), Completion("b", 1, to_blob(2))]
    (done,) = task_changes(entry("complete", b=pack(batch), x=pack([1])))
    assert (done.task_id, done.state, done.attempt, done.result) == ("a", TaskState.SUCCEEDED, 3, pack({"r": 1}))


def test_failures_and_effects() -> None:
    why = Failure("boom", "it broke")
    batch = [FailedAttempt("a", 1, to_blob(why), 10), FailedAttempt("b", 2, to_blob(why), 10, True)]
    effects = [["a", "delayed", 1234], ["b", "failed", ["boom", "it broke", ""]], ["c", "cancelled", None]]
    found = entry("fail", b=pack(batch), fx=pack(effects), wf=pack([["w", "failed"]]))
    assert list(failed_attempts(found)) == [("a", 1, why), ("b", 2, why)]
    delayed, failed, cancelled = task_changes(found)
    assert (delayed.state, delayed.due_ms) == (TaskState.DELAYED, 1234)
    assert (failed.state, failed.failure) == (TaskState.FAILED, why)
    assert cancelled.state is TaskState.CANCELLED
    assert found.workflows == (WorkflowChange("w", WorkflowState.FAILED),)


@given(json)
def test_a_blob_brings_back_what_was_put_in(value: object) -> None:
    blob = to_blob(value)
    assert msgspec.msgpack.decode(unwrap(blob)) == value
    assert unwrap(blob) == pack(value)
    assert blob_bytes(blob) == len(pack(value))
    assert msgspec.msgpack.decode(unwrap(msgspec.msgpack.decode(pack([blob]), type=list[msgspec.Raw])[0])) == value


@given(st.binary(max_size=300))
def test_wrapped_bytes_stand_in_a_batch_as_they_are(encoded: bytes) -> None:
    (raw,) = msgspec.msgpack.decode(pack([wrap(encoded)]), type=list[msgspec.Raw])
    assert unwrap(raw) == encoded
