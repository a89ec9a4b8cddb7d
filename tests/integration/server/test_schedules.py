"""Schedules over HTTP: put, looked at, paused, fired, dropped, and refused with a sentence."""

from typing import Any

import httpx
import msgspec
import pytest
from tests.integration.server.conftest import Hands

from amas.controllers.cron import Cron
from amas.controllers.figures import Figures
from amas.errors import ScheduleChanged
from amas.model.schedule import ScheduleView
from amas.server.plane import ControlPlane

PATH = "/api/schedules/nightly"
TASK = {"capability": "test.work", "input": {"n": 1}}
NIGHTLY: dict[str, Any] = {"cron": "0 3 * * *", "timezone": "Europe/Berlin", "task": TASK}


async def test_a_schedule_is_put_fired_and_dropped(client: httpx.AsyncClient, plane: ControlPlane, hands: Hands) -> None:
    assert (await client.put(PATH, json=NIGHTLY)).status_code == 201
    again = await client.put(PATH, json={**NIGHTLY, "missed": "skip"})
    assert again.status_code == 200
    assert again.json()["schedule"]["missed"] == "skip"
    (listed,) = (await client.get("/api/schedules")).json()["items"]
    assert listed == again.json()
    assert (await client.post(f"{PATH}/run")).status_code == 200
    await Cron(plane.schedules, Figures(), limits=plane.fleet.limits).run_once()
    await hands.register()
    (claimed,) = await hands.claim()
    shown = (await client.get(PATH)).json()
    assert (shown["fired"], shown["last_id"]) == (1, claimed.id)
    assert (await client.delete(PATH)).json() == {"name": "nightly"}
    assert (await client.get(PATH)).status_code == 404


async def test_a_large_input_waits_for_its_time_in_the_artifact_store(
    client: httpx.AsyncClient, plane: ControlPlane, hands: Hands
) -> None:
    large = ["x" * 1000] * 100
    assert (await client.put(PATH, json={**NIGHTLY, "task": {"capability": "test.work", "input": large}})).status_code == 201
    shown = (await client.get(PATH)).json()["schedule"]["task"]["input"]
    assert shown.keys() == {"artifact", "bytes", "media_type"}
    assert (await client.post(f"{PATH}/pause")).json()["schedule"]["task"]["input"] == shown
    await client.post(f"{PATH}/run")
    await Cron(plane.schedules, Figures(), limits=plane.fleet.limits).run_once()
    await hands.register()
    (claimed,) = await hands.claim()
    assert await plane.values.get(claimed.spec.input) == large


async def test_a_paused_schedule_rests_and_goes_on(client: httpx.AsyncClient, plane: ControlPlane) -> None:
    await client.put(PATH, json=NIGHTLY)
    paused = (await client.post(f"{PATH}/pause")).json()
    assert (paused["schedule"]["paused"], paused["next_ms"]) == (True, 0)
    resumed = (await client.post(f"{PATH}/resume")).json()
    assert resumed["next_ms"] > plane.engine.now_ms()


async def test_a_schedule_is_changed_only_as_it_was_looked_at(client: httpx.AsyncClient, plane: ControlPlane) -> None:
    new = await client.put(PATH, json=NIGHTLY, headers={"if-match": "*"})
    assert (new.status_code, new.json()["code"]) == (412, "schedule_changed"), "there is none yet"
    first = (await client.put(PATH, json=NIGHTLY)).headers["etag"]
    assert (await client.get(PATH)).headers["etag"] == first
    second = (await client.post(f"{PATH}/pause", headers={"if-match": first})).headers["etag"]
    for answer in (
        await client.put(PATH, json=NIGHTLY, headers={"if-match": first}),
        await client.delete(PATH, headers={"if-match": first}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (412, "schedule_changed")
    assert (await client.get(PATH)).json()["schedule"]["paused"]
    held = await plane.schedules.held("nightly")
    assert (await client.put(PATH, json={**NIGHTLY, "missed": "skip"}, headers={"if-match": second})).status_code == 200
    with pytest.raises(ScheduleChanged):  # what came between the look and the change
        await plane.schedules.drop("nightly", instead_of=held)
    assert (await client.delete(PATH, headers={"if-match": "*"})).status_code == 200


async def test_who_pauses_a_schedule_undoes_nobody_s_change(
    client: httpx.AsyncClient, plane: ControlPlane, monkeypatch: pytest.MonkeyPatch
) -> None:
    await client.put(PATH, json=NIGHTLY)
    get, looks = plane.schedules.get, list[str]()

    async def and_then_another_changes_it(name: str) -> ScheduleView | None:
        view = await get(name)
        looks.append(name)
        if view is not None and len(looks) == 1:
            await plane.schedules.add(msgspec.structs.replace(view.schedule, cron="0 4 * * *"))
        return view

    monkeypatch.setattr(plane.schedules, "get", and_then_another_changes_it)
    paused = (await client.post(f"{PATH}/pause")).json()["schedule"]
    assert (paused["cron"], paused["paused"]) == ("0 4 * * *", True)


@pytest.mark.parametrize(
    ("change", "code", "sentence"),
    [
        ({"cron": "bad"}, "schedule_invalid", "'bad' is no cron expression"),
        ({"timezone": "Mars/Olympus"}, "schedule_invalid", "there is no time zone 'Mars/Olympus'"),
        ({"task": None}, "schedule_invalid", "must have either a task or a goal"),
        ({"task": {"capability": "no.such"}}, "capability_unknown", "no agent of this fleet can do 'no.such'"),
        ({"missed": "never"}, "request_invalid", "'never' is none of all, once, skip"),
        ({"colour": 1}, "request_invalid", "unknown field `colour`"),
    ],
)
async def test_what_is_wrong_is_said_and_nothing_is_kept(
    client: httpx.AsyncClient, change: dict[str, Any], code: str, sentence: str
) -> None:
    answer = await client.put(PATH, json={**NIGHTLY, **change})
    assert (answer.status_code, answer.json()["code"]) == (422, code)
    assert sentence in answer.text
    assert (await client.get("/api/schedules")).json()["items"] == []


@pytest.mark.parametrize("act", ["pause", "resume", "run"])
async def test_an_unknown_schedule_is_named(client: httpx.AsyncClient, act: str) -> None:
    answer = await client.post(f"/api/schedules/other/{act}")
    assert (answer.status_code, answer.json()["detail"]) == (404, "there is no schedule 'other'")
    assert (await client.delete("/api/schedules/other")).status_code == 404
