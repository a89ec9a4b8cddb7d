"""A real fleet that is watched by a real OTLP receiver and a real Prometheus.

One trace goes over its processes, from a client's own span to a tool's server; every panel of the dashboards has data.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest
import yaml
from http_served import Whole, bound, running
from model_server import call, model_server, text
from otlp_receiver import OtlpReceiver, Span
from prometheus_server import PROMETHEUS, prometheus, query

from amas.model.trace import TraceContext, parse
from amas.observe import names
from amas.observe.coverage import Empty, empty
from amas.observe.monitoring import Scraping, files
from amas.platforms.local.control import fleet_state, start_fleet
from amas.platforms.local.home import Home
from amas.platforms.local.request import request_for
from amas.remote import Agent, Task

LIMIT_S, PENDING = 120, 202
SAMPLES = Path(__file__).parents[1] / "samples"
CLIENT = TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", True)
UNKEPT = TraceContext("f" * 32, "00f067aa0ba902b7", False)
pytestmark = pytest.mark.requirement("A14")


class Server:
    """A service that a tool calls, and one that is a foreign agent: it keeps which place in a trace each request named."""

    def __init__(self) -> None:
        self.told: dict[str, list[str]] = {}
        self.url = ""
        outer = self

        class Handler(Whole):
            def do_POST(self) -> None:
                self.read()
                outer.told.setdefault(self.path, []).append(self.headers.get("traceparent", ""))
                self.say(200, b"{}")

        self.http = bound(Handler)


@contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    with running(server.http) as server.url:
        yield server


def declare(folder: Path, model_url: str, service_url: str) -> None:
    """Write a fleet of two hosts, with agents of every kind that a trace goes through."""
    about = {"base_url": model_url, "price": {"input": 10.0, "output": 50.0}, "tools": ["model_tools:word_count", "lookup"]}
    writer = {"model": "openai-chat:test-model", "metadata": {"amas": about}}
    (folder / "writer.yaml").write_text(yaml.safe_dump(writer))
    granted = {"tools": ["lookup"], "options": {"spec": str(folder / "writer.yaml"), "tools": ["model_tools:word_count"]}}
    fleet = {
        "name": "traced",
        "hosts": 2,
        "remote": {"agents": "listed", "capabilities": ["traced.far"]},
        "tools": {
            "lookup": {
                "about": "Look a word up.",
                "http": {"url": f"{service_url}/tool", "method": "POST", "private": True},
                "parameters": {"word": "string"},
            },
            "place": {"mcp": {"command": [sys.executable, str(SAMPLES / "mcp_server.py"), "stdio", str(folder)]}},
        },
        "pools": [
            {"name": "chief", "layer": "executive", "agent": "traced_fleet:chief", "capabilities": ["traced.chief"]},
            {
                "name": "colleague",
                "agent": "traced_fleet:Colleague",
                "capabilities": ["traced.colleague"],
                "lead": "chief",
                "replicas": 2,
            },
            {
                "name": "boxed",
                "agent": "traced_fleet:boxed",
                "capabilities": ["traced.boxed"],
                "lead": "chief",
                "isolation": "process",
                "tools": ["place"],
            },
            {
                "name": "foreign",
                "capabilities": ["traced.foreign"],
                "lead": "chief",
                "http": {"url": f"{service_url}/agent", "private": True},
            },
            {
                "name": "writer",
                "agent": "amas.agents.model_agent:ModelAgent",
                "capabilities": ["test.model"],
                "lead": "chief",
                **granted,
            },
        ],
    }
    (folder / "fleet.yaml").write_text(yaml.safe_dump(fleet))


async def work(url: str) -> tuple[list[Any], list[str]]:
    """Submit one task within the client's own span and one in a trace that isn't kept; return results, and what was far away."""
    far, places = Agent("far", url=url), list[str]()

    @far.can("traced.far")
    async def away(task: Task) -> str:
        places.append(task.traceparent)
        return "done far away"

    results = []
    async with httpx.AsyncClient(base_url=url, timeout=LIMIT_S) as client, asyncio.TaskGroup() as group:
        serving = group.create_task(far.serve())
        for place in (CLIENT, UNKEPT):
            task = {"capability": "traced.chief", "title": "all", "input": {}}
            made = await client.post("/api/tasks", json=task, headers={"traceparent": str(place)})
            assert made.status_code == 201, made.text
            result = f"/api/tasks/{made.json()['id']}/result"
            while (answer := await client.get(result, params={"wait": 30})).status_code == PENDING:
                pass
            assert answer.status_code == 200, answer.text
            results.append(answer.json()["result"])
        many = await client.post("/api/tasks/batch", json=[{"capability": "traced.colleague"}] * 30)
        assert many.status_code == 201, many.text
        assert (await client.get("/api/tasks/none")).status_code == 404
        far.stop()
        await serving
    return results, places


def kept(places: list[str]) -> list[str]:
    """Return where work that is told of stood; that of the other trace stood somewhere in that, and not to be kept."""
    told, other = places
    found = parse(other)
    assert found is not None and (found.trace_id, found.sampled) == (UNKEPT.trace_id, False)
    return [told]


def path_of(span: Span, by_id: dict[str, Span]) -> list[str]:
    """Return the names of a span and of what it is part of, up to the client's own."""
    names = [span.name]
    while (parent := by_id.get(span.parent_id)) is not None:
        names.append(parent.name)
        span = parent
    assert span.parent_id == CLIENT.span_id, f"{names} hangs in the air"
    return names


class Ran(NamedTuple):
    """What came of a fleet's run."""

    spans: OtlpReceiver
    service: Server
    results: list[Any]
    places: list[str]
    logged: list[dict[str, Any]]
    empty: list[Empty]
    """What Prometheus had no data for."""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Run a fleet once, watched by an OTLP receiver and, where this machine has one, by Prometheus."""
    folder = tmp_path_factory.mktemp("traced")
    answers = [call("word_count", {"text": "one two"}), call("lookup", {"word": "two"}, "call_2"), text("two words")]
    home = Home(folder / "home")
    with OtlpReceiver() as receiver, model_server(answers) as model, serving() as service, pytest.MonkeyPatch.context() as patch:
        declare(folder, model.url, service.url)
        patch.setenv("ORCHESTRATION_ENABLE_TRACING", "true")
        patch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", receiver.url)
        patch.setenv("OTEL_TRACES_SAMPLER_ARG", "0")  # of what begins here, such as the remote agent's calls, none
        patch.setenv("PYTHONPATH", str(SAMPLES))
        patch.setenv("OPENAI_API_KEY", "none")
        fleet = asyncio.run(start_fleet(request_for(str(folder / "fleet.yaml"), home, ports=(0, 0))))
        try:
            state = fleet_state(home.folder)
            with watching(folder / "prometheus", state.metrics_port) as url:
                results, places = asyncio.run(work(state.api_url))
                missing = empty_panels(url) if url else []
        finally:
            asyncio.run(fleet.stop())
    logged = [json.loads(line) for path in home.logs.glob("host*.jsonl") for line in path.read_text().splitlines()]
    return Ran(receiver, service, results, places, logged, missing)


@contextmanager
def watching(folder: Path, metrics_port: int) -> Iterator[str]:
    """Have Prometheus scrape the fleet by the files that `amas monitoring write` writes, oftener; "" where there is none."""
    if PROMETHEUS is None:
        yield ""
        return
    folder.mkdir()
    for name, told in files(Scraping((f"127.0.0.1:{metrics_port}",))):
        if not name.startswith("dashboards/"):
            (folder / name).write_text(told.replace("15s", "500ms"))
    with prometheus(folder) as url:
        while not query(url, f"{names.ENGINE_UP} == 1"):  # what is counted from here on grows
            time.sleep(0.2)
        yield url


def empty_panels(url: str) -> list[Empty]:
    """Return what has no data, once nothing else is missing than what needs an event, or after long enough."""
    give_up_at = time.monotonic() + LIMIT_S
    while True:
        found = empty(lambda expression: any(each["value"][1] != "NaN" for each in query(url, expression)))
        if not any(unexplained(found)) or time.monotonic() > give_up_at:
            return found
        time.sleep(0.5)


MAY_BE_MISSING = {
    "a goal to be planned",
    "an agent to get a task of a goal's plan",
    "something to fail and be made good",
    "a back-up to be taken",
    "an alert to be raised",
    "the autoscaler to change a pool's size",
    "an agent with a report_metrics of its own",
}
"""What doesn't happen in a fleet that is well, has no goal, and whose agents tell nothing of themselves."""


def unexplained(found: list[Empty]) -> list[Empty]:
    return [each for each in found if each.waits_for not in MAY_BE_MISSING]


@pytest.mark.skipif(PROMETHEUS is None, reason="this machine has no Prometheus")
@pytest.mark.requirement("A13", "B10")
def test_every_panel_and_rule_sees_a_fleet_at_work(ran: Ran) -> None:
    assert unexplained(ran.empty) == []


def test_one_trace_goes_through_every_process(ran: Ran) -> None:
    receiver = ran.spans
    assert {span.trace_id for span in receiver.spans} == {CLIENT.trace_id}, "nobody tells of what isn't kept"
    by_id = {span.span_id: span for span in receiver.spans}
    assert len(by_id) == len(receiver.spans), "each was told once"
    paths = {found[0]: found[1:] for found in (path_of(span, by_id) for span in receiver.spans)}
    check_work(paths, receiver)
    check_tools(paths, receiver, ran.results, ran.service)
    check_elsewhere(receiver, ran.results, ran.places, ran.service)
    begun = [line["trace_id"] for line in ran.logged if line["message"] == "begins"]
    assert Counter(begun) == {CLIENT.trace_id: 2, UNKEPT.trace_id: 2}, "each task had two attempts"


AT_TOP = ["task all", "POST /api/tasks"]


def check_work(paths: dict[str, list[str]], receiver: OtlpReceiver) -> None:
    """From the client's span to the model, over the control plane, two hosts and what agents sent each other."""
    assert paths["POST /api/tasks"] == [] and paths["task all"] == AT_TOP[1:]
    for key in ("text", "boxed", "foreign", "far"):
        assert paths[f"task {key}"] == AT_TOP, "a sub-task is its parent's child"
    assert paths["chat test-model"][1:] == ["invoke_agent writer", "task text", *AT_TOP]
    (sent,), (heard,) = receiver.named("send message"), receiver.named("process message share_findings")
    assert (sent.kind, heard.kind, heard.parent_id) == ("PRODUCER", "CONSUMER", sent.span_id)
    parts = {(span.resource["amas.part"], span.resource["service.instance.id"]) for span in receiver.spans}
    assert {part for part, _ in parts} == {"control_plane", "host"} and len(parts) == 3, "the control plane and both hosts"


def check_tools(paths: dict[str, list[str]], receiver: OtlpReceiver, results: list[Any], service: Server) -> None:
    """Each use is one span, called like the tool, which the tool's server is told of."""
    assert paths["execute_tool word_count"] == paths["execute_tool lookup"] == ["invoke_agent writer", "task text", *AT_TOP]
    assert paths["execute_tool place/told"] == ["invoke_agent boxed", "task boxed", *AT_TOP]
    (counted,), (looked_up,), (asked,) = (receiver.named(f"execute_tool {n}") for n in ("word_count", "lookup", "place/told"))
    for span, call_id, kind in ((counted, "call_1", "function"), (looked_up, "call_2", "extension"), (asked, None, "extension")):
        said = {name: value for name, value in span.attributes.items() if name.startswith("gen_ai.")}
        called = {"gen_ai.tool.call.id": call_id} if call_id else {}
        tool = span.name.removeprefix("execute_tool ")
        assert said == {"gen_ai.operation.name": "execute_tool", "gen_ai.tool.name": tool, "gen_ai.tool.type": kind, **called}
    assert kept(service.told["/tool"]) == [str(CLIENT._replace(span_id=looked_up.span_id))]
    assert kept([result["boxed"][0] for result in results]) == [str(CLIENT._replace(span_id=asked.span_id))]


def check_elsewhere(receiver: OtlpReceiver, results: list[Any], places: list[str], service: Server) -> None:
    """An isolated agent, a foreign one and a remote one know their attempts' spans and can go on with them."""

    def attempt(task: str) -> str:
        (above,) = receiver.named(f"task {task}")
        (found,) = (
            span for span in receiver.spans if span.parent_id == above.span_id and span.attributes.get("amas.task.attempt") == 1
        )
        return str(CLIENT._replace(span_id=found.span_id))

    assert kept([result["boxed"][1] for result in results]) == [attempt("boxed")]
    assert kept(service.told["/agent"]) == [attempt("foreign")]
    assert kept(places) == [attempt("far")]
    (far,) = (span for span in receiver.spans if span.attributes.get("gen_ai.agent.id") == "remote.far")
    assert (far.resource["amas.part"], far.attributes["amas.outcome"]) == ("control_plane", "succeeded")
