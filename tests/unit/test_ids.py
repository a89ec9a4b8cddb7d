"""Ids that carry their time, the function library's text, and the table of states."""

from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from amas.clock import child_id, monotonic_s, new_id, new_ids, now_ms
from amas.engine import library
from amas.model.states import TERMINAL, TRANSITIONS, TaskState, Transition


def test_a_new_id_is_a_uuid7_of_its_time() -> None:
    before = now_ms()
    ids = [new_id() for _ in range(500)] + new_ids(499) + new_ids(1)
    after = now_ms()
    assert len(set(ids)) == 1000
    assert new_ids(0) == []
    for text in ids:
        value = UUID(text)
        assert str(value) == text
        assert (value.version, value.variant) == (7, "specified in RFC 4122")
        assert before <= value.int >> 80 <= after
    assert [text[:13] for text in ids] == sorted(text[:13] for text in ids)
    assert monotonic_s() <= monotonic_s()


@given(st.text(), st.text())
def test_a_childs_id_depends_on_its_parent_and_key_alone(one: str, two: str) -> None:
    parent = "01890a5d-ac96-774b-bcce-b302099a8057"
    child = UUID(child_id(parent, one))
    assert str(child) == child_id(parent, one)
    assert (child.version, child.int >> 80) == (7, UUID(parent).int >> 80)
    assert (child_id(parent, one) == child_id(parent, two)) is (one == two)
    assert child_id(str(child), one) != str(child)


def test_the_library_knows_its_digest() -> None:
    text = library.source()
    assert text.startswith("#!lua name=amas1\n")
    assert f"return '{library.digest()}'" in text
    assert len(library.digest()) == 64
    for function in ("submit", "claim", "complete", "fail", "suspend", "reap"):
        assert f"redis.register_function('amas1_{function}'" in text


def test_nothing_but_a_re_run_follows_an_end_and_everything_else_can_be_cancelled() -> None:
    sources = {state for state, transition in TRANSITIONS if transition not in {Transition.RERUN, Transition.RESET}}
    assert sources == set(TaskState) - TERMINAL
    assert {state for state, transition in TRANSITIONS if transition is Transition.CANCEL} == sources
    assert {transition for _, transition in TRANSITIONS} == set(Transition)
    assert set(TRANSITIONS.values()) == set(TaskState)
    assert all(state.terminal is (state in TERMINAL) for state in TaskState)
