"""The whole hierarchy on a real host, with one specialist that doesn't do its work: the gate sends its part back, boundedly."""

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from canned_model import model_server
from host_bench import Bench

import amas.agents.model_judge  # noqa: F401  here, since it takes seconds on a busy machine
from amas.core.gates import Move, Quality
from amas.fleet.load import load_fleet
from amas.model.gate import GateSpec
from amas.platforms.local.home import Home
from amas.platforms.local.host import fleet_facts
from amas.policy.deliveries import look

from .conftest import deliver, review

FILES = 8
"""Two of them left out make 0.75, below the threshold of 0.85."""


SECRET = "a-secret-of-the-fleet"


async def reviewed(
    bench: Bench, project: Path, reviewer: str, *, replicas: int = 1, gate: GateSpec | None = None
) -> dict[str, Any]:
    """Have the project's security reviewed by a fleet whose security reviewer is a sample, and return the deliverable."""
    fleet = load_fleet("amas", environ={})
    limits = msgspec.structs.replace(fleet.limits, gate=gate or GateSpec())
    spec = fleet_facts(msgspec.structs.replace(fleet, limits=limits), Home(bench.folder / "home"))
    pools = [
        msgspec.structs.replace(
            pool,
            agent=f"careless:{reviewer}",
            options={"asked": str(bench.folder / "asked")},
            tasks_per_agent=1,
            replicas=replicas,
        )
        if "development.security" in pool.capabilities
        else pool
        for pool in spec.pools
    ]
    return await deliver(bench, "Check the security of the code", project, pools, spec.limits)


@pytest.mark.requirement("A2", "A4")
async def test_a_part_below_the_threshold_goes_back_and_is_accepted_once_mended(bench: Bench, project: Path) -> None:
    deliverable = await reviewed(bench, project, "careless")
    assert deliverable["approved"]
    part = review(bench)
    assert (part["accepted"], part["rounds"]) == (True, 1)
    findings = json.loads((bench.folder / "out" / "findings.json").read_text())
    assert {Path(finding["path"]).name for finding in findings if finding["rule"] == "S307"} == {f"m{n}.py" for n in range(FILES)}


@pytest.mark.requirement("A2", "A4")
async def test_a_part_that_is_never_mended_goes_up_marked_after_its_rounds(bench: Bench, project: Path) -> None:
    await reviewed(bench, project, "hopeless")
    part = review(bench)
    assert (part["accepted"], part["rounds"]) == (False, 2)
    assert part["score"] < 0.85


async def test_a_part_goes_to_the_same_specialist_then_to_another_and_the_delivery_is_signed(bench: Bench, project: Path) -> None:
    bench.secret = SECRET
    deliverable = await reviewed(bench, project, "hopeless", replicas=2)
    record = look(bench.folder / "out", SECRET)
    assert record.sound
    assert record.delivered.signed_by == deliverable["signed_by"]
    quality = msgspec.convert(record.delivered.quality["review"], Quality)
    assert [each.move for each in quality.rounds] == [Move.SAME, Move.ANOTHER, Move.UP]
    first, second, third = ({key: by for key, by in each.pieces.items() if "security" in key} for each in quality.rounds)
    assert first == second, (first, second, third)
    sent_back = [f"{redo.capability}/{redo.group}" for said in quality.rounds[1].opinions for redo in said.redo]
    assert sent_back
    assert all(third[key] != second[key] for key in sent_back), (second, third, sent_back)
    (rules,) = quality.rounds[0].opinions
    assert "files were not covered" in rules.feedback[0]
    (bench.folder / "out" / "report.md").write_text("All is well.")
    found = look(bench.folder / "out", SECRET)
    assert (found.sound, found.changed) == (False, ("report.md",))


@pytest.mark.requirement("A4")
async def test_a_model_judges_a_part_and_its_words_reach_the_specialist(bench: Bench, project: Path) -> None:
    def said(score: float, *again: str) -> str:
        return json.dumps({"criteria": [{"name": "useful", "score": score, "reason": "so"}], "again": again})

    with model_server(said(0.2, "development.security: look at m3 again"), said(1.0)) as server:
        gate = GateSpec(
            judges=("rules", "model"), rubric={"useful": "a reader can act on it"}, model="judge", model_url=server.url
        )
        await reviewed(bench, project, "obedient", gate=gate)
    quality = msgspec.convert(look(bench.folder / "out", "").delivered.quality["review"], Quality)
    assert [each.score for each in quality.rounds] == [0.2, 1.0]
    assert quality.accepted
    assert (bench.folder / "asked").read_text() == "development.security: look at m3 again\n"
    assert "Check the security of the code" in json.dumps(server.asked[0]["messages"])
    assert review(bench)["rounds"] == 1
