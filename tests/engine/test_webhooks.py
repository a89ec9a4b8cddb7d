"""Webhooks on a real engine and history, with real receivers: who is told of what, once it is heard, whoever dies."""

import asyncio
import base64
import hmac
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from receivers import Receiver
from tests.engine.cell import Cell, done, task

from amas.agents.pinned import Pinned
from amas.clock import new_id
from amas.controllers.webhooks import HOUR_MS, Webhooks
from amas.engine.hooks import Hooks
from amas.errors import SecretUnreadable
from amas.model.blob import to_blob
from amas.model.flow import APPROVAL_CAPABILITY
from amas.model.hooks import Hook, HookEvent
from amas.model.task import Submission, SubmitOptions, TaskSpec
from amas.model.trace import TraceContext, span_of
from amas.observe.tracing import tracing_of
from amas.policy import outbound
from amas.policy.hook_secrets import secret_for
from amas.policy.outbound import PostFailed, post, public
from amas.records.store import Records
from amas.secrets import talk
from amas.settings import WebhookSettings

SECRET = "the-secret-of-the-fleet"
HERE = WebhookSettings(networks="127.0.0.0/8")


class Desk:
    """A cell with hooks, a recorder and whoever leads, moved by hand."""

    def __init__(self, cell: Cell, records: Records) -> None:
        self.cell, self.records, self.hooks = cell, records, Hooks(cell.engine)
        self.leader = self.another()

    def another(self, **settings: Any) -> Webhooks:
        """Return a leader that remembers nothing."""
        return Webhooks(self.cell.engine, self.records, WebhookSettings(networks=HERE.networks, **settings), secret=SECRET)

    async def add(self, url: str, *events: str, **more: Any) -> Hook:
        hook = Hook(id=new_id(), url=url, events=events or ("*",), created_ms=self.cell.now, **more)
        await self.hooks.add(hook, position=await self.cell.journal.last_id())
        return hook

    async def record(self) -> None:
        while entries := await self.cell.journal.read(await self.records.position()):
            await self.records.apply(entries)

    async def do(self, *batch: Submission, fail: bool = False, workflow: str = "") -> None:
        """Have tasks submitted, done and recorded."""
        await self.cell.submit(*batch, workflow=workflow)
        claimed = await self.cell.claim(len(batch))
        if fail:
            await self.cell.fail(*claimed, final=True)
        else:
            await self.cell.queue.complete("h1", [done(each) for each in claimed], now_ms=self.cell.now)
        await self.record()

    async def sweep(self, leader: Webhooks | None = None) -> None:
        """Sweep until nothing is under way."""
        leader = leader or self.leader
        leader._patience_s = 60.0
        await leader.run_once()

    async def state(self, hook: Hook) -> Any:
        kept = await self.hooks.get(hook.id)
        assert kept is not None
        return kept.state


@pytest.fixture
async def desk(cell: Cell, tmp_path: Path) -> AsyncIterator[Desk]:
    async with await Records.open(f"sqlite:///{tmp_path / 'records.sqlite3'}", cell=cell.engine.prefix) as opened:
        yield Desk(cell, opened)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as made:
        yield made


def kinds(receiver: Receiver) -> list[str]:
    return [got.json["type"] for got in receiver.posts]


def soon(_: float, function: Callable[..., object], arguments: Sequence[object]) -> threading.Timer:
    """Return a timer that ends what takes longer than a moment; a handshake's own time-out is an hour then."""
    return threading.Timer(0.5, function, arguments)


def post_slowly(port: int, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(outbound, "Timer", soon)
    post(f"https://127.0.0.1:{port}/", b"{}", {}, reach=public(HERE.reach()), timeout_s=3600)


def ask_slowly(port: int, _: pytest.MonkeyPatch) -> None:
    pinned = Pinned("127.0.0.1", port, "127.0.0.1", secure=True, timeout_s=3600)
    soon(0, pinned.end, ()).start()
    pinned.ask("GET", "/", {}, b"", bytes_max=1)


def talk_slowly(port: int, patch: pytest.MonkeyPatch) -> None:
    patch.setattr(talk, "TIMEOUT_S", 3600)
    patch.setattr(talk, "Timer", soon)
    talk.Place(f"https://127.0.0.1:{port}", "vault:kv/x#y", {}).ask("GET", "/")


async def test_the_end_of_a_task_is_told_as_a_signed_cloud_event(desk: Desk, receiver: Receiver) -> None:
    await desk.do(task("before"))
    hook = await desk.add(receiver.url, "task.*")
    await desk.do(task("t1"))
    await desk.do(task("t2"), fail=True)
    await desk.sweep()
    assert sorted(kinds(receiver)) == ["amas.task.failed", "amas.task.succeeded"], "what ended before isn't told"
    got = next(each for each in receiver.posts if each.json["subject"] == "t2")
    assert got.headers["Content-Type"].startswith("application/cloudevents+json")
    assert {"specversion": "1.0", "datacontenttype": "application/json"}.items() <= got.json.items()
    assert got.json["source"].startswith("urn:amas:") and got.json["id"] == got.headers["webhook-id"]
    assert got.json["data"]["failure"] == {"code": "boom", "message": "it broke"} and got.json["data"]["agent_id"]
    key = base64.b64decode(secret_for(hook.id, "", fleet_secret=SECRET).removeprefix("whsec_"))
    said = f"{got.headers['webhook-id']}.{got.headers['webhook-timestamp']}.".encode() + got.body
    assert got.headers["webhook-signature"] == "v1," + base64.b64encode(hmac.digest(key, said, "sha256")).decode()
    state = await desk.state(hook)
    assert (state.told, state.waiting, state.error) == (2, 0, "")
    await desk.sweep()
    assert len(receiver.posts) == 2, "nothing is told twice"


async def test_a_receiver_gets_the_place_in_the_trace_of_what_ended(
    desk: Desk, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.add(receiver.url, "task.*")
    given = TraceContext("4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7", True)
    spec = to_blob(TaskSpec(capability="work", traceparent=str(given), submitted_ms=1))
    await desk.do(Submission("t1", "work", spec, 1, None))
    await desk.do(task("t2"))
    await desk.sweep()
    monkeypatch.setenv("ORCHESTRATION_ENABLE_TRACING", "true")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    with tracing_of("control_plane", "p1"):
        await desk.do(Submission("t3", "work", spec, 1, None))
        await desk.sweep()
    told = {got.json["subject"]: (got.headers.get("traceparent"), got.json.get("traceparent")) for got in receiver.posts}
    ours = str(given._replace(span_id=span_of("t3")))
    assert told == {"t1": (str(given), str(given)), "t2": (None, None), "t3": (ours, ours)}


async def test_a_hook_hears_only_of_what_it_asks_for(desk: Desk, receiver: Receiver) -> None:
    await desk.add(receiver.url + "/failed", "task.failed")
    await desk.add(receiver.url + "/acme", "*", tenant="acme")
    await desk.add(receiver.url + "/flow", "task.*", "workflow.*", workflow_id="w1")
    await desk.add(receiver.url + "/cap", "task.*", capability="other")
    await desk.do(task("t1"))
    spec = to_blob(TaskSpec(capability="work", tenant="acme"))
    await desk.do(Submission("t2", "work", spec, 1, SubmitOptions(tenant="acme")))
    flow = to_blob(TaskSpec(capability="work", workflow_id="w1"))
    await desk.do(Submission("t3", "work", flow, 1, SubmitOptions(workflow_id="w1")), workflow="w1")
    await desk.sweep()
    told = sorted((got.path.removeprefix("/hook/"), got.json["type"], got.json["subject"]) for got in receiver.posts)
    assert told == [
        ("acme", "amas.task.succeeded", "t2"),
        ("flow", "amas.task.succeeded", "t3"),
        ("flow", "amas.workflow.succeeded", "w1"),
    ]


async def test_an_approval_that_waits_is_told_once(desk: Desk, receiver: Receiver) -> None:
    await desk.add(receiver.url, "approval.waiting")
    spec = to_blob(TaskSpec(capability=APPROVAL_CAPABILITY, workflow_id="w1", key="ok", input={"question": "Good?"}))
    await desk.cell.submit(Submission("a1", "ok", spec, 1, SubmitOptions(kind="signal", workflow_id="w1")), workflow="w1")
    await desk.sweep()
    await desk.sweep()
    await desk.sweep(desk.another())
    assert [got.json["data"]["question"] for got in receiver.posts] == ["Good?"]


async def test_what_fails_is_tried_again_given_up_in_time_and_sent_again_when_asked(
    desk: Desk, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [desk.hooks.now_ms()]
    monkeypatch.setattr(Hooks, "now_ms", lambda _: now[0])  # it stands still, so that no pause ends by itself
    hook = await desk.add(receiver.url, "task.*")
    receiver.status = 500
    await desk.do(task("t1"))
    await desk.sweep()
    await desk.sweep()
    assert len(receiver.posts) == 1, "its pause isn't over"
    (waits,) = await desk.hooks.events(hook.id, "waiting", limit=10)
    assert (waits.tries, waits.error) == (1, "127.0.0.1 answered 500: because")
    assert (await desk.state(hook)).failing_ms
    await desk.hooks.enable(hook.id)  # makes what waits due at once
    now[0] += round(HERE.retry_h * HOUR_MS)  # its whole time
    await desk.sweep()
    state = await desk.state(hook)
    assert (state.waiting, state.given_up, state.disabled_ms) == (0, 1, 0)
    receiver.status = 204
    assert await desk.hooks.again(hook.id, await desk.hooks.events(hook.id, "given_up", limit=10)) == 1
    await desk.sweep()
    assert len({got.headers["webhook-id"] for got in receiver.posts}) == 1 and len(receiver.posts) == 3
    state = await desk.state(hook)
    assert (state.told, state.given_up, state.failing_ms) == (1, 0, 0)


async def test_a_hook_that_only_fails_is_disabled_and_goes_on_where_it_was(desk: Desk, receiver: Receiver) -> None:
    hook = await desk.add(receiver.url, "task.*")
    long_ago = HookEvent(id="e1", kind="task.failed", subject="t0", at_ms=1, taken_ms=1)
    await desk.hooks.tell(hook.id, long_ago)
    await desk.cell.engine.client.hset(desk.cell.engine.key("hook", hook.id), "failing", 1)
    receiver.status = 500
    await desk.sweep()
    assert (await desk.state(hook)).disabled_ms
    await desk.do(task("t1"))
    receiver.status = 200
    await desk.sweep()
    assert len(receiver.posts) == 1
    await desk.hooks.enable(hook.id)
    await desk.sweep()
    assert [got.json["subject"] for got in receiver.posts] == ["t0", "t1"]


async def test_who_dies_after_the_answer_tells_again_under_the_same_id(
    desk: Desk, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    await desk.add(receiver.url, "task.*")
    await desk.do(task("t1"))

    async def killed(*_: object) -> None:
        raise asyncio.CancelledError

    monkeypatch.setattr(Hooks, "got", killed)
    await desk.sweep()
    monkeypatch.undo()
    await desk.sweep(desk.another())
    await desk.sweep(desk.another())
    assert len(receiver.posts) == 2 and len({got.headers["webhook-id"] for got in receiver.posts}) == 1


async def test_two_leaders_take_nothing_twice(desk: Desk, receiver: Receiver) -> None:
    hook = await desk.add(receiver.url, "task.*")
    place = (await desk.state(hook)).position
    await desk.do(task("t1"))
    await desk.sweep()
    assert not await desk.hooks.take(hook.id, before=place, position="9-9", events=[]), "it stands elsewhere"
    assert len(receiver.posts) == 1


async def test_a_slow_receiver_delays_no_other(desk: Desk, receiver: Receiver) -> None:
    with Receiver() as slow:
        slow.answering.clear()
        await desk.add(slow.url, "task.*")
        await desk.add(receiver.url, "task.*")
        await desk.do(task("t1"))
        async with asyncio.timeout(60):
            while not (receiver.posts and slow.posts):
                await desk.leader.run_once()
            await desk.do(task("t2"))
            while len(receiver.posts) < 2:
                await desk.leader.run_once()
        assert len(slow.posts) == 1, "its first post is still under way"
        slow.answering.set()


async def test_what_was_removed_is_told_nothing_and_leaves_nothing(desk: Desk, receiver: Receiver) -> None:
    hook = await desk.add(receiver.url, "task.*")
    receiver.status = 500
    await desk.do(task("t1"))
    await desk.sweep()
    assert await desk.hooks.drop(hook)
    assert not await desk.hooks.drop(hook)
    assert await desk.hooks.all() == []
    await desk.do(task("t2"))
    await desk.sweep()
    assert len(receiver.posts) == 1
    assert not [key async for key in desk.cell.engine.client.scan_iter(f"{desk.cell.engine.prefix}:hook*")]


async def test_what_is_removed_while_it_is_told_is_told_no_more(desk: Desk, receiver: Receiver) -> None:
    hook = await desk.add(receiver.url, "task.*")
    await desk.do(task("t1"), task("t2"))
    receiver.answering.clear()
    desk.leader._patience_s = 0
    async with asyncio.timeout(60):
        while not receiver.posts:
            await desk.leader.run_once()
        await desk.hooks.drop(hook)
        receiver.answering.set()
        while desk.leader.errands.under_way(hook.id):
            await desk.leader.errands.settle(patience_s=1)
    assert len(receiver.posts) == 1


@pytest.mark.parametrize("secured", [post_slowly, ask_slowly, talk_slowly])
def test_a_handshake_a_byte_at_a_time_is_cut_off(
    secured: Callable[[int, pytest.MonkeyPatch], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    over = threading.Event()

    def drip() -> None:
        with listening.accept()[0] as peer, suppress(OSError):
            peer.sendall(b"\x16\x03\x03\x3f\xff")  # a record of 16 KiB follows
            while not over.wait(0.1):
                peer.sendall(b"\0")

    with socket.create_server(("127.0.0.1", 0)) as listening:
        dripping, end = threading.Thread(target=drip), threading.Timer(60, over.set)
        dripping.start()
        end.start()
        try:
            with pytest.raises((PostFailed, OSError, SecretUnreadable)):
                secured(listening.getsockname()[1], monkeypatch)
            assert not over.is_set()
        finally:
            end.cancel()
            over.set()
            dripping.join()


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "192.168.1.1", "169.254.169.254", "100.100.100.200", "0.0.0.0", "::1", "fd00:ec2::254", "fe80::1",
     "::ffff:10.0.0.1", "2002:0a00:0001::", "64:ff9b::a00:1", "64:ff9b:1::a00:1", "::10.0.0.1", "fec0::1", "224.0.0.1"],
)  # fmt: skip
def test_a_webhook_of_the_api_reaches_nothing_private(address: str) -> None:
    assert not public(()).allows(address)


def test_it_reaches_the_public_and_what_the_operator_names() -> None:
    assert public(()).allows("93.184.216.34") and public(()).allows("2606:2800:220:1::1")
    assert public(HERE.reach()).allows("127.0.0.1") and not public(HERE.reach()).allows("10.0.0.1")
    assert not public(WebhookSettings(networks="0.0.0.0/0").reach()).allows("169.254.169.254"), "never what gives out credentials"


async def test_a_redirect_to_a_private_address_isn_t_followed(desk: Desk, receiver: Receiver) -> None:
    with Receiver() as private:
        receiver.status, receiver.elsewhere = 307, private.url
        hook = await desk.add(receiver.url, "task.*")
        await desk.do(task("t1"))
        await desk.sweep()
        assert private.posts == [] and (await desk.state(hook)).error == "127.0.0.1 answered 307: because"


def test_a_name_that_leads_elsewhere_by_now_isn_t_reached(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is checked is what is connected to: a rebound name gives a private address at the time of the post."""
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: [(2, 1, 6, "", ("127.0.0.1", 0))])
    with pytest.raises(PostFailed, match="AMAS_WEBHOOK_NETWORKS"):
        post("http://hooks.example/", b"{}", {}, reach=public(()), timeout_s=5)
    assert receiver.posts == []


async def test_thousands_of_ends_come_in_pieces(desk: Desk, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("amas.controllers.occurrences.ENDS_MAX", 3)
    monkeypatch.setattr("amas.controllers.webhooks.WAITING_MAX", 4)
    hook = await desk.add(receiver.url, "task.succeeded")
    for number in range(6):
        await desk.do(task(f"{number}-a"), task(f"{number}-b"))
    receiver.status = 503
    await desk.sweep()
    await desk.sweep()
    await desk.sweep()
    assert (await desk.state(hook)).waiting < 12, "a full queue isn't fed"
    receiver.status = 200
    await desk.hooks.enable(hook.id)
    async with asyncio.timeout(60):
        while (await desk.state(hook)).told < 12:
            await desk.sweep()
    assert len({got.headers["webhook-id"] for got in receiver.posts}) == 12
