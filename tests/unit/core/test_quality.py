from typing import Any

import pytest

from amas.core.quality import Material, Share, Verdict, score_part

FINDING = {"rule": "F401", "path": "a.py", "line": 3, "severity": "error"}


def result(**more: Any) -> dict[str, Any]:
    return {
        "capability": "dev.review", "group": "all", "task_id": "t", "covered": ["a.py", "b.py"], "failed": [],
        "findings_ref": "f", "counts": {"error": 1, "warning": 0, "note": 0}, "figures": {}, "tool": {}, **more,
    }  # fmt: skip


def judged(*results: dict[str, Any], artifacts: dict[str, Any] | None = None, **more: Any) -> Verdict:
    return score_part(
        Material(
            shares=more.pop("shares", [Share("dev.review", "all", ("a.py", "b.py"))]),
            results=results,
            file_lines={"a.py": 10, "b.py": 0},
            artifacts={"f": [FINDING]} if artifacts is None else artifacts,
            **more,
        )
    )


def test_a_whole_part_scores_one() -> None:
    verdict = judged(result())
    assert (verdict.score, verdict.redo) == (1.0, ())
    assert [check.name for check in verdict.checks] == [
        "capabilities", "completeness", "shape", "evidence", "counts", "test outcomes",
    ]  # fmt: skip


def test_an_absent_specialist_is_asked_for_again() -> None:
    verdict = judged(result(), shares=[Share("dev.review", "all", ("a.py", "b.py")), Share("dev.style", "all", ("a.py", "b.py"))])
    assert verdict.score == 0.5
    assert [(redo.capability, redo.paths, redo.reason) for redo in verdict.redo] == [
        ("dev.style", ("a.py", "b.py"), "there is no result")
    ]


def test_uncovered_files_cost_completeness_and_broken_ones_do_not() -> None:
    lacking = result(covered=["a.py"], failed=[{"path": "b.py", "reason": "syntax"}])
    assert judged(lacking).score == 0.5
    assert judged(lacking).redo[0].paths == ("b.py",)
    assert judged(lacking, broken=frozenset({"b.py"})).score == 1.0


@pytest.mark.parametrize(
    ("check", "given", "artifacts"),
    [
        ("evidence", {}, {"f": [FINDING | {"path": "ghost.py"}]}),
        ("evidence", {}, {"f": [FINDING | {"line": 12}]}),
        ("evidence", {}, {"f": [FINDING | {"line": -1}]}),
        ("counts", {"counts": {"error": 2}}, None),
        ("counts", {"findings_ref": "gone"}, None),
        ("shape", {"tool": "ruff"}, None),
        ("test outcomes", {"outcomes": {"passed": 2}, "tests_ref": "t", "ended": "finished"}, {"f": [FINDING], "t": [{}]}),
        ("test outcomes", {"outcomes": {"passed": 1}, "tests_ref": "t"}, {"f": [FINDING], "t": [{}]}),
        ("test outcomes", {"outcomes": {"passed": 1}, "tests_ref": "gone", "ended": "finished"}, None),
    ],
)
def test_a_false_claim_is_found_and_sent_back(check: str, given: dict[str, Any], artifacts: dict[str, Any] | None) -> None:
    verdict = judged(result(**given), artifacts=artifacts)
    bad = [each for each in verdict.checks if each.score < 1]
    assert [each.name for each in bad] == [check]
    assert bad[0].note
    assert verdict.score == 0.0
    assert [redo.capability for redo in verdict.redo] == ["dev.review"]


def test_a_finding_about_the_whole_input_is_evidence_and_one_that_names_a_line_of_nothing_is_none() -> None:
    assert judged(result(), artifacts={"f": [FINDING | {"path": "", "line": 0}]}).score == 1.0
    assert judged(result(), artifacts={"f": [FINDING | {"path": "", "line": 3}]}).score < 1.0


def test_a_finding_about_the_whole_file_or_just_past_its_end_is_evidence() -> None:
    listed = [FINDING | {"line": 0}, FINDING | {"line": 11}, FINDING | {"path": "b.py", "line": 1}]
    assert judged(result(counts={"error": 3}), artifacts={"f": listed}).score == 1.0
