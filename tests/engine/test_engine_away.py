"""The one alert that the engine can't keep: that it is away."""

import json
from pathlib import Path

import pytest
from receivers import Receiver

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
