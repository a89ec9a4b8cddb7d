"""Agents' tools on real hosts and a real engine: asked about first, journaled, done once."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import pytest
from host_bench import Bench
from host_bench import pool as bench_pool
from tests.fault.test_host_faults import ends, host_process

from amas.agents.tools import toolbox
from amas.model.fleet import PoolSpec
from amas.model.policy import Decision, ToolCall
from amas.model.states import TaskState
from amas.model.tools import STEPS, McpServer, ToolSpec

NOTE = ToolSpec(python="tool_agents:note")
HOSTILE = str(Path(__file__).parents[2] / "samples" / "hostile_mcp.py")


def pool(function: str, *tools: str, **changes: Any) -> PoolSpec:
    return bench_pool(function.replace("_", "-"), **{
        "agent": f"tool_agents:{function}", "capabilities": (f"test.{function}",), "tools": tools, **changes
    })  # fmt: skip


async def result_of(bench: Bench, task_id: str) -> Any:
    view = await bench.ended(task_id)
    assert view.state is TaskState.SUCCEEDED, view.failure
    return view.result


@pytest.mark.parametrize("isolation", ["shared", "process"])
async def test_a_pool_uses_what_it_names_and_nothing_else(bench: Bench, tmp_path: Path, isolation: str) -> None:
    ledger = str(tmp_path / "ledger")
    given = {"path": ledger, "line": "once"}
    uses = [
        ["note", given],
        ["note", given],
        ["other", given],
        ["nothing", {}],
        ["note", {"path": 5}],
        ["note", {**given, "x": 1}],
    ]
    async with bench.host([pool("use", "note", isolation=isolation)], tools={"note": NOTE, "other": NOTE}):
        told = await result_of(bench, await bench.submit("test.use", {"uses": uses, "again": True}))
    first, second, other, nothing, wrong, more = told
    assert [first, second] == [{"result": 1}, {"result": 2}], "two uses with the same arguments are two, on both attempts"
    assert Path(ledger).read_text() == "once\nonce\n"
    assert other["error"] == "ToolRefused" and other["tool"] == "other"
    assert "use-1 may not use" in other["why"] and "other" in other["why"]
    assert nothing["error"] == "ToolRefused" and "the fleet has no tool 'nothing'" in nothing["why"]
    assert wrong["code"] == "tool_misused" and "Expected `str`, got `int` - at `$.path`" in wrong["why"]
    assert more["code"] == "tool_misused" and "unknown field `x`" in more["why"]
    lines = [line for line in bench.log_lines("h1") if line.get("event") in {"tool_used", "tool_refused"}]
    assert [line["event"] for line in lines] == ["tool_used", "tool_used", "tool_refused"], (
        "the second attempt had it from the journal"
    )
    assert lines[0]["tool"] == "note" and lines[0]["outcome"] == "succeeded" and lines[0]["agent_id"] == "use-1"


async def test_plain_functions_use_tools_and_a_refusal_that_nobody_catches_ends_the_task(bench: Bench, tmp_path: Path) -> None:
    given = {"path": str(tmp_path / "ledger"), "line": "x", "times": 3}
    pools = [pool("use_sync", "note"), pool("Uncaught")]
    async with bench.host(pools, tools={"note": NOTE}):
        assert await result_of(bench, await bench.submit("test.use_sync", {"uses": [["note", given]]})) == 3
        failed = await bench.ended(await bench.submit("test.Uncaught", ["note", given]))
    assert failed.failure is not None and failed.failure.code == "tool_refused" and failed.attempt == 1


async def test_what_goes_wrong_is_said_and_bounded(bench: Bench, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    tools = {
        "hang": ToolSpec(python="tool_agents:hang", timeout_s=0.05),
        "fail": ToolSpec(python="tool_agents:fail"),
        "huge": ToolSpec(python="tool_agents:huge"),
        "strange": ToolSpec(python="tool_agents:strange"),
    }
    uses = [["hang", {}], ["fail", {"path": str(ledger)}], ["huge", {}], ["strange", {}]]
    async with bench.host([pool("use", *tools), pool("Uncaught", *tools)], tools=tools):
        hang, fail, huge, strange = await result_of(bench, await bench.submit("test.use", {"uses": uses, "again": True}))
        uncaught = await bench.ended(await bench.submit("test.Uncaught", ["fail", {"path": str(ledger)}]))
    assert hang["why"] == "the tool hang took longer than 0.05 s"
    assert fail["why"] == "the tool fail failed: RuntimeError: out of order" and fail["final"]
    assert "more than 256 KiB" in huge["why"] and "no JSON value" in strange["why"]
    assert uncaught.failure is not None and uncaught.failure.code == "tool_failed"
    assert ledger.read_text() == "failed\nfailed\n", "a failure is journaled: once for each of the two tasks"


async def test_a_repeatable_tool_that_failed_is_tried_again_by_the_next_attempt(bench: Bench, tmp_path: Path) -> None:
    ledger = tmp_path / "ledger"
    tools = {"fail": ToolSpec(python="tool_agents:fail", repeatable=True)}
    async with bench.host([pool("Uncaught", "fail")], tools=tools):
        view = await bench.ended(await bench.submit("test.Uncaught", ["fail", {"path": str(ledger)}]))
    assert view.failure is not None and ledger.read_text() == "failed\n" * 3


@pytest.mark.parametrize("repeatable", [False, True])
async def test_a_tool_whose_host_was_killed_may_have_run_and_isnt_run_again_by_itself(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, repeatable: bool
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2] / "samples"))
    ledger, dying = tmp_path / "ledger", tmp_path / "dying"
    tools = {"note": NOTE, "die": ToolSpec(python="tool_agents:note_and_die", repeatable=repeatable)}
    uses = [["note", {"path": str(ledger), "line": "x"}], ["die", {"path": str(dying)}]]
    seat = {"agent": "tool_agents:use", "capabilities": ["test.use"], "tools": list(tools)}
    async with host_process(bench, "h1", "use", pool=seat, tools=tools) as h1:
        task_id = await bench.submit("test.use", {"uses": uses})
        await h1.wait()
    if repeatable:
        tools["die"] = ToolSpec(python="tool_agents:note_and_die_not", repeatable=True)
    async with host_process(bench, "h2", "use", pool=seat, tools=tools):
        assert await ends(bench, [task_id]) == {task_id: 1}
    noted, died = (await bench.queue.outcomes([task_id]))[task_id].result  # type: ignore[misc]
    assert noted == {"result": 1} and ledger.read_text() == "x\n", "what was journaled isn't done again"
    if repeatable:
        assert died == {"result": 2}
    else:
        assert died["error"] == "ToolUnsure" and "may have run" in died["why"]
        assert dying.read_text() == "begun\n"


async def test_a_policys_word_comes_back_with_its_rules_and_is_a_step(bench: Bench, tmp_path: Path) -> None:
    asked: list[ToolCall] = []

    class Guard:
        async def permit(self, call: ToolCall) -> Decision:
            asked.append(call)
            return Decision(allowed=False, why="enough for today", rules=("daily",), retry_after_s=30.0)

    given = {"path": str(tmp_path / "ledger"), "line": "x"}
    async with bench.host([pool("use", "note")], tools={"note": NOTE}) as host:
        host._toolbox.guard = Guard()
        task_id = await bench.submit("test.use", {"uses": [["note", given]], "again": True}, tenant="acme")
        (told,) = await result_of(bench, task_id)
        steps = await bench.queue.steps(task_id)
    assert told["why"] == "enough for today"
    assert len(asked) == 1, "the second attempt had the refusal from the journal"
    assert (asked[0].agent, asked[0].pool, asked[0].tenant, asked[0].tool) == ("use-1", "use", "acme", "note")
    assert asked[0].arguments == given
    assert [name.startswith(f"{STEPS}note/") for name in steps] == [True]
    assert not (tmp_path / "ledger").exists()


async def test_an_agent_sees_its_tools(bench: Bench) -> None:
    async with bench.host([pool("cards", "note", isolation="process")], tools={"note": NOTE, "other": NOTE}):
        ((name, kind, about, schema),) = await result_of(bench, await bench.submit("test.cards"))
    assert (name, kind, about) == ("note", "python", "Write a line into a file.")
    assert schema["required"] == ["path", "line"] and schema["properties"]["times"] == {"type": "integer"}


def server(folder: Path, **more: Any) -> ToolSpec:
    """An MCP server that misbehaves as files in the folder say."""
    return ToolSpec(mcp=McpServer(command=(sys.executable, "-S", HOSTILE, str(folder))), about="What is written", **more)


@pytest.mark.parametrize("isolation", ["shared", "process"])
async def test_a_server_that_is_dead_is_listed_with_why_and_logged_once_and_again_when_it_is_back(
    bench: Bench, tmp_path: Path, isolation: str
) -> None:
    (tmp_path / "ends").touch()
    tools = {"docs": server(tmp_path), "note": NOTE}
    async with bench.host([pool("missing", *tools, isolation=isolation)], tools=tools):
        found = await result_of(bench, await bench.submit("test.missing"))
        (tmp_path / "ends").unlink()
        async with asyncio.timeout(120):
            while "docs" in (last := (await result_of(bench, await bench.submit("test.missing")))[1]):
                pass
    assert found == [{"docs": "the MCP server docs can't be used: it ended: it won't start", "note": ""}] * 2
    assert last["docs/add"] == last["note"] == ""
    lines = [line for line in bench.log_lines("h1") if line.get("event") in {"tool_missing", "tool_back"}]
    assert [(line["event"], line["tool"], line["agent_id"]) for line in lines] == [
        ("tool_missing", "docs", "missing-1"),
        ("tool_back", "docs", "missing-1"),
    ]
    assert lines[0]["why"] == found[0]["docs"] and lines[0]["level"] == "warning"


async def test_a_server_that_is_silent_holds_its_tools_up_with_a_reason(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(toolbox, "CARDS_S", 0.5)
    (tmp_path / "silent").touch()
    tools = {"docs": server(tmp_path, timeout_s=0.5)}
    async with bench.host([pool("missing", *tools), pool("use", *tools)], tools=tools):
        found = await result_of(bench, await bench.submit("test.missing"))
        (told,) = await result_of(bench, await bench.submit("test.use", {"uses": [["docs/add", {"a": 1, "b": 2}]]}))
    assert found == [{"docs": "the MCP server docs said nothing for 0.5 s"}] * 2
    assert told["code"] == "tool_failed"
    assert told["why"] == "the tool docs/add can't be used now: the MCP server docs said nothing for 0.5 s"
