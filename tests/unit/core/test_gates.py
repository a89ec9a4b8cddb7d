"""Which gate holds, and what becomes of work that was judged."""

from pathlib import Path

import pytest

from amas.core.flow import sub_tasks
from amas.core.flow_check import problems
from amas.core.gates import Move, Opinion, fleet_gate, mistakes, next_move, resolved, score_of
from amas.errors import FleetFileInvalid
from amas.fleet.load import load_fleet
from amas.model.fleet import FleetLimits
from amas.model.flow import GATE_CAPABILITY, Flow, FlowTask
from amas.model.gate import GateSpec, PersonSpec
from amas.orchestration.playbooks import load_playbook

FLEET = """
name: small
gate: {threshold: 0.9, rounds: 3, judges: [rules]}
pools:
  - {name: writer, agent: "a:b", capabilities: [text.write], layer: executive}
"""


@pytest.mark.requirement("A4")
@pytest.mark.parametrize(
    ("score", "round_number", "redo", "move"),
    [
        (0.85, 0, 1, "accept"),
        (0.84, 0, 1, "same"),
        (0.84, 1, 1, "another"),
        (0.84, 2, 1, "up"),
        (0.0, 0, 0, "up"),
    ],
)
def test_work_goes_back_then_to_others_then_up(score: float, round_number: int, redo: int, move: str) -> None:
    assert next_move(score, resolved(), round_number=round_number, redo=redo) == move


def test_work_that_a_person_refused_does_not_go_up_to_one() -> None:
    assert next_move(0.1, resolved(), round_number=2, redo=1, can_go_up=False) is Move.PASS_ON


def test_the_most_special_declaration_wins_field_by_field() -> None:
    fleet = fleet_gate(FleetLimits(quality_threshold=0.7, quality_rounds=4, gate=GateSpec(threshold=0.8)))
    gate = resolved(fleet, GateSpec(threshold=0.9, rubric={"a": "b"}), GateSpec(rounds=1), GateSpec(judges=("model",)))
    assert (gate.threshold, gate.rounds, gate.judges, gate.rubric) == (0.9, 1, ("model",), {"a": "b"})
    assert (resolved(fleet).threshold, resolved(fleet).rounds, resolved(fleet).judges) == (0.8, 4, ("rules",))


def test_who_judges_follows_from_what_is_declared() -> None:
    assert resolved(GateSpec(scorer="a:b", rubric={"a": "b"})).judges == ("rules", "scorer", "model")
    assert resolved(GateSpec(judges=("person",))).person == PersonSpec()


def test_a_score_is_the_lowest_of_those_who_could_answer() -> None:
    opinions = [Opinion(judge="rules", score=0.9), Opinion(judge="model", score=None), Opinion(judge="person", score=0.7)]
    assert score_of(opinions) == 0.7
    assert score_of(opinions[1:2]) == 0.0


@pytest.mark.parametrize(
    ("spec", "field", "words"),
    [
        (GateSpec(threshold=1.2), "threshold", "from 0 to 1"),
        (GateSpec(rounds=11), "rounds", "from 0 to 10"),
        (GateSpec(judges=()), "judges", "at least one"),
        (GateSpec(judges=("rules", "rules")), "judges[1]", "twice"),
        (GateSpec(scorer="score"), "scorer", "module:function"),
        (GateSpec(rubric={}), "rubric", "is empty"),
        (GateSpec(model_url="http://x/v1"), "model_url", "without a model"),
        (GateSpec(person=PersonSpec(expires_s=0)), "person.expires_s", "seconds"),
        (GateSpec(tokens_max=1), "tokens_max", "from 16"),
    ],
)
def test_what_is_wrong_with_a_gate_is_told_with_its_field(spec: GateSpec, field: str, words: str) -> None:
    ((found, message),) = mistakes(spec)
    assert found == field
    assert words in message


def test_a_fleets_gate_is_read_and_its_mistakes_have_a_line(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(FLEET)
    assert load_fleet(path, environ={}).limits.gate == GateSpec(threshold=0.9, rounds=3, judges=("rules",))
    for wrong, field in (
        ("threshold: 9", "gate.threshold"),
        ("judges: [rulez]", "gate.judges[0]"),
        ("thresold: 1", "gate.thresold"),
    ):
        path.write_text(FLEET.replace("threshold: 0.9, rounds: 3, judges: [rules]", wrong))
        with pytest.raises(FleetFileInvalid) as refused:
            load_fleet(path, environ={})
        assert (refused.value.line, refused.value.field) == (3, field)


def test_a_phases_gate_is_read_and_its_mistakes_have_a_line(tmp_path: Path) -> None:
    shipped = Path(__file__).parents[3] / "playbooks" / "research.yaml"
    text = shipped.read_text()
    path = tmp_path / "book.yaml"
    at = text.index("    lead: ")
    path.write_text(text[:at] + "    gate: {rounds: 1}\n" + text[at:])
    assert load_playbook(path).phases[0].gate == GateSpec(rounds=1)
    path.write_text(text[:at] + "    gate: {rounds: -1}\n" + text[at:])
    with pytest.raises(FleetFileInvalid) as refused:
        load_playbook(path)
    assert refused.value.field == "phases[0].gate.rounds"
    assert refused.value.line == text[:at].count("\n") + 1


def test_a_tasks_gate_stands_in_its_place() -> None:
    task = FlowTask(key="b", capability="text.write", needs=("a",), when="needs.a", gate=GateSpec(rounds=1), timeout_s=7)
    flow = Flow(name="f", tasks=(FlowTask(key="a", capability="text.write"), task))
    assert list(problems(flow)) == []
    _, gate = sub_tasks(flow)
    assert (gate.capability, gate.key, gate.needs, gate.when) == (GATE_CAPABILITY, "b", ("a",), "needs.a")
    inner = gate.input["task"]
    assert (inner["capability"], inner["timeout_s"], inner["inherits_needs"], inner["needs"]) == ("text.write", 7.0, True, ())


def test_a_gate_stands_on_a_task_with_a_capability_alone() -> None:
    flow = Flow(name="f", tasks=(FlowTask(key="a", timer_s=1, gate=GateSpec(rounds=99)),))
    fields = [found.field for found in problems(flow)]
    assert "tasks[0].gate.rounds" in fields
    assert "tasks[0].gate" in fields
