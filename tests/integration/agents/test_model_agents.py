"""Model agents on real hosts and a real engine, against a model server on loopback."""

import signal
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from host_bench import Bench, pool
from model_server import ModelServer, call, model_server, text
from tests.fault.test_host_faults import ends, host_process

from amas.clock import new_id
from amas.engine.limits import Limits
from amas.engine.queue import make_submission
from amas.errors import FleetFileInvalid
from amas.fleet.load import load_fleet
from amas.model.blob import to_blob
from amas.model.fleet import PoolSpec
from amas.model.journal import WorkflowOpening
from amas.model.limits import Amounts, reserves_of
from amas.model.policy import Decision, ToolCall
from amas.model.states import TaskState
from amas.model.task import TaskSpec, TaskView
from amas.model.tools import ToolSpec

PRICE = {"input": 10.0, "output": 50.0}
"""Dollars for a million tokens: 100 tokens in and 20 out are 0.002."""
TOOL = "model_tools:word_count"


def spec_file(folder: Path, server: ModelServer, *, amas: dict[str, Any] | None = None, **fields: Any) -> Path:
    """Write a spec whose model is the server's `test-model`."""
    path = folder / "writer.yaml"
    extras = {"base_url": server.url, "price": PRICE, **(amas or {})}
    spec = {"model": "openai-chat:test-model", "instructions": "Be short.", "model_settings": {"max_tokens": 40}, **fields}
    path.write_text(yaml.safe_dump({**spec, "metadata": {"amas": extras}}))
    return path


def model_pool(spec: Path, *, tools: tuple[str, ...] = (), **changes: Any) -> PoolSpec:
    options = {"spec": str(spec), "tools": list(tools)}
    return pool("model", **{"agent": "amas.agents.model_agent:ModelAgent", "options": options, **changes})


async def done(bench: Bench, pools: list[PoolSpec], value: Any = "Write.", **spec: Any) -> TaskView:
    async with bench.host(pools):
        return await bench.ended(await bench.submit("test.model", value, **spec))


async def result_of(bench: Bench, view: TaskView) -> Any:
    return (await bench.queue.outcomes([view.id]))[view.id].result


@pytest.mark.parametrize("isolation", ["shared", "process"])
async def test_a_task_has_its_output_and_what_it_cost(bench: Bench, tmp_path: Path, isolation: str) -> None:
    schema = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}
    answers = [call("word_count", {"text": "one two"}), call("final_result", {"title": "Two"}, "call_2")]
    with model_server(answers) as server:
        spec = spec_file(tmp_path, server, amas={"tools": [TOOL]}, output_schema=schema)
        view = await done(bench, [model_pool(spec, tools=(TOOL,), isolation=isolation)], {"about": "words"})
        assert view.state is TaskState.SUCCEEDED, view.failure
        assert await result_of(bench, view) == {
            "output": {"title": "Two"},
            "usage": {"model": "test-model", "calls": 2, "tokens": 240, "usd": 0.004},
        }
        first, second = server.requests
        assert [message["content"] for message in first["messages"]] == ["Be short.", '{"about":"words"}']
        assert second["messages"][-1] == {"role": "tool", "tool_call_id": "call_1", "content": "2"}


@pytest.mark.parametrize("isolation", ["shared", "process"])
async def test_a_model_uses_the_fleets_tools_through_the_guard(bench: Bench, tmp_path: Path, isolation: str) -> None:
    class OnlyNotes:
        async def permit(self, call: ToolCall) -> Decision:
            return Decision(allowed=call.tool == "note", why=f"{call.agent} may not use {call.tool} today")

    given = {"path": str(tmp_path / "ledger"), "line": "x"}
    calls = [("note", given), ("note", {"path": 1}), ("hidden", {}), ("word_count", {"text": "a b"})]
    answers = [call(name, arguments, f"call_{n}") for n, (name, arguments) in enumerate(calls) if name != "hidden"]
    tools = {name: ToolSpec(python="tool_agents:note") for name in ("note", "hidden")}
    with model_server([*answers, text("done")]) as server:
        spec = spec_file(tmp_path, server, amas={"tools": ["note", TOOL]})
        pools = [model_pool(spec, tools=(TOOL,), isolation=isolation)]
        pools = [msgspec.structs.replace(pools[0], tools=("note", "hidden"))]
        async with bench.host(pools, tools=tools) as host:
            host._toolbox.guard = OnlyNotes()
            view = await bench.ended(await bench.submit("test.model", "Note."))
        assert view.state is TaskState.SUCCEEDED, view.failure
        assert [each["function"]["name"] for each in server.requests[0]["tools"]] == ["word_count", "note"]
        heard = [request["messages"][-1]["content"] for request in server.requests[1:]]
    assert heard[0] == "1"
    assert "Expected `str`, got `int` - at `$.path`" in heard[1]
    assert heard[2] == f"refused: model-1 may not use {TOOL} today"
    assert (tmp_path / "ledger").read_text() == "x\n"


async def killed_between_two_calls(bench: Bench, folder: Path, server: ModelServer, monkeypatch: pytest.MonkeyPatch) -> str:
    """Have a task done by two hosts, the first of which is killed during the second request, and return the task's id."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2] / "samples"))
    spec = spec_file(folder, server, amas={"tools": [TOOL]})
    seat = {
        "agent": "amas.agents.model_agent:ModelAgent",
        "capabilities": ["test.model"],
        "options": {"spec": str(spec), "tools": [TOOL]},
    }
    server.hold.add(1)
    async with host_process(bench, "h1", "model", pool=seat) as h1:
        task_id = await bench.submit("test.model", "Count.")

        async def second_call() -> bool:
            return len(server.requests) == 2

        await bench.until(second_call)
        h1.send_signal(signal.SIGKILL)
        await h1.wait()
    async with host_process(bench, "h2", "model", pool=seat):
        assert await ends(bench, [task_id]) == {task_id: 1}
    return task_id


async def test_a_host_killed_between_two_calls_repeats_neither_the_first_nor_the_tool(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger = tmp_path / "tools"
    monkeypatch.setenv("TOOL_LEDGER", str(ledger))
    with model_server([call("word_count", {"text": "a b c"}), text("three")]) as server:
        task_id = await killed_between_two_calls(bench, tmp_path, server, monkeypatch)
        assert server.asked() == [0, 1, 1], "the first call was paid for once"
        assert ledger.read_text() == "a b c\n"
        outcome = (await bench.queue.outcomes([task_id]))[task_id]
        assert outcome.result == {"output": "three", "usage": {"model": "test-model", "calls": 2, "tokens": 240, "usd": 0.004}}


async def test_a_budget_of_a_cent_stops_in_time(bench: Bench, tmp_path: Path) -> None:
    forever = [call("word_count", {"text": f"round {n}"}, f"call_{n}") for n in range(40)]
    with model_server(forever) as server:
        spec = spec_file(tmp_path, server, amas={"tools": [TOOL]})
        async with bench.host([model_pool(spec, tools=(TOOL,))]):
            workflow, task_id = new_id(), new_id()
            asked = TaskSpec(capability="test.model", input="Go on.", workflow_id=workflow)
            opening = WorkflowOpening(workflow, to_blob(None), "", Amounts(usd=0.01).units())
            await bench.queue.submit([make_submission(task_id, asked)], workflow=opening)
            failure = (await bench.ended(task_id)).failure
            assert failure is not None and failure.code == "budget_exhausted"
            spent = (await Limits(bench.engine).budget(f"workflow/{workflow}")).spent
        assert spent.usd == pytest.approx(0.002 * len(server.requests)), "what the server was asked for was charged"
        assert 1 <= len(server.requests) <= 5
        assert spent.calls == len(server.requests)


async def test_a_tool_that_the_pool_does_not_allow_is_refused(bench: Bench, tmp_path: Path) -> None:
    with model_server([call("delete_everything", {})]) as server:
        spec = spec_file(tmp_path, server, amas={"tools": ["model_tools:delete_everything"]})
        view = await done(bench, [model_pool(spec, tools=(TOOL,))])
        assert view.failure is not None and view.failure.code == "model_agent_invalid"
        assert "wants the tool 'model_tools:delete_everything', which its pool doesn't allow" in view.failure.message
        assert (view.attempt, server.requests) == (1, [])


async def test_the_fallback_answers_when_the_first_model_does_not(bench: Bench, tmp_path: Path) -> None:
    with model_server([text("here")]) as server:
        server.status["test-model"] = 503
        spare = {"model": "openai-chat:spare-model", "base_url": server.url, "price": {"input": 1, "output": 1}}
        view = await done(bench, [model_pool(spec_file(tmp_path, server, amas={"fallback": [spare]}))])
        usage = {"model": "spare-model", "calls": 2, "tokens": 120, "usd": 0.00012}
        assert await result_of(bench, view) == {"output": "here", "usage": usage}
        assert [request["model"] for request in server.requests] == ["test-model", "spare-model"]


async def test_a_busy_provider_closes_the_account_and_fails_nothing(bench: Bench, tmp_path: Path) -> None:
    limits = Limits(bench.engine)
    await limits.set_rate("local", requests_per_min=100)
    with model_server([text("at last")]) as server:
        server.status["test-model"], server.headers = 429, {"retry-after": "0.2"}
        async with bench.host([model_pool(spec_file(tmp_path, server))]):
            task_id = new_id()
            spec = TaskSpec(capability="test.model", input="Write.")
            await bench.queue.submit([make_submission(task_id, spec, reserves=reserves_of(provider="local"))])

            async def look() -> bool:
                if server.requests:
                    server.status.clear()
                await limits.refill()  # as the timers do
                return (await bench.queue.outcomes([task_id]))[task_id].state is TaskState.SUCCEEDED

            await bench.until(look)
            view = await bench.ended(task_id)
        assert (view.attempt, view.failures, len(server.requests)) == (2, 0, 2)


@pytest.mark.parametrize(("status", "code", "requests"), [(401, "model_refused", 1), (500, "model_unavailable", 3)])
async def test_what_another_attempt_cannot_mend_is_not_tried_again(
    bench: Bench, tmp_path: Path, status: int, code: str, requests: int
) -> None:
    with model_server([text("never")]) as server:
        server.status["test-model"] = status
        view = await done(bench, [model_pool(spec_file(tmp_path, server))])
        assert view.failure is not None and view.failure.code == code
        assert len(server.requests) == requests, "the bench's tasks have two retries, and the client none of its own"


async def test_a_model_without_a_known_price_is_not_asked(bench: Bench, tmp_path: Path) -> None:
    with model_server([text("free?")]) as server:
        view = await done(bench, [model_pool(spec_file(tmp_path, server, amas={"price": None}))])
        assert view.failure is not None and view.failure.code == "model_price_unknown"
        assert server.requests == []


async def test_a_known_model_has_the_price_of_its_list(bench: Bench, tmp_path: Path) -> None:
    with model_server([text("yes")], tokens=(1_000_000, 0)) as server:
        spec = spec_file(tmp_path, server, amas={"price": None}, model="openai-chat:gpt-4o-mini")
        view = await done(bench, [model_pool(spec)])
        assert (await result_of(bench, view))["usage"] == {
            "model": "gpt-4o-mini", "calls": 1, "tokens": 1_000_000, "usd": 0.15
        }  # fmt: skip


async def test_a_server_that_reports_no_usage_is_charged_for_what_was_announced(bench: Bench, tmp_path: Path) -> None:
    with model_server([text("quietly")], tokens=None) as server:
        usage = (await result_of(bench, await done(bench, [model_pool(spec_file(tmp_path, server))])))["usage"]
        assert usage["tokens"] > 40
        assert usage["usd"] > 40 * PRICE["output"] / 1e6


async def test_a_tool_may_ask_the_model_again(bench: Bench, tmp_path: Path) -> None:
    answers = [call("word_count", {"text": ""}), call("word_count", {"text": "a b"}, "call_2"), text("two")]
    with model_server(answers) as server:
        spec = spec_file(tmp_path, server, amas={"tools": [TOOL]})
        view = await done(bench, [model_pool(spec, tools=(TOOL,))])
        assert (await result_of(bench, view))["output"] == "two"
        assert "say a text" in server.requests[1]["messages"][-1]["content"]


def test_an_address_is_only_for_models_that_speak_that_way(tmp_path: Path) -> None:
    with model_server([]) as server:
        spec_file(tmp_path, server, model="anthropic:claude-sonnet-4-5")
        with pytest.raises(FleetFileInvalid, match="only an openai: or openai-chat: model can have a base_url"):
            load_fleet(fleet_file(tmp_path, "    model_agent: writer.yaml\n"), agents=True)


def fleet_file(folder: Path, pool_lines: str) -> Path:
    path = folder / "fleet.yaml"
    path.write_text(f"name: small\npools:\n  - name: writer\n    layer: executive\n    capabilities: [text.write]\n{pool_lines}")
    return path


def test_a_fleet_file_names_a_spec_beside_it(tmp_path: Path) -> None:
    with model_server([]) as server:
        spec = spec_file(tmp_path, server, amas={"tools": [TOOL]})
        (made,) = load_fleet(
            fleet_file(tmp_path, f"    model_agent: writer.yaml\n    options: {{tools: ['{TOOL}']}}\n"), agents=True
        ).pools
        assert made.agent == "amas.agents.model_agent:ModelAgent"
        assert made.options == {"spec": str(spec), "tools": [TOOL]}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ("    model_agent: writer.yaml\n", "wants the tool 'model_tools:word_count', which its pool doesn't allow"),
        ("    model_agent: writer.yaml\n    agent: a:b\n", "say one of agent: module:attribute, model_agent: spec.yaml"),
        ("    title: Writer\n", "say one of agent: module:attribute, model_agent: spec.yaml"),
        ("    model_agent: no.yaml\n", "can't be read"),
        ("    model_agent: writer.yaml\n    options: {tool: []}\n", "unknown field `tool`"),
    ],
)
def test_a_fleet_that_cannot_work_is_refused_before_it_starts(tmp_path: Path, lines: str, message: str) -> None:
    with model_server([]) as server:
        spec_file(tmp_path, server, amas={"tools": [TOOL]})
        with pytest.raises(FleetFileInvalid, match=r"fleet\.yaml") as refused:
            load_fleet(fleet_file(tmp_path, lines), agents=True)
        assert message in str(refused.value)
