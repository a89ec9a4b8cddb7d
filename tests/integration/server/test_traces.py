"""Traces from a request to a model's answer, told to a real OTLP receiver by OpenTelemetry's own exporter."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import traced_agents
import yaml
from host_bench import Bench
from model_server import call, model_server, text
from otlp_receiver import OtlpReceiver, Span

from amas.client import Fleet, NewTask
from amas.controllers.cron import Cron
from amas.controllers.figures import Figures
from amas.controllers.recorder import Recorder
from amas.engine.connection import Engine
from amas.engine.schedules import Schedules
from amas.errors import SettingInvalid
from amas.messages.fleet_bus import fleet_bus
from amas.model.fleet import FleetSpec, PoolSpec
from amas.model.goal import Goal
from amas.model.schedule import Schedule, ScheduledTask
from amas.model.states import Layer
from amas.model.trace import TraceContext, parse, span_of
from amas.observe.tracing import open_tracing, tracing_of, within
from amas.records.store import Records
from amas.server.plane import ControlPlane
from amas.settings import MessageSettings, ServerSettings

from .conftest import ROOT, WORK, Hands, client_of

pytestmark = pytest.mark.requirement("A14")
SETTINGS = MessageSettings(secret="a-secret-of-the-fleet")
PARENT = TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", True)


@contextmanager
def traced(monkeypatch: pytest.MonkeyPatch, receiver: OtlpReceiver, **more: str) -> Iterator[None]:
    """Have this process tell its spans; they are all there after the block."""
    monkeypatch.setenv("ORCHESTRATION_ENABLE_TRACING", "true")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
    for name, value in more.items():
        monkeypatch.setenv(name, value)
    with tracing_of("host", "h1"):
        yield


def pool(name: str, code: str, **more: object) -> PoolSpec:
    fields = {"agent": f"traced_agents:{code}", "capabilities": (f"traced.{code}",), "lead": "lead"}
    return PoolSpec(**{"name": name, **fields, **more})  # type: ignore[arg-type]


def fleet(folder: Path, model_url: str) -> FleetSpec:
    path = folder / "writer.yaml"
    about = {"base_url": model_url, "price": {"input": 10.0, "output": 50.0}, "tools": ["model_tools:word_count"]}
    path.write_text(yaml.safe_dump({"model": "openai-chat:test-model", "metadata": {"amas": about}}))
    options = {"spec": str(path), "tools": ["model_tools:word_count"]}
    writer = pool("writer", "", agent="amas.agents.model_agent:ModelAgent", capabilities=("test.model",), options=options)
    pools = (pool("lead", "lead", layer=Layer.EXECUTIVE, lead=""), pool("failing", "fails"), pool("listener", "Listener"), writer)
    return FleetSpec(name="traced", pools=pools)


async def run_one(bench: Bench, plane: ControlPlane) -> None:
    """Submit a flow as part of `PARENT`, and wait until its end is recorded and its message heard."""
    recorder = Recorder(plane.journal, plane.records, Figures())
    async with client_of(plane) as client, bench.host(plane.fleet.pools):
        flow = {
            "name": "it",
            "tasks": [{"key": "top", "capability": "traced.lead"}, {"key": "bad", "capability": "traced.fails"}],
        }
        started = await client.post("/api/workflows", json={"flow": flow}, headers={"traceparent": str(PARENT)})
        workflow_id = started.json()["workflow_id"]

        async def over() -> bool:
            await recorder.run_once(wait_ms=50)
            found = await plane.records.workflow(workflow_id)
            return found is not None and found.state.terminal and traced_agents.Listener.heard > 0

        await bench.until(over)
        shown = (await client.get(f"/api/workflows/{workflow_id}")).json()
        detail = (await client.get(f"/api/tasks/{shown['tasks'][0]['id']}")).json()
        assert detail["trace_id"] == PARENT.trace_id


def above(span: Span, by_id: dict[str, Span]) -> list[str]:
    """Return the names of a span's parents, up to the request."""
    names = []
    while (parent := by_id.get(span.parent_id)) is not None:
        span = parent
        names.append(span.name)
    assert span.parent_id == PARENT.span_id, "nothing hangs in the air"
    return names


async def test_a_request_is_one_trace_down_to_the_model(
    engine: Engine, engine_url: str, records: Records, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = Bench(engine, engine_url, tmp_path)
    bench.secret = SETTINGS.secret
    traced_agents.Listener.heard = 0
    answers = [call("word_count", {"text": "one two"}), text("two words")]
    with OtlpReceiver() as receiver, model_server(answers) as server:
        spec = fleet(tmp_path, server.url)
        bench.bus = lambda of, agents: fleet_bus(of, spec, SETTINGS, agents=agents)
        with traced(monkeypatch, receiver):
            await run_one(bench, ControlPlane(engine, records, spec, ServerSettings(), tmp_path))
    by_id = {span.span_id: span for span in receiver.spans}
    assert {span.trace_id for span in receiver.spans} == {PARENT.trace_id}
    assert len(by_id) == len(receiver.spans), "each was told once"
    check_work(receiver, by_id)
    check_model(receiver, by_id)


def check_work(receiver: OtlpReceiver, by_id: dict[str, Span]) -> None:
    at_top = ["task top", "invoke_workflow", "POST /api/workflows"]
    assert above(receiver.named("step look")[0], by_id) == ["invoke_agent lead", *at_top]
    (sent,), (heard,) = receiver.named("send message"), receiver.named("process message share_findings")
    assert above(sent, by_id) == ["invoke_agent lead", *at_top], "the first attempt was suspended for its sub-task"
    assert (heard.parent_id, heard.kind, heard.attributes["gen_ai.agent.id"]) == (sent.span_id, "CONSUMER", "listener-1")
    (top,), (child,), (bad,) = receiver.named("task top"), receiver.named("task text"), receiver.named("task bad")
    assert top.span_id == span_of(top.attributes["amas.task.id"])
    assert top.start_ns <= child.start_ns <= child.end_ns <= top.end_ns
    assert (bad.error, top.error) == ("gave_up: there is nothing to do", "")
    assert (top.resource["service.name"], top.resource["amas.part"]) == ("amas", "host")


def check_model(receiver: OtlpReceiver, by_id: dict[str, Span]) -> None:
    first, second = receiver.named("chat test-model")
    path = above(first, by_id)
    assert path == ["step model/1", "invoke_agent writer", "task text", "task top", "invoke_workflow", "POST /api/workflows"]
    assert above(second, by_id) == ["step model/2", *path[1:]]
    said = {
        "operation.name": "chat",
        "provider.name": "openai",
        "request.model": "test-model",
        "response.model": "test-model",
        "usage.input_tokens": 100,
        "usage.output_tokens": 20,
    }
    for span, number, reason in ((first, 0, "tool_call"), (second, 1, "stop")):
        answered = {"response.id": f"chat-{number}", "response.finish_reasons": [reason]}
        assert {name.removeprefix("gen_ai."): value for name, value in span.attributes.items()} == {**said, **answered}
        assert span.kind == "CLIENT"
    (tool,) = (span for span in by_id.values() if span.attributes.get("gen_ai.operation.name") == "execute_tool")
    assert (tool.attributes["gen_ai.tool.call.id"], above(tool, by_id)) == ("call_1", path[1:])
    assert (tool.attributes["gen_ai.tool.type"], tool.kind) == ("function", "INTERNAL")
    (workflow,) = receiver.named("invoke_workflow")
    assert (workflow.attributes["amas.goal"], workflow.attributes["gen_ai.operation.name"]) == ("it", "invoke_workflow")
    attempt = by_id[by_id[first.parent_id].parent_id]
    assert (attempt.attributes["gen_ai.provider.name"], attempt.kind) == ("amas", "INTERNAL")
    assert (attempt.attributes["gen_ai.agent.id"], attempt.attributes["amas.host.id"]) == ("writer-1", "h1")


async def test_one_trace_in_ten_is_kept_and_the_rest_costs_tasks_nothing(
    plane: ControlPlane, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OTEL_TRACES_SAMPLER_ARG", raising=False)
    with OtlpReceiver() as receiver, traced(monkeypatch, receiver):
        async with client_of(plane) as client:
            for _ in range(200):
                assert (await client.post("/api/tasks", json={"capability": WORK})).status_code == 201
                await client.get("/api/health")
        claimed = await hands.claim(limit=200)
    kept = [each for each in claimed if each.spec.traceparent]
    assert 2 <= len(kept) <= 60, "about twenty; so far off by chance once in millions of runs"
    assert {span.trace_id for span in receiver.spans} == {parse(each.spec.traceparent).trace_id for each in kept}  # type: ignore[union-attr]
    assert {span.name for span in receiver.spans} == {"POST /api/tasks"}
    assert all(each.spec.submitted_ms == 0 for each in claimed if not each.spec.traceparent)


async def test_what_a_schedule_submits_is_a_trace_of_its_own(
    plane: ControlPlane, hands: Hands, monkeypatch: pytest.MonkeyPatch
) -> None:
    schedules, goal = Schedules(plane.engine), Goal(text="review it")
    for name, what in (("one", {"task": ScheduledTask(capability=WORK)}), ("two", {"goal": goal})):
        await schedules.put(Schedule(name=name, cron="0 3 * * *", **what), next_ms=plane.queue.now_ms() - 1)
    with OtlpReceiver() as receiver, traced(monkeypatch, receiver, OTEL_TRACES_SAMPLER="always_on"):
        await Cron(schedules, Figures(), limits=plane.fleet.limits).run_once()
    for name, queue in (("one", WORK), ("two", ROOT)):
        (fired,), (claimed,) = receiver.named(f"schedule {name}"), await hands.claim(queue)
        assert parse(claimed.spec.traceparent) == TraceContext(fired.trace_id, fired.span_id, True)
        assert (fired.parent_id, fired.attributes) == ("", {"amas.schedule": name}) and claimed.spec.submitted_ms > 0


async def test_a_trace_goes_through_where_nobody_traces(plane: ControlPlane, hands: Hands, engine_url: str) -> None:
    """What others began is carried, by the API and by the client; what isn't a trace is none."""
    unkept = str(PARENT._replace(sampled=False))
    async with client_of(plane) as client:
        for given in (str(PARENT), unkept, "00-nonsense", "ff-" + str(PARENT)[3:]):
            await client.post("/api/tasks", json={"capability": WORK}, headers={"traceparent": given})
    cell = plane.engine.prefix.removeprefix("amas:{").removesuffix("}")
    async with Fleet.connect(engine_url, cell=cell) as fleet:
        with within(str(PARENT)):
            await fleet.submit(WORK)
            await fleet.submit_batch([NewTask(capability=WORK)])
        await fleet.submit(WORK)
    said = [each.spec.traceparent for each in await hands.claim(limit=10)]
    assert said == [str(PARENT), unkept, "", "", str(PARENT), str(PARENT), ""]


async def test_a_receiver_that_is_away_holds_nobody_up(plane: ControlPlane, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORCHESTRATION_ENABLE_TRACING", "true")
    monkeypatch.setenv("OTEL_TRACES_SAMPLER", "always_on")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    with tracing_of("control_plane", "p1"):
        async with client_of(plane) as client:
            answer = await client.post("/api/tasks", json={"capability": WORK})
            assert answer.status_code == 201
    assert await plane.queue.task(answer.json()["id"]) is not None


def test_without_the_extra_the_way_out_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with pytest.raises(SettingInvalid, match=r"pip install 'amas\[tracing\]'"):
        open_tracing("host", "h1", {"ORCHESTRATION_ENABLE_TRACING": "true"})
    assert open_tracing("host", "h1", {}) is None
    code = "import sys, amas.observe.tracing as t; t.open_tracing('host', 'h'); print('opentelemetry' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout == "False\n", "who doesn't trace doesn't load it"
