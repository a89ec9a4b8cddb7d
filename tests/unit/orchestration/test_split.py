from typing import Any

import msgspec
import pytest

from amas.core.quality import Redo
from amas.model.states import TaskState
from amas.model.task import Failure, TaskOutcome
from amas.orchestration.playbooks import Phase, Work
from amas.orchestration.split import FileEntry, Input, again, aggregate, merged, split, sub_tasks

FILES = [FileEntry(f"src/p{i}/m{j}.py", 1000, "python") for i in range(4) for j in range(5)]
FILES += [FileEntry("tests/test_a.py", 100, "python"), FileEntry("README.md", 10, "markdown")]
SOURCE = Input(
    ingest={
        "root": "/snap", "source": "/in", "test_paths": ["tests"], "project": {"name": "x"},
        "packages": [{"name": f"p{i}", "path": f"src/p{i}", "files": [f"src/p{i}/m{j}.py" for j in range(5)]} for i in range(4)],
    },
    files=FILES,
)  # fmt: skip


def phase(*work: Work, **more: Any) -> Phase:
    return Phase(key="review", lead="management.technical", title="Review", work=work, **more)


REVIEW = phase(Work(capability="dev.a"), Work(capability="dev.b"), Work(capability="dev.whole", fan_out="whole"))


def result(key: str, **more: Any) -> dict[str, Any]:
    capability, group = key.split("/")
    counts = {"error": 1, "warning": 2, "note": 0}
    return {"capability": capability, "group": group, "task_id": key, "covered": ["a.py"], "counts": counts, **more}


def succeeded(key: str, **more: Any) -> TaskOutcome:
    return TaskOutcome(id=key, state=TaskState.SUCCEEDED, result=result(key, **more))


@pytest.mark.parametrize("max_subtasks", [3, 4, 7, 50])
def test_every_file_falls_into_one_group_of_each_capability_within_the_limit(max_subtasks: int) -> None:
    portions, left_out = split(REVIEW, SOURCE, max_subtasks=max_subtasks)
    assert left_out == []
    assert len(portions) <= max_subtasks
    assert len({portion.key for portion in portions}) == len(portions)
    python = sorted(file.path for file in FILES if file.language == "python")
    for capability in ("dev.a", "dev.b", "dev.whole"):
        assert sorted(path for each in portions if each.share.capability == capability for path in each.paths) == python
    assert [each.share.group for each in portions if each.share.capability == "dev.whole"] == ["all"]


def test_more_capabilities_than_the_limit_leave_some_out_and_say_so() -> None:
    portions, left_out = split(REVIEW, SOURCE, max_subtasks=2)
    assert {each.share.capability for each in portions} == {"dev.a", "dev.b"}
    assert [(each.capability, each.reason) for each in left_out] == [
        ("dev.whole", "the limit of 2 sub-tasks (max_subtasks) leaves no room for it")
    ]


def test_packages_fan_out_and_the_rest_shares_one_specialist() -> None:
    api = phase(Work(capability="doc.api", fan_out="packages"))
    portions, _ = split(api, SOURCE, max_subtasks=10)
    assert [(each.share.group, len(each.paths)) for each in portions] == [("p0", 5), ("p1", 5), ("p2", 5), ("p3", 5)]
    portions, _ = split(api, SOURCE, max_subtasks=2)
    assert [(each.share.group, len(each.paths)) for each in portions] == [("p0", 5), ("rest", 15)]
    assert [package["name"] for package in portions[1].takes["packages"]] == ["p1", "p2", "p3"]


def test_specialists_get_what_the_playbook_says() -> None:
    work = (
        Work(capability="t.run", files="none", takes=("test_paths", "nothing"), covers=False, timeout_s=900),
        Work(capability="t.style", files="tests"),
        Work(capability="t.rank", files="all", covers=False, after=("t.style",)),
    )
    portions, _ = split(phase(*work, fan_out="whole"), SOURCE, max_subtasks=50)
    run, style, rank = sub_tasks(portions, SOURCE, priority=2, more={"earlier": [1]})
    assert run.input == {
        "root": "/snap", "source": "/in", "paths": [], "group": "all", "test_paths": ["tests"], "timeout_s": 900.0,
    }  # fmt: skip
    assert (run.timeout_s, run.priority, run.on_failure) == (960.0, 2, "skip")
    assert style.input["paths"] == ["tests/test_a.py"]
    assert (rank.needs, rank.input["earlier"]) == (("t.style/all",), [1])
    assert [each.share.paths for each in portions] == [(), ("tests/test_a.py",), ()]


def test_work_on_files_that_are_not_there_is_not_expected() -> None:
    nothing = Input(ingest={"test_paths": []}, files=FILES)
    assert split(phase(Work(capability="t.style", files="tests")), nothing, max_subtasks=9) == ([], [])


def test_a_failed_specialist_is_missing_and_the_rest_adds_up() -> None:
    portions, _ = split(REVIEW, SOURCE, max_subtasks=3)
    failed = TaskOutcome(id="x", state=TaskState.FAILED, failure=Failure("gave_up", "no ruff"))
    outcomes = {"dev.a/all": succeeded("dev.a/all"), "dev.b/all": failed}
    part = aggregate(REVIEW, portions, {key: outcomes.get(key, succeeded(key)) for key in (p.key for p in portions)})
    counted = len(part["specialists"])
    assert part["figures"]["errors"] == counted
    assert part["figures"]["findings"] == 3 * counted
    if counted < len(portions):
        assert [(each["capability"], each["reason"]) for each in part["missing"]] == [("dev.b", "no ruff")]
    assert (part["accepted"], part["part"], part["lead"]) == (False, "review", "management.technical")


def test_a_further_round_redoes_and_replaces_only_what_was_wrong() -> None:
    whole = msgspec.structs.replace(REVIEW, fan_out="whole")
    portions, _ = split(whole, SOURCE, max_subtasks=50)
    first = aggregate(whole, portions, {"dev.a/all": succeeded("dev.a/all"), "dev.b/all": succeeded("dev.b/all")})
    assert [each["capability"] for each in first["missing"]] == ["dev.whole"]
    todo = again(portions, [Redo("dev.whole", "all", (), "missing"), Redo("dev.a", "all", (), "wrong counts")])
    assert [each.key for each in todo] == ["dev.a/all", "dev.whole/all"]
    outcomes = {each.key: succeeded(each.key, task_id="second") for each in todo}
    part = merged(whole, first, aggregate(whole, todo, outcomes))
    assert part["missing"] == []
    assert {each["capability"]: each["task_id"] for each in part["specialists"]} == {
        "dev.a": "second", "dev.b": "dev.b/all", "dev.whole": "second",
    }  # fmt: skip


def test_a_further_round_has_what_the_work_needs_and_what_needs_the_work() -> None:
    chain = phase(
        Work(capability="r.read"), Work(capability="r.search", after=("r.read",)), Work(capability="r.apart"),
        Work(capability="r.extract", after=("r.search",)), fan_out="whole",
    )  # fmt: skip
    portions, _ = split(chain, SOURCE, max_subtasks=50)
    for wrong in ("r.read", "r.search", "r.extract"):
        todo = again(portions, [Redo(wrong, "all", (), "missing")])
        assert [each.share.capability for each in todo] == ["r.read", "r.search", "r.extract"]
    assert [each.share.capability for each in again(portions, [Redo("r.apart", "all", (), "missing")])] == ["r.apart"]
    assert again(portions, [Redo("r.gone", "all", (), "no room")]) == []


def test_test_outcomes_add_up() -> None:
    tests = phase(Work(capability="t.run", files="none"), fan_out="whole")
    portions, _ = split(tests, SOURCE, max_subtasks=5)
    part = aggregate(tests, portions, {"t.run/all": succeeded("t.run/all", outcomes={"passed": 3, "failed": 1})})
    assert (part["figures"]["tests_passed"], part["figures"]["tests_failed"]) == (3, 1)
