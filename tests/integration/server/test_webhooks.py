"""Webhooks over the API: registered, listed, tested, sent again, removed; and where one may lead."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import httpx
import msgspec
import pytest
from receivers import Receiver

from amas.controllers.webhooks import Webhooks
from amas.engine.connection import Engine
from amas.records.store import Records
from amas.server.plane import ControlPlane
from amas.settings import MessageSettings, WebhookSettings

from .conftest import WORK, Hands
from .test_access import bearer, make, problem_of

SECRET = "the-secret-of-the-fleet"


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        yield made


@pytest.fixture
async def leader(
    plane: ControlPlane, engine: Engine, records: Records, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Webhooks]:
    """A leader that sweeps all the time."""
    monkeypatch.setenv("AMAS_WEBHOOK_NETWORKS", "127.0.0.0/8")
    plane.messages = MessageSettings(secret=SECRET)
    made = Webhooks(engine, records, WebhookSettings.read(), secret=SECRET, patience_s=0.0)

    async def sweep() -> None:
        while True:
            await made.run_once()
            await asyncio.sleep(0.02)

    sweeping = asyncio.create_task(sweep())
    yield made
    sweeping.cancel()
    made.errands.drop()


async def registered(client: httpx.AsyncClient, url: str, headers: Any = None, **more: Any) -> dict[str, Any]:
    answer = await client.post("/api/webhooks", json={"url": url, **more}, headers=headers)
    assert answer.status_code == 201, answer.text
    assert answer.headers["location"] == f"/api/webhooks/{answer.json()['id']}"
    return answer.json()


async def test_a_webhook_is_registered_tested_told_and_removed(
    client: httpx.AsyncClient, hands: Hands, leader: Webhooks, receiver: Receiver
) -> None:
    made = await registered(client, receiver.url, events=["task.failed"])
    assert made["secret"].startswith("whsec_") and made["state"] == "well"
    tested = (await client.post(f"/api/webhooks/{made['id']}/test")).json()
    assert tested == {"id": made["id"], "event_id": receiver.posts[0].json["id"], "delivered": True, "error": ""}
    assert receiver.posts[0].json["type"] == "amas.webhook.test"
    task = (await client.post("/api/tasks", json={"capability": WORK})).json()["id"]
    await hands.fail((await hands.claim())[0], "gave_up", "it broke")
    await hands.record()
    async with asyncio.timeout(60):
        while len(receiver.posts) < 2:
            await asyncio.sleep(0.05)
    assert (receiver.posts[1].json["type"], receiver.posts[1].json["subject"]) == ("amas.task.failed", task)
    async with asyncio.timeout(60):
        while (listed := (await client.get("/api/webhooks")).json()["items"][0])["told"] < 2:
            await asyncio.sleep(0.05)
    assert "secret" not in listed
    assert (await client.delete(f"/api/webhooks/{made['id']}")).json()["id"] == made["id"]
    assert problem_of(await client.get(f"/api/webhooks/{made['id']}")).code == "webhook_unknown"


async def test_what_was_given_up_is_listed_and_sent_again(
    client: httpx.AsyncClient, plane: ControlPlane, leader: Webhooks, receiver: Receiver
) -> None:
    receiver.status = 500
    made = await registered(client, receiver.url)
    path = f"/api/webhooks/{made['id']}"
    tested = (await client.post(f"{path}/test")).json()
    assert (tested["delivered"], tested["error"]) == (False, "127.0.0.1 answered 500: because")
    (event,) = await plane.hooks.events(made["id"], "waiting", limit=9)
    assert (await client.get(f"{path}/events?state=waiting")).json()["items"][0]["tries"] == event.tries
    await plane.hooks.failed(made["id"], msgspec.structs.replace(event, error="over"), again_ms=0, disable=True)
    (lost,) = (await client.get(f"{path}/events")).json()["items"]
    assert (lost["error"], (await client.get(path)).json()["state"]) == ("over", "disabled")
    assert (await client.post(f"{path}/test")).json()["error"] == "it is disabled: enable it first"
    receiver.status = 200
    assert (await client.post(f"{path}/enable")).json()["state"] == "well"
    assert (await client.post(f"{path}/resend?event_id={lost['id']}")).json()["count"] == 1
    async with asyncio.timeout(60):
        while (await client.get(path)).json()["told"] < 1:
            await asyncio.sleep(0.05)


@pytest.mark.parametrize(
    "url",
    [
        "http://10.0.0.7/", "http://169.254.169.254/latest", "http://[::1]:1/", "http://0/", "http://127.0.0.1:99999/", "http://no.invalid/",
        "http://2130706433/", "http://0x7f.1/", "http://0177.0.0.1/", "http://127.1/", "http://\u2460\u2461\u2466.0.0.1/", "http://localhost/",
        "http://[::ffff:127.0.0.1]/", "http://[64:ff9b::7f00:1]/", "http://[fe80::1]/", "http://[::]/", "http://[2002:7f00:1::]/",
    ],
)  # fmt: skip
async def test_a_private_address_is_refused_at_registration(client: httpx.AsyncClient, leader: Webhooks, url: str) -> None:
    found = problem_of(await client.post("/api/webhooks", json={"url": url}))
    assert (found.code, found.errors[0].pointer) == ("webhook_url_refused", "#/url")


async def test_a_secret_is_the_fleet_s_or_a_variable_made_for_it(
    client: httpx.AsyncClient, leader: Webhooks, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    for reference in ("env:AMAS_TOKEN", "env:AMAS_WEBHOOK_SECRET_UNSET", "file:/etc/passwd", "plain"):
        answer = await client.post("/api/webhooks", json={"url": receiver.url, "secret": reference})
        assert problem_of(answer).errors[0].pointer == "#/secret", reference
    monkeypatch.setenv("AMAS_WEBHOOK_SECRET_CI", "a-secret-of-my-own")
    assert (await registered(client, receiver.url, secret="env:AMAS_WEBHOOK_SECRET_CI"))["secret"] == ""


async def test_a_tenant_s_webhook_is_its_own(
    client: httpx.AsyncClient, hands: Hands, leader: Webhooks, receiver: Receiver
) -> None:
    admin = bearer((await make(client, "root", "system-admin"))["key"])
    acme, rival = [bearer((await make(client, f"a-{n}", "operator", admin, tenant=n))["key"]) for n in ("acme", "rival")]
    made = await registered(client, receiver.url, acme, events=["task.*"])
    assert made["tenant"] == "acme"
    assert (await client.post("/api/webhooks", json={"url": receiver.url, "tenant": "acme"}, headers=rival)).status_code == 403
    assert (await client.get("/api/webhooks", headers=rival)).json()["items"] == []
    for method, path in (
        ("GET", ""),
        ("DELETE", ""),
        ("GET", "/events"),
        ("POST", "/test"),
        ("POST", "/resend"),
        ("POST", "/enable"),
    ):
        answer = await client.request(method, f"/api/webhooks/{made['id']}{path}", headers=rival)
        assert problem_of(answer).code == "webhook_unknown", path
    for caller in (rival, acme):
        await client.post("/api/tasks", json={"capability": WORK}, headers=caller)
        await hands.finish((await hands.claim())[0], "done")
    await hands.record()
    async with asyncio.timeout(60):
        while not receiver.posts:
            await asyncio.sleep(0.05)
    assert [got.json["data"]["tenant"] for got in receiver.posts] == ["acme"]
    refused = await client.post("/api/webhooks", json={"url": receiver.url, "secret": "env:AMAS_WEBHOOK_SECRET_CI"}, headers=acme)
    assert problem_of(refused).code == "secret_refused"
    for _ in range(19):
        await registered(client, receiver.url, acme)
    assert problem_of(await client.post("/api/webhooks", json={"url": receiver.url}, headers=acme)).code == "webhooks_full"


async def test_pages_of_webhooks_neither_repeat_nor_skip(client: httpx.AsyncClient, leader: Webhooks, receiver: Receiver) -> None:
    made = [(await registered(client, receiver.url))["id"] for _ in range(5)]
    seen, cursor = [], ""
    while cursor is not None:
        page = (await client.get(f"/api/webhooks?limit=2&cursor={cursor}")).json()
        seen += [item["id"] for item in page["items"]]
        cursor = page["next"]
    assert seen == made
