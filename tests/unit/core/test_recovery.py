"""What is decided about a lost engine's work: which journal to follow, in which order tasks go back, as what."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amas.core.recovery import JournalView, counts, in_order, lost_since, options_now
from amas.model.recovery import LostTask, Outline
from amas.model.states import TaskState

S = TaskState


def outline(task_id: str, state: TaskState = S.QUEUED, *, parent: str = "", **options: object) -> Outline:
    return Outline(id=task_id, state=state, workflow_id="w", parent_id=parent, options=options)


def lost(state: TaskState, *, attempt: int = 0, ready_ms: int = 0, **options: object) -> LostTask:
    return LostTask(
        outline=outline("t", state, **options),
        queue="work",
        spec=b"",
        priority=1,
        attempt=attempt,
        failures=0,
        created_ms=1000,
        ready_ms=ready_ms,
        started_ms=0,
        finished_ms=0,
        result=b"",
        failure=b"",
        steps=[],
        children=[],
    )


@pytest.mark.parametrize(
    ("recorded", "position", "found", "anew"),
    [
        ("a", (5, 0), JournalView("a", (1, 0), (9, 0)), None),
        ("a", (9, 0), JournalView("a", (1, 0), (9, 0)), None),
        ("a", (5, 0), JournalView("a", (7, 0), (9, 0)), None),  # trimmed behind a slow recorder
        ("a", (5, 0), JournalView("a", (0, 0), (0, 0)), None),  # trimmed to nothing
        ("a", (5, 0), JournalView("a", (1, 0), (4, 3)), (4, 3)),  # its last words are lost
        ("a", (5, 0), JournalView("b", (0, 0), (0, 0)), (0, 0)),  # another one, empty
        ("a", (5, 0), JournalView("b", (1, 0), (9, 0)), (0, 0)),  # another one, whose clock is behind
        ("", (5, 0), JournalView("a", (1, 0), (9, 0)), None),  # the one that was there before there were marks
        ("", (5, 0), JournalView("a", (6, 0), (9, 0)), (0, 0)),  # another one than before there were marks
        ("", (0, 0), JournalView("a", (0, 0), (0, 0)), None),  # the first start of all
    ],
)
def test_another_engine_is_told_from_one_that_goes_on(
    recorded: str, position: tuple[int, int], found: JournalView, anew: tuple[int, int] | None
) -> None:
    assert lost_since(recorded, position, found) == anew


graphs = st.lists(st.tuples(st.lists(st.integers(0, 19), max_size=4), st.none() | st.integers(0, 19)), min_size=1, max_size=20)


@given(graphs, st.randoms())
def test_tasks_come_after_their_needs_and_their_sub_tasks(graph: list[tuple[list[int], int | None]], rng: object) -> None:
    """Needs and sub-tasks have lower numbers, so there is no circle; the order in which they are given is any."""
    tasks = [
        outline(
            str(number),
            n=[str(need) for need in needs if need < number],
            parent=str(parent) if parent and parent > number else "",
        )
        for number, (needs, parent) in enumerate(graph)
    ]
    rng.shuffle(tasks)  # type: ignore[attr-defined]
    order = list(in_order({task.id: task for task in tasks}))
    assert sorted(order) == sorted(task.id for task in tasks)
    place = {task_id: number for number, task_id in enumerate(order)}
    for task in tasks:
        assert all(place[need] < place[task.id] for need in task.needs)
        assert task.parent_id not in place or place[task.id] < place[task.parent_id]


def test_a_long_chain_is_put_in_order() -> None:
    tasks = {str(n): outline(str(n), n=[str(n + 1)] if n < 100_000 else None) for n in range(100_001)}
    assert list(in_order(tasks))[:2] == ["100000", "99999"]


def test_a_workflow_counts_as_the_engine_does() -> None:
    tasks = [
        outline("a", S.SUCCEEDED),
        outline("b", S.FAILED),
        outline("c", S.FAILED, x="skip"),
        outline("d", S.FAILED, parent="a"),
        outline("e", S.CANCELLED),
        outline("f", S.WAITING),
    ]
    assert counts(tasks) == {"total": 6, "open": 1, "succeeded": 1, "failed": 3, "cancelled": 1, "bad": 1, "halted": 1}


@pytest.mark.parametrize(
    ("task", "options"),
    [
        (lost(S.WAITING, n=["a", "gone"], d=500, q=1), {"n": ["a"], "d": 500, "q": 1}),
        (lost(S.QUEUED, n=["a"], d=500, t="tenant"), {"t": "tenant"}),
        (lost(S.WAITING, attempt=2, n=["a"], w="w"), {"w": "w"}),  # suspended on sub-tasks
        (lost(S.DELAYED, ready_ms=5000, n=["a"], d=4000), {"d": 3000}),
        (lost(S.DELAYED, ready_ms=1500), {"d": 1}),  # due meanwhile
        (lost(S.QUEUED, e=2000), {"e": 1000}),
        (lost(S.QUEUED, e=500), {"e": 1}),
        (lost(S.QUEUED, unheard_of=[1]), {"unheard_of": [1]}),
    ],
)
def test_what_a_task_is_submitted_with_again(task: LostTask, options: dict[str, object]) -> None:
    assert options_now(task, known={"a"}, now_ms=2000) == options
