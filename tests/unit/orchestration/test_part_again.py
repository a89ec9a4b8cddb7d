from typing import Any

import msgspec

from amas.core.quality import Redo
from amas.orchestration.part_again import Means, part_again, references, still_wanted
from amas.orchestration.playbooks import Phase, Work
from amas.orchestration.split import FileEntry, Input, Portion, part_of, split

FILES = tuple(FileEntry(f"pack/m{n}.py", 10, "python") for n in range(16))
SOURCE = Input(ingest={"packages": []}, files=FILES)
PATHS = tuple(file.path for file in FILES)
MEANS = Means(can={"a", "b", "c", "d"}, ways={}, max_subtasks=50)


def phase(*work: Work, **more: Any) -> Phase:
    return Phase(key="part", lead="lead", work=work, **more)


def result(capability: str, group: str = "pack", covered: tuple[str, ...] = PATHS) -> dict[str, Any]:
    return {"capability": capability, "group": group, "covered": list(covered), "x_ref": f"ref of {capability}"}


def lacks(capability: str, paths: tuple[str, ...] = PATHS, group: str = "pack") -> dict[str, Any]:
    redo: dict[str, Any] = msgspec.to_builtins(Redo(capability, group, paths, "it broke"))
    return redo


def shares(portions: list[Portion]) -> list[tuple[str, str, int]]:
    return [(each.share.capability, each.share.group, len(each.paths)) for each in portions]


def wanted(made: Any, *feedback: Redo) -> list[tuple[str, str, int]]:
    portions, _ = split(made.phase, SOURCE, max_subtasks=50)
    return shares(still_wanted(portions, made.kept, feedback))


def test_what_is_lost_goes_to_another_capability_and_the_rest_is_kept() -> None:
    given = phase(Work(capability="a"), Work(capability="b"))
    part = part_of(given, [result("b")], [lacks("a")])
    made = part_again(given, part, SOURCE, Means(MEANS.can, {"a": ("none", "b", "c")}, 50))
    assert wanted(made) == [("c", "pack", 16)]  # `none` isn't in this fleet, and `b` does its own work
    assert [each["capability"] for each in made.kept["specialists"]] == ["b"]
    assert made.kept["missing"] == []
    assert made.notes == ("planned again: part: a failed (it broke); c did it instead",)


def test_only_lost_files_are_done_in_smaller_portions() -> None:
    given = phase(Work(capability="a"), smaller=True)
    part = part_of(given, [result("a", covered=PATHS[2:])], [lacks("a", PATHS[:2])])
    made = part_again(given, part, SOURCE, MEANS)
    assert wanted(made) == [("a", "pack.1", 1), ("a", "pack.2", 1)]
    assert [each["group"] for each in made.kept["specialists"]] == ["pack"]
    everything = [path for portion in split(made.phase, SOURCE, max_subtasks=50)[0] for path in portion.paths]
    assert sorted(everything) == sorted(PATHS)


def test_a_part_with_no_other_way_is_left_out_and_stays_missing() -> None:
    given = phase(Work(capability="a"), Work(capability="b"))
    made = part_again(given, part_of(given, [result("b")], [lacks("a")]), SOURCE, MEANS)
    assert not made.changed
    assert made.notes == ("left out: part: a failed (it broke); there is no other way",)


def test_what_no_other_way_is_known_for_isn_t_tried_again_with_the_rest() -> None:
    given = phase(Work(capability="a"), Work(capability="b"))
    made = part_again(given, part_of(given, [], [lacks("a"), lacks("b")]), SOURCE, Means(MEANS.can, {"a": ("c",)}, 50))
    assert wanted(made) == [("c", "pack", 16)]
    assert [each["capability"] for each in made.kept["missing"]] == ["b"]
    assert wanted(made, Redo("b", "pack", PATHS, ""), Redo("c", "pack", PATHS, "")) == [("c", "pack", 16)]


def test_work_that_goes_after_what_changes_is_done_again_and_finds_what_was_kept() -> None:
    given = phase(Work(capability="a"), Work(capability="b"), Work(capability="d", after=("a", "b")))
    part = part_of(given, [result("a"), result("d")], [lacks("b")])
    made = part_again(given, part, SOURCE, Means(MEANS.can, {"b": ("c",)}, 50))
    assert made.phase.work[-1].after == ("a", "c")
    assert [each[:2] for each in wanted(made)] == [("c", "pack"), ("d", "pack")]
    assert references(made.kept["specialists"]) == [{"capability": "a", "group": "pack", "x_ref": "ref of a"}]


def test_a_result_that_was_found_wrong_isn_t_kept() -> None:
    given = phase(Work(capability="a"), smaller=True)
    part = part_of(given, [result("a")], [lacks("a")])
    made = part_again(given, part, SOURCE, MEANS)
    assert made.kept["specialists"] == []
    assert len(wanted(made)) == 8
