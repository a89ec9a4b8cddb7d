from amas.core.plan import problems
from amas.core.replan import again, applied, failed, fallen, first_wave, given_up
from amas.model.fleet import FleetLimits
from amas.model.goal import Complexity, Plan, PlanChange, SubTask
from amas.model.states import TaskState
from amas.model.task import Failure, TaskOutcome

TASKS = (
    SubTask(key="ingest", capability="in"),
    SubTask(key="review", capability="lead", needs=("ingest",), on_failure="skip"),
    SubTask(key="gate/review", capability="gate", needs=("ingest", "review")),
    SubTask(key="report", capability="write", needs=("ingest", "gate/review"), input={"notes": ["first"]}),
    SubTask(key="publish", capability="out", needs=("report",)),
)
PLAN = Plan(playbook="p", complexity=Complexity.SIMPLE, tasks=TASKS, deliverable="publish", joins=("report",), notes=("first",))
CAPABILITIES = {task.capability for task in TASKS} | {"write2"}


def done(key: str, result: object = None) -> TaskOutcome:
    return TaskOutcome(id=key, state=TaskState.SUCCEEDED, result=result)


def lost(key: str, code: str) -> TaskOutcome:
    return TaskOutcome(id=key, state=TaskState.FAILED, failure=Failure(code, "why"))


def gate(*, accepted: bool) -> TaskOutcome:
    return done("gate/review", {"accepted": accepted, "missing": [], "specialists": [], "judged_by": {}})


def keys(tasks: object) -> list[str]:
    return [task.key for task in tasks]  # type: ignore[attr-defined]


def test_what_puts_parts_together_waits_with_all_that_needs_it() -> None:
    assert keys(first_wave(PLAN)) == ["ingest", "review", "gate/review"]


def test_causes_are_told_from_what_they_took_down_and_from_what_no_plan_gets_round() -> None:
    outcomes = {"report": lost("report", "gave_up"), "publish": lost("publish", "dependency_failed")}
    assert keys(failed(PLAN, outcomes)) == ["report"]
    assert keys(fallen(PLAN, outcomes)) == ["publish"]
    assert failed(PLAN, {"report": lost("report", "budget_exhausted")}) == []
    assert failed(PLAN, {"review": lost("review", "gave_up")}) == []  # the gate decides about parts


def test_a_lead_s_part_isn_t_taken_for_a_gate_s() -> None:
    lead = done("review", {"accepted": False, "missing": [], "specialists": []})
    assert given_up(PLAN, {"review": lead, "gate/review": gate(accepted=True)}) == []
    assert keys(given_up(PLAN, {"gate/review": gate(accepted=False)})) == ["gate/review"]


def test_a_changed_plan_keeps_what_is_done_and_is_sound() -> None:
    outcomes = {"ingest": done("ingest"), "review": done("review"), "gate/review": gate(accepted=False)}
    change = again([TASKS[1], TASKS[2]], 1, {})
    assert keys(change.tasks) == ["replan-1/review", "replan-1/gate/review"]
    assert change.tasks[1].needs == ("ingest", "replan-1/review")
    made = applied(PLAN, PlanChange(tasks=change.tasks, instead=change.instead, notes=("second",)), done=outcomes.keys())
    assert keys(made.tasks) == ["ingest", "report", "publish", "replan-1/review", "replan-1/gate/review"]
    assert made.tasks[1].needs == ("ingest", "replan-1/gate/review")
    assert made.tasks[1].input == {"notes": ["first", "second"]}
    assert made.notes == ("first", "second")
    assert problems(made, capabilities=CAPABILITIES, limits=FleetLimits()) == []


def test_a_task_done_by_another_capability_takes_those_along_that_fell_with_it() -> None:
    change = again([TASKS[3], TASKS[4]], 2, {"report": "write2"})
    made = applied(PLAN, change, done={"ingest", "review", "gate/review", "report", "publish"})
    assert [(task.key, task.capability, task.needs) for task in made.tasks[-2:]] == [
        ("replan-2/report", "write2", ("ingest", "gate/review")),
        ("replan-2/publish", "out", ("replan-2/report",)),
    ]
    assert made.deliverable == "replan-2/publish"
    assert problems(made, capabilities=CAPABILITIES, limits=FleetLimits()) == []


def test_what_is_done_and_no_longer_needed_is_no_mistake() -> None:
    change = PlanChange(
        tasks=(SubTask(key="replan-1/all", capability="write2"),), gone=("report", "publish"), deliverable="replan-1/all"
    )
    made = applied(PLAN, change, done={"ingest", "review", "gate/review", "report", "publish"})
    assert problems(made, capabilities=CAPABILITIES, limits=FleetLimits()) == []
