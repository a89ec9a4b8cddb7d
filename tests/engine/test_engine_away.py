"""The one alert that the engine can't keep: that it is away."""

import json
from pathlib import Path

import pytest
from receivers import ALERTMANAGER, Receiver, alertmanager, get_json

from amas.controllers.engine_away import EngineAway
from amas.engine.connection import Engine
from amas.engine.embedded import EmbeddedEngine
from amas.model.alerts import AlertsSpec, Webhook
from amas.model.fleet import FleetSpec
from amas.observe.logging import open_log
from amas.settings import AlertSettings


def fleet_of(*hooks: Webhook) -> FleetSpec:
    return FleetSpec(name="small", pools=(), alerts=AlertsSpec(webhooks=hooks))


async def test_a_control_plane_tells_that_the_engine_is_away_and_that_it_is_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("amas.observe.logging._of_process", open_log(tmp_path / "log.jsonl"))
    server = EmbeddedEngine(tmp_path)
    await server.start()
    with Receiver() as receiver, Receiver() as late:
        late.status = 503
        hooks = [Webhook(name=name, url=of.url) for name, of in (("ops", receiver), ("late", late))]
        quiet = Webhook(name="quiet", url=receiver.url, severities=("info",))
        async with Engine(server.url) as engine:
            patient = EngineAway(engine, lambda: fleet_of(*hooks), AlertSettings(), after_s=3600)
            watch = EngineAway(engine, lambda: fleet_of(*hooks, quiet), AlertSettings(), after_s=0)
            await watch.run_once()
            assert receiver.posts == [], "it answers"
            await server.stop()
            for _ in range(3):
                await watch.run_once()
                await patient.run_once()
            assert [post.json["status"] for post in receiver.posts] == ["firing"], "once"
            told = receiver.posts[0].json
            assert (told["alert"], told["severity"], told["labels"]) == ("EngineAway", "critical", {"engine": server.url})
            assert len(late.posts) == 3, "it is tried again"
            await server.start()
            await watch.run_once()
            await watch.run_once()
        assert [post.json["status"] for post in receiver.posts] == ["firing", "resolved"]
        assert len(late.posts) == 3, "who hasn't heard of the beginning isn't told of the end"
        assert receiver.posts[0].headers["webhook-id"] != receiver.posts[1].headers["webhook-id"]
    await server.stop()
    logged = [json.loads(line)["event"] for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [event for event in logged if event.startswith("alert")] == ["alert_fired", "alert_resolved"]


async def test_alertmanager_is_told_again_and_again_until_the_end(tmp_path: Path) -> None:
    server = EmbeddedEngine(tmp_path)
    with Receiver() as receiver:
        receiver.status = 503
        async with Engine(server.url) as engine:
            settings = AlertSettings(alertmanager_url=receiver.url)
            often = EngineAway(engine, lambda: fleet_of(), settings, after_s=0, resend_s=0)
            rarely = EngineAway(engine, lambda: fleet_of(), settings, after_s=0)
            await often.run_once()
            receiver.status = 200
            for _ in range(3):
                await often.run_once()
            assert len(receiver.posts) == 4, "a failure is tried again, and a success is said again"
            for _ in range(3):
                await rarely.run_once()
            assert len(receiver.posts) == 5, "but no more than once in a while"
            assert {post.path for post in receiver.posts} == {"/hook/api/v2/alerts"}
            labels = {"alertname": "EngineAway", "severity": "critical", "engine": server.url, "fleet": "small"}
            first, *_, last = [post.json[0] for post in receiver.posts[:4]]
            assert first["labels"] == last["labels"] == labels
            assert first["startsAt"] == last["startsAt"] < first["endsAt"] <= last["endsAt"]
            await server.start()
            for _ in range(2):
                await often.run_once()
            assert len(receiver.posts) == 6, "the end is said once"
            ended = receiver.posts[-1].json[0]
            assert (ended["labels"], ended["annotations"]["description"]) == (labels, "it answers again")
            assert ended["endsAt"] < last["endsAt"]
    await server.stop()


@pytest.mark.skipif(ALERTMANAGER is None, reason="prometheus-alertmanager isn't installed")
async def test_a_real_alertmanager_shows_that_the_engine_is_away(tmp_path: Path) -> None:
    server = EmbeddedEngine(tmp_path / "engine")
    with alertmanager(tmp_path) as url:
        async with Engine(server.url) as engine:
            watch = EngineAway(engine, lambda: fleet_of(), AlertSettings(alertmanager_url=url), after_s=0)
            await watch.run_once()
            (alert,) = get_json(f"{url}/api/v2/alerts")
            assert alert["labels"]["alertname"] == "EngineAway"
            await server.start()
            await watch.run_once()
            assert get_json(f"{url}/api/v2/alerts") == []
    await server.stop()
