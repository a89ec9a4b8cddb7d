"""Alerts and run-books over HTTP: listed, silenced, tested, run, answered, and refused with a sentence."""

from pathlib import Path

import httpx
import msgspec
import pytest
from tests.integration.server.conftest import FLEET, Hands, client_of

from amas.controllers.run import make_duties
from amas.engine.connection import Engine
from amas.engine.desired import DesiredState, Wish
from amas.fleet.alerts import load_runbooks
from amas.model.alert_defaults import DEFAULT_RULES
from amas.model.alerts import AlertsSpec
from amas.model.runbook import RunBook, Step
from amas.server.figures import snapshot
from amas.server.plane import ControlPlane

ASKS = RunBook(name="asks", steps=(Step(do="cordon", name="hold", host="$host", confirm="person"),))


class Duties:
    """The duties of alerts, as a leading control plane has them."""

    def __init__(self, plane: ControlPlane, home: Path) -> None:
        made = make_duties(plane.engine, plane.records, plane.figures, fleet=plane.fleet, home=home)
        self._duties = {duty.name: duty for duty in made}

    async def sweep(self) -> None:
        for name in ("alerts", "notices", "runbooks"):
            await self._duties[name].run_once()


@pytest.fixture
async def duties(engine: Engine, plane: ControlPlane, tmp_path: Path) -> Duties:
    books = (*load_runbooks().values(), ASKS)
    rules = tuple(rule for rule in DEFAULT_RULES if rule.name in {"AgentFailure", "AgentsMissing"})
    fleet = msgspec.structs.replace(FLEET, alerts=AlertsSpec(rules=rules), runbooks=books)
    await DesiredState(engine).change([Wish("fleet", fleet)], by="test")
    return Duties(plane, tmp_path)


async def test_an_alert_is_listed_counted_and_silenced(client: httpx.AsyncClient, plane: ControlPlane, duties: Duties) -> None:
    assert (await client.get("/api/alerts")).json()["at_ms"] == 0
    await duties.sweep()
    page = (await client.get("/api/alerts")).json()
    assert {(each["rule"], each["status"], each["labels"]["pool"]) for each in page["items"]} == {
        ("AgentsMissing", "pending", "coordinator"),
        ("AgentsMissing", "pending", "worker"),
    }
    assert {rule["name"]: rule["when"] for rule in page["rules"]} == {
        "AgentFailure": "agents_unhealthy > 0",
        "AgentsMissing": "agents_missing > 0",
    }
    assert [each["name"] for each in page["receivers"]] == ["log"]
    assert (await client.get("/api/alerts", params={"status": "firing"})).json()["items"] == []
    seen = await snapshot(plane)
    assert seen is not None and seen.alerts == {("AgentsMissing", "critical", "pending"): 2}
    shown = plane.metrics.page(seen, [], queues=frozenset()).decode()
    assert 'amas_alerts{alertname="AgentsMissing",alertstate="pending",severity="critical"} 2.0' in shown
    new = {"alert": "AgentsMissing", "for_s": 60, "by": "ada", "why": "they start", "labels": {"pool": "worker"}}
    wrong = (await client.post("/api/silences", json={**new, "labels": {"pol": "worker"}})).json()
    assert wrong["detail"] == "an alert of AgentsMissing never has the label 'pol' (did you mean 'pool'?): it has pool"
    silence = (await client.post("/api/silences", json=new)).json()
    assert silence["until_ms"] - silence["from_ms"] == 60_000
    await duties.sweep()
    items = (await client.get("/api/alerts")).json()["items"]
    assert {each["labels"]["pool"]: each["silenced_by"] for each in items} == {"worker": silence["id"], "coordinator": ""}
    assert (await client.get("/api/silences")).json()["items"] == [silence]
    assert (await client.delete(f"/api/silences/{silence['id']}")).json() == {"id": silence["id"]}
    assert (await client.delete(f"/api/silences/{silence['id']}")).status_code == 409
    await Hands(plane).register()
    await duties.sweep()
    assert (await client.get("/api/alerts")).json()["items"] == []


async def test_a_test_alert_reaches_every_receiver(client: httpx.AsyncClient, duties: Duties) -> None:
    sent = await client.post("/api/alerts/test", json={"by": "ada"})
    assert (sent.status_code, sent.json()["receivers"]) == (202, ["log"])
    (log,) = (await client.get("/api/alerts")).json()["receivers"]
    assert (log["queued"], log["told"]) == (1, 0)
    await duties.sweep()
    (log,) = (await client.get("/api/alerts")).json()["receivers"]
    assert (log["queued"], log["told"], log["kind"]) == (0, 1, "log")


async def test_a_run_is_started_confirmed_and_audited(client: httpx.AsyncClient, plane: ControlPlane, duties: Duties) -> None:
    await Hands(plane).register()
    await duties.sweep()
    books = {each["name"]: each for each in (await client.get("/api/runbooks")).json()["items"]}
    assert books["asks"]["steps"] == ["hold: cordon host $host (a person confirms)"]
    assert books["agent-unwell"]["rules"] == ["AgentFailure"]
    run = (await client.post("/api/runbooks/asks/runs", json={"by": "ada", "subject": {"host": "h1"}, "why": "drill"})).json()
    await duties.sweep()
    (listed,) = (await client.get("/api/runbook-runs")).json()["items"]
    assert (listed["id"], listed["status"]) == (run["id"], "asking")
    assert (await client.get(f"/api/runbook-runs/{run['id']}")).json() == listed
    unknown = await client.get("/api/runbook-runs/x")
    assert (unknown.status_code, unknown.json()["detail"]) == (409, "there is no run 'x': `amas runbooks` lists them")
    answer = await client.post(f"/api/runbook-runs/{run['id']}/answer", json={"by": "bob"})
    assert answer.json()["status"] == "running"
    await duties.sweep()
    (listed,) = (await client.get("/api/runbook-runs")).json()["items"]
    assert (listed["status"], listed["steps"][0]["by"]) == ("succeeded", "bob")
    assert (await DesiredState(plane.engine).read()).orders["h1"].cordoned
    lines = (await client.get("/api/runbook-audit")).json()["items"]
    assert [(line["what"], line["by"]) for line in reversed(lines)] == [
        ("began", "ada"),
        ("asked", "amas"),
        ("confirmed", "bob"),
        ("started", "bob"),
        ("succeeded", "bob"),
    ]
    again = await client.post(f"/api/runbook-runs/{run['id']}/end", json={"by": "ada"})
    assert again.status_code == 409 and "is succeeded: there is nothing to cancel" in again.json()["detail"]


@pytest.mark.parametrize(
    ("path", "body", "status", "sentence"),
    [
        ("silences", {"alert": "AgentFail", "for_s": 60, "by": "a", "why": "b"}, 422, "no rule 'AgentFail' (did you mean"),
        ("silences", {"alert": "*", "for_s": 0, "by": "a", "why": " "}, 422, "must be from 0 to 2.592e+06 seconds; say why"),
        ("silences", {"alert": "*"}, 422, "missing required field `for_s`"),
        ("runbooks/x/runs", {"by": "a"}, 409, "there is no run-book 'x'"),
        ("runbooks/asks/runs", {"by": "a"}, 409, "asks is about a host: say which, as host=NAME"),
        ("runbooks/asks/runs", {"by": "a", "subject": {"host": "h9"}}, 409, "there is no host 'h9': there are none"),
        ("runbooks/asks/runs", {"by": " "}, 422, "say by whom"),
        ("runbook-runs/x/answer", {"by": "a"}, 409, "there is no run 'x'"),
    ],
)
async def test_what_is_wrong_is_said(
    client: httpx.AsyncClient, duties: Duties, path: str, body: dict[str, object], status: int, sentence: str
) -> None:
    answer = await client.post(f"/api/{path}", json=body)
    assert (answer.status_code, sentence in answer.json()["detail"]) == (status, True), answer.text


async def test_a_fleet_that_was_never_applied_is_the_files(plane: ControlPlane) -> None:
    async with client_of(plane) as client:
        assert (await client.get("/api/runbooks")).json()["items"] == []
