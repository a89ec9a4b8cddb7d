"""Probes, agents, logs, figures and metrics over HTTP."""

import json
from pathlib import Path

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from amas.engine.connection import Engine
from amas.engine.hosts import HostAbout, HostFigures
from amas.observe import names
from amas.server.plane import ControlPlane
from amas.server.serve import metrics_app

from .conftest import WORK, client_of, make_plane


@pytest.mark.requirement("A10")
async def test_the_probes_say_what_is_not_ready(client, plane: ControlPlane, hands) -> None:
    for path in ("/health/orchestration", "/health"):
        assert (await client.get(path)).status_code == 200
    for path in ("/ready/orchestration", "/ready", "/api/health"):
        answer = await client.get(path)
        assert (answer.status_code, answer.json()["ready"]) == (200, True)
    await plane.hosts.leave("h1")
    async with client_of(make_plane(plane.engine, plane.records, plane.home)) as fresh:
        answer = await fresh.get("/ready/orchestration")
    assert (answer.status_code, answer.json()["code"]) == (503, "not_ready")
    assert answer.json()["errors"] == [{"detail": "hosts: no host is live: nothing would take a task"}]
    assert "retry-after" in answer.headers


@pytest.mark.requirement("A10")
async def test_without_an_engine_it_lives_but_is_not_ready(plane: ControlPlane, tmp_path: Path) -> None:
    async with (
        Engine(f"unix://{tmp_path}/nobody.sock") as nowhere,
        client_of(make_plane(nowhere, plane.records, tmp_path)) as client,
    ):
        assert (await client.get("/health/orchestration")).status_code == 200
        ready = await client.get("/ready/orchestration")
        assert [fault["detail"].split(":")[0] for fault in ready.json()["errors"]] == ["engine", "hosts"]
        for method, path in (("GET", "/api/tasks/x"), ("GET", "/api/agents"), ("GET", "/api/metrics"), ("GET", "/api/events")):
            answer = await client.request(method, path)
            assert (answer.status_code, answer.json()["code"]) == (503, "engine_unreachable"), path
            assert int(answer.headers["retry-after"]) > 0
        submitted = await client.post("/api/tasks", json={"capability": WORK})
        assert submitted.status_code == 503
        assert (await client.get("/api/workflows")).status_code == 200  # history needs no engine


@pytest.mark.requirement("B2", "B9")
async def test_agents_are_listed_filtered_and_paged(client, plane: ControlPlane, hands) -> None:
    await client.post("/api/tasks", json={"capability": WORK})
    (claimed,) = await hands.claim(agent="worker-2")
    figures = HostFigures(succeeded={"worker": 4}, failed={"worker": 1}, troubled=("coordinator-1",))
    await plane.hosts.renew("h1", figures, lease_s=60)
    page = (await client.get("/api/agents", params={"limit": 2})).json()
    rest = (await client.get("/api/agents", params={"limit": 2, "cursor": page["next"]})).json()
    agents = {agent["agent_id"]: agent for agent in page["items"] + rest["items"]}
    assert list(agents) == ["coordinator-1", "worker-1", "worker-2"]
    assert (page["total"], rest["next"]) == (3, None)
    assert {name: agent["status"] for name, agent in agents.items()} == {
        "coordinator-1": "error",
        "worker-1": "idle",
        "worker-2": "working",
    }
    assert agents["worker-2"]["current_tasks"] == [claimed.id]
    assert (agents["worker-1"]["tasks_succeeded"], agents["worker-1"]["tasks_failed"]) == (None, None)
    for filters, expected in (
        ({"status": "working"}, ["worker-2"]),
        ({"pool": "worker"}, ["worker-1", "worker-2"]),
        ({"layer": "executive"}, ["coordinator-1"]),
        ({"capability": WORK}, ["worker-1", "worker-2"]),
        ({"host": "h1", "status": "idle"}, ["worker-1"]),
        ({"host": "h2"}, []),
        ({"cursor": "worker-1"}, ["worker-2"]),
    ):
        found = (await client.get("/api/agents", params=filters)).json()
        assert [agent["agent_id"] for agent in found["items"]] == expected
        assert "cursor" in filters or found["total"] == len(expected)
    (coordinator, worker) = (await client.get("/api/pools")).json()["items"]
    assert (coordinator["pool"], coordinator["agents"]["error"], coordinator["hosts"]) == ("coordinator", 1, ["h1"])
    assert worker["agents"] == {"total": 2, "idle": 1, "working": 1, "error": 0, "healing": 0}
    assert (worker["tasks_succeeded"], worker["tasks_failed"], worker["slots"]) == (4, 1, 4)
    assert (await client.get("/api/agents/nobody")).json()["code"] == "agent_unknown"
    assert (await client.get("/api/agents", params={"status": "asleep"})).json()["errors"][0]["parameter"] == "status"


@pytest.mark.requirement("B9")
async def test_what_one_agent_has_done_comes_from_the_records(client, hands) -> None:
    for _ in range(4):
        await client.post("/api/tasks", json={"capability": WORK})
    for _ in range(2):
        await hands.finish((await hands.claim())[0], 1)
    await hands.fail((await hands.claim())[0], "gave_up", "no")
    await hands.fail((await hands.claim(agent="worker-2"))[0], "gave_up", "no")
    await hands.record()
    agent = (await client.get("/api/agents/worker-1")).json()
    assert (agent["tasks_succeeded"], agent["tasks_failed"], agent["status"]) == (2, 1, "idle")


@pytest.mark.requirement("B9")
async def test_an_agent_s_log_is_the_tail_of_what_hosts_wrote(client, plane: ControlPlane, hands) -> None:
    folder = plane.home / "logs"
    folder.mkdir()
    lines = [
        {"timestamp": f"2026-01-01T00:00:{n:02}Z", "agent_id": f"worker-{1 + n % 2}", "event": f"line {n}"} for n in range(20)
    ]
    text = "\n".join(json.dumps(line) for line in lines)
    (folder / "h1.jsonl").write_text(f'not json\n{text}\n{{"agent_id": "worker-1", "half')
    answer = (await client.get("/api/agents/worker-1/logs", params={"limit": 3})).json()
    assert [line["event"] for line in answer["lines"]] == ["line 14", "line 16", "line 18"]
    assert answer["truncated"] is True
    assert (await client.get("/api/agents/coordinator-1/logs")).json()["lines"] == []
    assert (await client.get("/api/agents/nobody/logs")).json()["code"] == "agent_unknown"


@pytest.mark.requirement("B9", "B10")
async def test_figures_are_true_or_null(client, hands) -> None:
    for _ in range(4):
        await client.post("/api/tasks", json={"capability": WORK})
    await hands.finish((await hands.claim())[0], 1)
    await hands.fail((await hands.claim())[0], "gave_up", "no")
    await hands.claim()
    figures = (await client.get("/api/metrics")).json()
    assert figures["agents"] == {"total": 3, "idle": 2, "working": 1, "error": 0, "healing": 0}
    tasks = figures["tasks"]
    assert (tasks["succeeded"], tasks["failed"], tasks["running"], tasks["queued"]) == (1, 1, 1, {WORK: 1})
    assert (figures["success_rate"], figures["tasks_per_second"], figures["average_response_s"]) == (0.5, None, None)
    assert figures["recorder_lag_s"] > 0
    await hands.record()
    after = (await client.get("/api/metrics")).json()
    assert after["recorder_lag_s"] == 0
    assert after["average_response_s"] is not None
    analytics = (await client.get("/api/analytics", params={"hours": 1})).json()
    assert (analytics["total"]["succeeded"], analytics["total"]["failed"]) == (1, 1)
    assert analytics["capabilities"][0]["name"] == WORK


async def scrape(plane: ControlPlane) -> dict[str, float]:
    transport = httpx.ASGITransport(metrics_app(plane))
    async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:9090") as prometheus:
        page = await prometheus.get("/metrics")
    assert page.status_code == 200
    return {
        sample.name + "".join(f"|{value}" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(page.text)
        for sample in family.samples
    }


@pytest.mark.requirement("A12")
async def test_the_metrics_page_has_the_required_names_with_true_values(client, plane: ControlPlane, hands) -> None:
    await client.post("/api/goals", json={"text": "x"})
    for _ in range(3):
        await client.post("/api/tasks", json={"capability": WORK})
    await hands.finish((await hands.claim())[0], 1)
    await plane.recoveries.note("host_lost", "h9", since_ms=plane.engine.now_ms() - 6200, tasks=2)
    found = await scrape(plane)
    assert found[names.ACTIVE_WORKFLOWS] == 1
    assert found[names.ACTIVE_AGENTS] == 3
    assert found[names.MESSAGE_QUEUE_DEPTH] == 0
    duration, lost, never = names.RECOVERY_DURATION, "host_lost", "agent_stuck"
    assert (found[f"{duration}_count|{lost}"], found[f"{duration}_bucket|{lost}|7.5"], found[f"{duration}_count|{never}"]) == (
        1,
        1,
        0,
    )
    assert found[f"{duration}_bucket|{lost}|5.0"] == 0
    for name in (names.DECOMPOSITION_DURATION, names.ASSIGNMENT_DURATION, names.MESSAGE_LATENCY):
        assert found[f"{name}_count"] == 0
    assert found[f"{names.TASKS}_total|succeeded"] == 1
    assert found[f"{names.TASKS_QUEUED}|{WORK}"] == 2
    assert found[f"{names.TASKS_QUEUED}|@worker"] == 0
    assert (found[names.HOSTS], found[names.ENGINE_UP]) == (1, 1)
    assert found[names.RECORDER_LAG] > 0
    assert found[f"{names.HTTP_DURATION}_count|POST|/api/tasks|201"] == 3


@pytest.mark.requirement("A12")
async def test_the_required_names_are_letter_for_letter(plane: ControlPlane, hands) -> None:
    found = {name.partition("|")[0] for name in await scrape(plane)}
    gauges = "active_workflows", "active_agents", "message_queue_depth"
    histograms = (
        "task_decomposition_duration", "agent_assignment_duration", "message_latency", "failure_recovery_duration",
    )  # fmt: skip
    assert {f"orchestration_{name}" for name in gauges} | {f"orchestration_{name}_bucket" for name in histograms} <= found


@pytest.mark.requirement("B2")
async def test_what_agents_tell_is_shown_by_pool_over_all_hosts(client, plane: ControlPlane, hands) -> None:
    await plane.hosts.register("h2", HostAbout(1, "there", "1", hands.cards), lease_s=60)
    await plane.hosts.renew("h1", HostFigures(own={"worker": {"lines": 3.0}}), lease_s=60)
    await plane.hosts.renew("h2", HostFigures(own={"worker": {"lines": 4.0, "pages": 1.0}, "gone": {"x": 1.0}}), lease_s=60)
    metrics = {pool["pool"]: pool["metrics"] for pool in (await client.get("/api/pools")).json()["items"]}
    assert metrics == {"worker": {"lines": 7.0, "pages": 1.0}, "coordinator": {}}
    told = {name: value for name, value in (await scrape(plane)).items() if name.startswith(names.AGENTS_TOLD)}
    assert told == {"amas_agents_told|lines|worker": 7.0, "amas_agents_told|pages|worker": 1.0}


@pytest.mark.requirement("A12")
async def test_metrics_without_an_engine_are_absent(plane: ControlPlane, tmp_path: Path) -> None:
    async with Engine(f"unix://{tmp_path}/nobody.sock") as nowhere:
        found = await scrape(make_plane(nowhere, plane.records, tmp_path))
    assert found[names.ENGINE_UP] == 0
    assert names.ACTIVE_WORKFLOWS not in found
