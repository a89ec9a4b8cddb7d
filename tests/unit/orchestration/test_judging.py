"""The gate's and the approver's own decisions, over a real artifact store."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from amas.artifacts.store import ArtifactStore
from amas.core.quality import Redo, Verdict
from amas.model.task import Failure
from amas.orchestration.approval import Delivery, checks_of, signed
from amas.orchestration.gate import absent_part, judge, passed_on, rework
from amas.orchestration.leads import PartOrder, earlier_references, input_of, slim, whole
from amas.orchestration.playbooks import Phase, Work
from amas.orchestration.split import PART_BYTES_MAX, merged, part_of, split

PHASE = Phase(key="review", lead="management.technical", fan_out="whole", title="Review", work=(Work(capability="dev.a"),))
ORDER = PartOrder(part="review", phase=PHASE)
FINDING = {"rule": "F401", "message": "unused", "path": "a.py", "line": 1, "column": 1, "severity": "error"}


def ingest(store: ArtifactStore) -> dict[str, Any]:
    files = [{"path": "a.py", "bytes": 9, "lines": 2, "language": "python"}]
    return {"root": "/snap", "files_ref": store.put_json(files), "broken": [], "packages": []}


def result(store: ArtifactStore, **more: Any) -> dict[str, Any]:
    return {
        "capability": "dev.a", "group": "all", "task_id": "t1", "covered": ["a.py"], "failed": [],
        "findings_ref": store.put_json([FINDING]), "counts": {"error": 1, "warning": 0, "note": 0}, "figures": {},
        "tool": {}, **more,
    }  # fmt: skip


def test_a_good_part_is_accepted(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    source = input_of(ORDER, {"ingest": ingest(store)}, store)
    part = part_of(PHASE, [result(store)], [])
    verdict = judge(ORDER, part, source, store)
    handed = passed_on(part, verdict, accepted=True, rounds=0)
    assert (handed["score"], handed["accepted"], handed["missing"]) == (1.0, True, [])
    assert handed["figures"]["errors"] == 1


def test_a_lead_that_failed_leaves_a_part_that_says_so_and_can_still_be_made(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    source = input_of(ORDER, {"ingest": ingest(store)}, store)
    portions, _ = split(PHASE, source, max_subtasks=50)
    part = absent_part(PHASE, portions, Failure("task_failed", "out of memory"))
    verdict = judge(ORDER, part, source, store)
    assert verdict.score == 0.0
    handed = passed_on(part, verdict, accepted=False, rounds=2)
    assert [each["reason"] for each in handed["missing"]] == ["its lead failed: out of memory"]
    assert judge(ORDER, merged(PHASE, part, part_of(PHASE, [result(store)], [])), source, store).score == 1.0


def test_what_is_left_out_for_the_limit_costs_the_part_its_score(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    two = msgspec.structs.replace(PHASE, work=(Work(capability="dev.a"), Work(capability="dev.b")))
    order = PartOrder(part="review", phase=two, limits=msgspec.structs.replace(ORDER.limits, max_subtasks=1))
    source = input_of(order, {"ingest": ingest(store)}, store)
    assert judge(order, part_of(two, [result(store)], []), source, store).score == 0.5


def test_the_rework_order_carries_the_feedback_and_reads_back() -> None:
    redo = (Redo("dev.a", "all", ("a.py",), "wrong"),)
    task = rework(ORDER, redo, number=1, context_ref="sha256:0")
    assert (task.key, task.capability) == ("rework-1/review", "management.technical")
    assert msgspec.convert(task.input, PartOrder).feedback == redo


def test_a_large_part_moves_its_lists_and_gets_them_back(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    covered = [f"folder/with/a/long/name/{i:06}.py" for i in range(PART_BYTES_MAX // 30)]
    part = part_of(PHASE, [result(store, covered=covered)], [])
    small = slim(part, store)
    assert len(msgspec.json.encode(small)) < PART_BYTES_MAX / 10
    assert whole(small, store)["specialists"][0]["covered"] == covered


def test_later_parts_learn_where_earlier_findings_are(tmp_path: Path) -> None:
    part = part_of(PHASE, [result(ArtifactStore(tmp_path))], [])
    found = earlier_references({"ingest": {"files_ref": "x"}, "gate/review": part}, "ingest")
    assert [each["capability"] for each in found["earlier"]] == ["dev.a"]


def judged_part(**more: Any) -> dict[str, Any]:
    specialists = [{"outcomes": {"passed": 2}}]
    verdict = Verdict(0.9, (), ())
    return {**passed_on(part_of(PHASE, specialists, []), verdict, accepted=True, rounds=1), **more}  # type: ignore[arg-type]


def delivery(**more: Any) -> Delivery:
    given: dict[str, Any] = {
        "parts": {"review": judged_part()},
        "named": ("report.md",),
        "present": frozenset({"report.md"}),
        "report": {"parts": [{"part": "review", "accepted": True, "score": 0.9, "rounds": 1}]},
        "findings": 3,
        "places": 3,
        "tests": 2,
    }
    return Delivery(**(given | more))


def test_a_true_report_is_signed() -> None:
    checks = checks_of(delivery())
    assert {check.name: check.score for check in checks} == {"files": 1, "parts": 1, "verdicts": 1, "findings": 1, "tests": 1}
    done = signed({"folder": "/f", "files": ["report.md"]}, {"review": judged_part()}, checks, signed_by="quality-1")
    assert (done["approved"], done["score"], done["signed_by"], done["folder"]) == (True, 0.9, "quality-1", "/f")


def test_a_report_that_says_something_else_is_not() -> None:
    def failing(**more: Any) -> list[str]:
        return [check.name for check in checks_of(delivery(**more)) if check.score < 1]

    assert failing(present=frozenset()) == ["files"]
    assert failing(report={"parts": []}) == ["parts"]
    assert failing(report={"parts": [{"part": "review", "accepted": True, "score": 1.0, "rounds": 1}]}) == ["verdicts"]
    assert failing(findings=2) == ["findings"]
    assert failing(tests=0) == ["tests"]
    done = signed({}, {"review": judged_part()}, checks_of(delivery(findings=-1)), signed_by="q")
    assert (done["approved"], done["score"]) == (False, 0.0)


@pytest.mark.parametrize("quote", ["tin fell", "", "Tin rose"])
def test_a_claim_that_its_passage_does_not_bear_out_goes_back(tmp_path: Path, quote: str) -> None:
    store = ArtifactStore(tmp_path)
    source = input_of(ORDER, {"ingest": ingest(store)}, store)
    claims = store.put_json([{"text": "Tin rose.", "citations": [{"id": "a.py#1", "quote": quote}]}])
    passages = store.put_json([{"id": "a.py#1", "text": "In spring  Tin\nrose again."}])
    verdict = judge(ORDER, part_of(PHASE, [result(store, claims_ref=claims, passages_ref=passages)], []), source, store)
    true = quote == "Tin rose"
    assert verdict.score == (1.0 if true else 0.0)
    assert [redo.capability for redo in verdict.redo] == ([] if true else ["dev.a"])


def test_a_report_that_says_more_than_its_sources_is_not_sound() -> None:
    def delivery(*sources: int) -> Delivery:
        return Delivery(
            parts={}, named=("report.json",), present=frozenset({"report.json"}), findings=0, places=0, tests=0,
            report={"claims": [{"text": "Tin rose.", "sources": list(sources)}]},
            sources={1: {"id": "a.md#1", "quote": "Tin rose"}, 2: {"id": "a.md#1", "quote": "Tin fell"}},
            passages={"a.md#1": "In spring Tin rose."},
        )  # fmt: skip

    scores = [{check.name: check.score for check in checks_of(delivery(*each))}["citations"] for each in ((1,), (2,), (3,), ())]
    assert scores == [1.0, 0.0, 0.0, 0.0]
