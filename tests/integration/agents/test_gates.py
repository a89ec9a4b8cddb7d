"""Gates of tasks on real hosts and a real engine; models are servers on loopback."""

import json
from collections.abc import Sequence
from typing import Any

import pytest
from canned_model import ModelServer, model_server
from host_bench import Bench

import amas.agents.model_judge  # noqa: F401  here, since it takes seconds on a busy machine
from amas.clock import new_id
from amas.core.flow import gated
from amas.engine.graph import Owner, submission_of
from amas.engine.limits import Limits
from amas.engine.signals import Approval, open_approvals
from amas.engine.workflows import Workflows
from amas.model.blob import to_blob
from amas.model.fleet import PoolSpec
from amas.model.gate import GatePrice, GateSpec, PersonSpec
from amas.model.goal import SubTask
from amas.model.journal import WorkflowOpening
from amas.model.limits import Amounts
from amas.model.states import Layer, TaskState
from amas.model.task import TaskView
from amas.orchestration.workflow_handle import answer

PRICE = GatePrice(input=10.0, output=50.0)
"""Dollars for a million tokens: 100 tokens in and 20 out are 0.002."""


def writers(replicas: int = 2, **changes: Any) -> PoolSpec:
    return PoolSpec(
        **{"name": "writer", "agent": "gate_agents:write", "capabilities": ("gate.write",), "replicas": replicas, **changes}
    )


def lead(answer: Any) -> PoolSpec:
    options = {"answer": answer}
    return PoolSpec(name="chief", agent="gate_agents:lead", capabilities=("gate.lead",), layer=Layer.MANAGEMENT, options=options)


def said(score: float, *again: str) -> str:
    return json.dumps({"criteria": [{"name": "sourced", "score": score, "reason": "as asked"}], "again": again})


def by_model(server: ModelServer, **more: Any) -> GateSpec:
    return GateSpec(
        **{
            "judges": ("rules", "model"),
            "rubric": {"sourced": "every figure has a source"},
            "model": "judge",
            "model_url": server.url,
            "price": PRICE,
            **more,
        }
    )


async def submit(bench: Bench, gate: GateSpec, *, budget: Amounts | None = None) -> tuple[str, str]:
    """Start a workflow of one task with a gate; return its id and the task's."""
    workflow = new_id()
    task = SubTask(key="draft", capability="gate.write", input={"about": "tin"}, title="The draft", gate=gate)
    submission = submission_of(gated(task), Owner(id=workflow, workflow_id=workflow))
    opening = WorkflowOpening(workflow, to_blob(None), "", budget.units() if budget else None)
    await bench.queue.submit([submission], workflow=opening)
    return workflow, submission.id


async def result_of(bench: Bench, pools: Sequence[PoolSpec], gate: GateSpec) -> Any:
    async with bench.host(pools):
        return passed(await bench.ended((await submit(bench, gate))[1]))


def passed(view: TaskView) -> Any:
    assert view.state is TaskState.SUCCEEDED, view.failure
    return view.result


async def asked(bench: Bench, workflow: str) -> Approval:
    async def look() -> list[Approval]:
        return await open_approvals(bench.engine, workflow_id=workflow)

    (found,) = await bench.until(look)
    return found


@pytest.mark.requirement("A4")
async def test_work_goes_back_with_words_then_to_another_agent_then_up_to_a_person(bench: Bench) -> None:
    with model_server(said(0.3, "name the source of 30"), said(0.4, "the source is missing"), said(0.5)) as server:
        gate = by_model(server, threshold=0.8, person=PersonSpec(who="editor", expires_s=600))
        async with bench.host([writers()]):
            workflow, task_id = await submit(bench, gate)
            question = await asked(bench, workflow)
            assert question.about["who"] == "editor"
            assert (question.about["score"], question.about["threshold"]) == (0.5, 0.8)
            assert question.about["result"]["text"] == "Tin costs 30."
            assert question.expires_ms > 0
            await Workflows(bench.engine).signal(question.task_id, answer(approved=True, by="ada", comment="it will do"))
            found = passed(await bench.ended(task_id))
        quality = found["quality"]
        assert (quality["accepted"], quality["accepted_by"], quality["score"]) == (True, "ada", 0.5)
        assert quality["up"] == [{"who": "ada", "accepted": True, "words": "it will do"}]
        assert [each["move"] for each in quality["rounds"]] == ["same", "another", "up"]
        first, second, third = (each["agents"] for each in quality["rounds"])
        assert first == second
        assert third != second
        assert found["result"]["by"] == third[0]
        assert found["result"]["told"] == ["the source is missing"], "the last judge's words came with the task"
        assert "name the source of 30" in quality["rounds"][0]["opinions"][1]["feedback"]
        usage = quality["rounds"][0]["opinions"][1]["usage"]
        assert usage == {"model": "judge", "calls": 1, "tokens": 120, "usd": 0.002}
        assert len(server.asked) == 3


async def test_a_model_that_is_content_lets_work_through_at_once(bench: Bench) -> None:
    with model_server(said(0.9)) as server:
        found = await result_of(bench, [writers()], by_model(server))
        assert found["quality"]["accepted"]
        assert found["quality"]["score"] == 0.9, "the lowest of the rules' 1.0 and the model's"
        assert server.asked[0]["max_tokens" if "max_tokens" in server.asked[0] else "max_completion_tokens"] == 1024
        assert "every figure has a source" in json.dumps(server.asked[0]["messages"])


@pytest.mark.parametrize("said_by_model", [500, "no verdict at all"])
async def test_where_the_model_can_not_answer_the_rules_decide_and_it_is_recorded(bench: Bench, said_by_model: int | str) -> None:
    with model_server(said_by_model) as server:
        found = await result_of(bench, [writers()], by_model(server, judges=("model",)))
    (only,) = found["quality"]["rounds"]
    model, rules = only["opinions"]
    assert (model["score"], rules["judge"], rules["score"]) == (None, "rules", 1.0)
    assert model["note"].startswith("the model couldn't judge, so the others decide: ")
    assert found["quality"]["accepted"]


async def test_a_model_that_takes_too_long_is_not_waited_for(bench: Bench) -> None:
    with model_server(said(0.1)) as server:
        server.hold.clear()
        found = await result_of(bench, [writers()], by_model(server, timeout_s=0.3))
        server.hold.set()
    assert "took longer than 0.3 s" in found["quality"]["rounds"][0]["opinions"][1]["note"]


async def test_a_judges_calls_count_for_the_workflows_budget_and_never_overspend_it(bench: Bench) -> None:
    with model_server(said(0.3, "more")) as server:
        async with bench.host([writers()]):
            gate = by_model(server, rounds=9, tokens_max=40)
            workflow, task_id = await submit(bench, gate, budget=Amounts(usd=0.012))
            view = await bench.ended(task_id)
            spent = (await Limits(bench.engine).budget(f"workflow/{workflow}")).spent
        assert spent.usd == pytest.approx(0.002 * len(server.asked))
        assert 1 <= len(server.asked) <= 6
        quality = passed(view)["quality"]
        assert "has no room" in quality["rounds"][-1]["opinions"][1]["note"]


async def test_a_host_that_goes_while_a_judge_is_asked_again_has_no_verdict_paid_twice(bench: Bench) -> None:
    with model_server(said(0.3, "more"), said(0.9)) as server:
        server.hold.clear()
        server.hold_from = 2
        async with bench.host([writers()], "h1"):
            _, task_id = await submit(bench, by_model(server))

            async def second_call() -> bool:
                return len(server.asked) == 2

            await bench.until(second_call)  # and it stops there, in the middle of the second
        server.hold.set()
        async with bench.host([writers()], "h2"):
            quality = passed(await bench.ended(task_id))["quality"]
    assert [each["score"] for each in quality["rounds"]] == [0.3, 0.9]
    untold = [json.dumps(request["messages"]).count('\\"told\\":[]') for request in server.asked]
    assert untold == [1, 0, 0], "the first verdict was asked for once"


async def test_an_authors_own_scorer_judges_and_its_words_reach_the_agent(bench: Bench) -> None:
    found = await result_of(bench, [writers()], GateSpec(scorer="gate_agents:told_once"))
    assert found["quality"]["accepted"]
    assert found["result"]["told"] == ["say more about tin"]
    assert [each["score"] for each in found["quality"]["rounds"]] == [0.2, 1.0]


async def test_a_scorer_that_fails_leaves_the_rules_to_decide(bench: Bench) -> None:
    found = await result_of(bench, [writers()], GateSpec(scorer="gate_agents:broken"))
    assert found["quality"]["accepted"]
    assert "RuntimeError: no idea" in found["quality"]["rounds"][0]["opinions"][1]["note"]


async def test_with_one_agent_alone_the_same_one_has_the_second_round_and_it_is_said(bench: Bench) -> None:
    found = await result_of(bench, [writers(replicas=1)], GateSpec(scorer="gate_agents:never"))
    quality = found["quality"]
    assert not quality["accepted"]
    assert "no other agent came for it" in quality["rounds"][2]["note"]
    assert [each["agents"] for each in quality["rounds"]] == [["writer-1"]] * 3


@pytest.mark.parametrize(("words", "accepted"), [({"approved": True, "comment": "ship it"}, True), ("too thin", False)])
async def test_what_nobody_mended_goes_to_the_lead_of_whoever_did_it(bench: Bench, words: Any, accepted: bool) -> None:
    gate = GateSpec(scorer="gate_agents:never", rounds=0)
    found = await result_of(bench, [writers(lead="chief"), lead(words)], gate)
    (only,) = found["quality"]["up"]
    assert (only["who"], only["accepted"], found["quality"]["accepted"]) == ("chief", accepted, accepted)
    assert only["words"] in ("ship it", "too thin")


@pytest.mark.parametrize(("on_expiry", "accepted"), [("accept", True), ("reject", False), ("escalate", True)])
async def test_a_person_who_does_not_answer_means_what_was_declared(bench: Bench, on_expiry: Any, accepted: bool) -> None:
    gate = GateSpec(judges=("rules", "person"), rounds=0, person=PersonSpec(expires_s=0.05, on_expiry=on_expiry))
    pools = [writers(lead="chief"), lead(True)] if on_expiry == "escalate" else [writers()]
    async with bench.host(pools):
        _, task_id = await submit(bench, gate)

        async def look() -> TaskView | None:
            await Workflows(bench.engine).expire()  # the timers' duty
            view = await bench.queue.task(task_id)
            return view if view and view.state.terminal else None

        found = passed(await bench.until(look))
    person = found["quality"]["rounds"][0]["opinions"][1]
    assert (person["score"], found["quality"]["accepted"]) == (float(accepted), accepted)
    assert person["by"] == "chief" if on_expiry == "escalate" else "nobody answered within 0.05 s" in person["note"]


async def test_a_persons_score_and_words_send_work_back(bench: Bench) -> None:
    gate = GateSpec(judges=("person",), rounds=1, person=PersonSpec(expires_s=600))
    async with bench.host([writers()]):
        workflow, task_id = await submit(bench, gate)
        workflows = Workflows(bench.engine)
        first = await asked(bench, workflow)
        await workflows.signal(first.task_id, answer(approved=True, by="ada", comment="no source", score=0.4))
        second = await asked(bench, workflow)
        assert second.task_id != first.task_id
        assert second.about["result"]["told"] == ["no source"]
        await workflows.signal(second.task_id, answer(approved=True, by="ada"))
        quality = passed(await bench.ended(task_id))["quality"]
    assert [each["score"] for each in quality["rounds"]] == [0.4, 1.0]
    assert quality["rounds"][0]["opinions"][0]["by"] == "ada"


async def test_a_persons_no_is_a_score_of_nothing(bench: Bench) -> None:
    gate = GateSpec(judges=("person",), rounds=0, person=PersonSpec(expires_s=600))
    async with bench.host([writers()]):
        workflow, task_id = await submit(bench, gate)
        question = await asked(bench, workflow)
        await Workflows(bench.engine).signal(question.task_id, answer(approved=False, by="ada", comment="wrong"))
        quality = passed(await bench.ended(task_id))["quality"]
    (opinion,) = quality["rounds"][0]["opinions"]
    assert (opinion["score"], opinion["by"], opinion["feedback"]) == (0.0, "ada", ["wrong"])
    assert not quality["accepted"]


async def test_an_agent_signs_deliveries_for_itself_alone(bench: Bench) -> None:
    bench.secret = "a-secret-of-the-fleet"
    forger = PoolSpec(name="forger", agent="gate_agents:forge", capabilities=("gate.forge",))
    async with bench.host([forger]):
        own = await bench.ended(await bench.submit("gate.forge"))
        others = await bench.ended(await bench.submit("gate.forge", "quality-supervisor-1"))
    assert own.state is TaskState.SUCCEEDED and len(str(own.result)) > 60
    assert others.failure is not None and "each agent signs for itself" in others.failure.message
