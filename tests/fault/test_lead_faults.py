"""A lead whose process is killed while it coordinates model agents: another takes its place, and no answer is paid for twice."""

import signal
from collections import Counter
from pathlib import Path
from typing import Any

import host_bench
import pytest
import yaml
from host_bench import SAMPLES, Bench
from model_server import call, model_server, text
from tests.fault.test_host_faults import ends, host_process

from amas.clock import new_id
from amas.engine.hosts import HostRegistry
from amas.engine.journal import START, Journal
from amas.engine.limits import Limits
from amas.engine.queue import make_submission
from amas.model.blob import to_blob
from amas.model.journal import EntryKind, WorkflowOpening
from amas.model.limits import Amounts
from amas.model.task import TaskSpec

TOOL = "model_tools:word_count"
PRICE = {"input": 10.0, "output": 50.0}  # of 100 tokens in and 20 out: 0.002 USD


async def answers_kept(bench: Bench) -> int:
    entries = await Journal(bench.engine).read(START, limit=10_000)
    return sum(entry.batch.count(b"model/") for entry in entries if entry.kind is EntryKind.STEP)


def team(folder: Path, url: str, *, options: dict[str, str]) -> dict[str, Any]:
    """Return the pools of a host: the lead, and one writer, so that the parts are written one after the other."""
    extras = {"base_url": url, "price": PRICE, "tools": [TOOL]}
    spec = {"model": "openai-chat:test-model", "model_settings": {"max_tokens": 40}, "metadata": {"amas": extras}}
    (folder / "writer.yaml").write_text(yaml.safe_dump(spec))
    lead = {"agent": "lead_agents:edit", "capabilities": ["team.edit"], "layer": "management", "options": options}
    writer = {
        "agent": "amas.agents.model_agent:ModelAgent",
        "capabilities": ["test.writer"],
        "layer": "specialist",
        "tasks_per_agent": 1,
        "options": {"spec": str(folder / "writer.yaml"), "tools": [TOOL]},
    }
    return {"pool": lead, "others": {"writer": writer}, "settings": {"lease_s": 10.0}}


@pytest.mark.requirement("A2", "A5")
@pytest.mark.timeout(500)
async def test_its_team_s_work_is_joined_up_and_no_answer_paid_for_twice(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ledger, go = tmp_path / "ledger", tmp_path / "go"
    monkeypatch.setenv("TOOL_LEDGER", str(tmp_path / "tools"))
    monkeypatch.setenv("PYTHONPATH", str(SAMPLES))
    monkeypatch.setattr(host_bench, "LIMIT_S", 150.0)  # three hosts, each of which imports a model's client
    with model_server([call("word_count", {"text": "a b c"}), text("three")]) as server:
        seats = team(tmp_path, server.url, options={"ledger": str(ledger), "go": str(go)})
        server.hold.add(3)  # the second part's second call
        workflow, task_id = new_id(), new_id()
        opening = WorkflowOpening(workflow, to_blob(None), task_id, Amounts(usd=1.0).units())
        async with host_process(bench, "h1", "lead", **seats) as h1:
            task = TaskSpec(capability="team.edit", workflow_id=workflow)
            await bench.queue.submit([make_submission(task_id, task)], workflow=opening)

            async def in_the_midst() -> bool:
                return len(server.requests) == 4 and await answers_kept(bench) == 3

            await bench.until(in_the_midst)
            h1.send_signal(signal.SIGKILL)
            await h1.wait()
        async with host_process(bench, "h2", "lead", **seats) as h2:
            registry = HostRegistry(bench.engine)

            async def at_work_between_its_team_s_rounds() -> bool:
                await registry.reap()
                return ledger.exists()

            await bench.until(at_work_between_its_team_s_rounds)
            h2.send_signal(signal.SIGKILL)
            await h2.wait()
        go.touch()
        async with host_process(bench, "h3", "lead", **seats):
            results = await ends(bench, [task_id])
        assert (len(results), set(results.values())) == (5, {1}), "the lead and four pieces of work, each once"
        asked = [(request["messages"][0]["content"], turn) for request, turn in zip(server.requests, server.asked(), strict=True)]
        again = [call for call, times in Counter(asked).items() if times > 1]
        assert (len(asked), again) == (9, [asked[3]]), "only the call that was under way was made again"
        assert (tmp_path / "tools").read_text().splitlines() == ["a b c"] * 4
        pids = ledger.read_text().splitlines()
        assert len(set(pids)) == 2, "the parts were joined up by the one that was killed, and by its successor"
        result = (await bench.queue.outcomes([task_id]))[task_id].result
        usage = {"model": "test-model", "calls": 2, "tokens": 240, "usd": 0.004}
        assert result == {key: {"output": "three", "usage": usage} for key in ("news", "sport", "weather", "check")}
        spent = (await Limits(bench.engine).budget(f"workflow/{workflow}")).spent
        assert spent.calls is not None
        assert spent.calls >= len(server.requests), "and each call was announced to the budget"
