"""What model agents cost, from a real host's requests to a model server on loopback into the records."""

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from host_bench import Bench
from model_server import call, model_server, text
from tests.integration.agents.test_model_agents import TOOL, done, killed_between_two_calls, model_pool, result_of, spec_file

from amas.clock import new_id
from amas.engine.journal import Journal
from amas.engine.limits import Limits
from amas.engine.queue import make_submission
from amas.model.limits import reserves_of
from amas.model.states import TaskState
from amas.model.task import RetryPolicy, TaskSpec
from amas.records.store import Records


@pytest.fixture(scope="module", autouse=True)
def _imported() -> None:
    """Have the extra imported before limits of time count: it takes seconds where the machine is busy."""
    import_module("pydantic_ai.models.openai")


async def record(bench: Bench, records: Records) -> None:
    await records.apply(await Journal(bench.engine).read("0-0"))


async def requests_of(records: Records, task_id: str) -> list[tuple[Any, ...]]:
    made = await records.model_calls(task_id)
    return [(one.attempt, one.step, one.model, one.input_tokens, one.output_tokens, one.usd) for one in made]


@pytest.mark.parametrize("isolation", ["shared", "process"])
async def test_each_request_is_known_by_step(bench: Bench, records: Records, tmp_path: Path, isolation: str) -> None:
    with model_server([call("word_count", {"text": "a b"}), text("two")]) as server:
        server.status["test-model"] = 503
        spare = {"model": "openai-chat:spare-model", "base_url": server.url, "price": {"input": 1, "output": 1}}
        spec = spec_file(tmp_path, server, amas={"tools": [TOOL], "fallback": [spare]})
        view = await done(bench, [model_pool(spec, tools=(TOOL,), isolation=isolation)])
    await record(bench, records)
    refused, answered = ("test-model", 0, 0, 0.0), ("spare-model", 100, 20, 0.00012)
    assert await requests_of(records, view.id) == [
        (1, "model/1", *refused), (1, "model/1", *answered), (1, "model/2", *refused), (1, "model/2", *answered)
    ]  # fmt: skip
    cost = await records.cost(task_id=view.id)
    assert (cost.usd, cost.tokens, cost.calls) == (0.00024, 240, 4)
    assert {one.provider for one in await records.model_calls(view.id)} == {"openai"}


async def test_an_attempt_that_fails_later_has_cost_what_it_cost(bench: Bench, records: Records, tmp_path: Path) -> None:
    with model_server([call("broken", {}), text("never")]) as server:
        spec = spec_file(tmp_path, server, amas={"tools": ["model_tools:broken"]})
        view = await done(bench, [model_pool(spec, tools=("model_tools:broken",))], retry=RetryPolicy(retries=1, backoff_s=0.01))
        assert (view.state, view.attempt) == (TaskState.FAILED, 2)
        assert server.asked() == [0], "the second attempt replays the first one's answer"
    await record(bench, records)
    cost = await records.cost(task_id=view.id)
    assert (cost.usd, cost.tokens, cost.calls) == (0.002, 120, 1)


async def test_a_request_without_an_answer_costs_what_was_announced(bench: Bench, records: Records, tmp_path: Path) -> None:
    with model_server([text("never")]) as server:
        spec = spec_file(tmp_path, server)
    view = await done(bench, [model_pool(spec)], retry=RetryPolicy(retries=0))
    assert view.failure is not None and view.failure.code == "model_unavailable"
    await record(bench, records)
    cost = await records.cost(task_id=view.id)
    assert cost.calls == 1
    assert cost.usd > 0


async def test_a_host_that_was_killed_leaves_the_cost_of_its_answers(
    bench: Bench, records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with model_server([call("word_count", {"text": "a b c"}), text("three")]) as server:
        task_id = await killed_between_two_calls(bench, tmp_path, server, monkeypatch)
    await record(bench, records)
    first, second = await records.model_calls(task_id)
    assert (first.attempt, first.step, first.usd) == (1, "model/1", 0.002)
    assert second.attempt > 1
    assert (second.step, second.usd) == ("model/2", 0.002)
    assert (await records.cost(task_id=task_id)).usd == 0.004


async def test_watchers_see_the_answer_grow_and_the_result_is_the_same(bench: Bench, records: Records, tmp_path: Path) -> None:
    with model_server([text("one two three four five six")]) as server:
        server.halves.add(0)
        async with bench.host([model_pool(spec_file(tmp_path, server))]):
            task_id = await bench.submit("test.model", "Count.")

            async def seen() -> bool:
                await record(bench, records)
                task = await records.task(task_id)
                return task is not None and "call 1: one" in task.note

            await bench.until(seen)
            server.let_go.set()
            view = await bench.ended(task_id)
        assert server.requests[0]["stream_options"] == {"include_usage": True}
        usage = {"model": "test-model", "calls": 1, "tokens": 120, "usd": 0.002}
        assert await result_of(bench, view) == {"output": "one two three four five six", "usage": usage}


@pytest.mark.parametrize(("refusal", "charged"), [(400, 1), (0, 2)])
async def test_a_server_that_cannot_stream_is_asked_whole(
    bench: Bench, records: Records, tmp_path: Path, refusal: int, charged: int
) -> None:
    with model_server([call("word_count", {"text": "a b"}), text("two")]) as server:
        server.streams, server.stream_status = False, refusal
        spec = spec_file(tmp_path, server, amas={"tools": [TOOL]})
        view = await done(bench, [model_pool(spec, tools=(TOOL,))])
        assert (await result_of(bench, view))["output"] == "two"
        assert [bool(request.get("stream")) for request in server.requests] == [True, False, False], "it is asked but once"
    await record(bench, records)
    made = await records.model_calls(view.id)
    assert [one.step for one in made] == ["model/1", "model/1", "model/2"]
    assert sum(one.usd > 0 for one in made) == charged + 1, "what wasn't refused is charged, since its server did the work"


async def test_streams_can_be_declined(bench: Bench, tmp_path: Path) -> None:
    with model_server([text("whole")]) as server:
        view = await done(bench, [model_pool(spec_file(tmp_path, server, amas={"stream": False}))])
        assert (await result_of(bench, view))["output"] == "whole"
        assert not server.requests[0].get("stream")


async def test_a_busy_model_has_its_fallback_answer_and_nothing_is_parked(bench: Bench, tmp_path: Path) -> None:
    await Limits(bench.engine).set_rate("local", requests_per_min=100)
    with model_server([text("here")]) as server:
        server.status["test-model"], server.headers = 429, {"retry-after": "600"}
        spare = {"model": "openai-chat:spare-model", "base_url": server.url, "price": {"input": 1, "output": 1}}
        async with bench.host([model_pool(spec_file(tmp_path, server, amas={"fallback": [spare]}))]):
            view = await bench.ended(await with_account(bench))
        assert (view.state, view.attempt) == (TaskState.SUCCEEDED, 1)
        assert [request["model"] for request in server.requests] == ["test-model", "spare-model"]


async def test_where_every_model_is_busy_the_task_is_parked_until_the_first_has_room(
    bench: Bench, records: Records, tmp_path: Path
) -> None:
    limits = Limits(bench.engine)
    await limits.set_rate("local", requests_per_min=100)
    with model_server([text("at last")]) as server:
        server.status.update({"test-model": 429, "spare-model": 503})
        server.headers = {"retry-after": "600"}
        spare = {"model": "openai-chat:spare-model", "base_url": server.url, "price": {"input": 1, "output": 1}}
        async with bench.host([model_pool(spec_file(tmp_path, server, amas={"fallback": [spare]}))]):
            task_id = await with_account(bench)

            async def parked() -> bool:
                return "rate:local" in await limits.parked_on(task_id)

            await bench.until(parked)
            (rate,) = (await limits.all()).rates
            assert rate.closed_until_ms - bench.engine.now_ms() > 300_000, "until the server's own time"
        assert [request["model"] for request in server.requests] == ["test-model", "spare-model"]
    await record(bench, records)
    cost = await records.cost(task_id=task_id)
    assert (cost.usd, cost.tokens, cost.calls) == (0, 0, 2), "both were refused"


async def with_account(bench: Bench) -> str:
    """Submit a task that asks models on the account `local`."""
    task_id = new_id()
    spec = TaskSpec(capability="test.model", input="Write.")
    await bench.queue.submit([make_submission(task_id, spec, reserves=reserves_of(provider="local"))])
    return task_id
