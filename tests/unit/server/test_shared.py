"""Answers that are shared: who gets which, over an application that counts how often it is asked."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import pytest
from starlette.types import Message, Receive, Scope, Send

from amas.model.access import Role
from amas.server import shared
from amas.server.identity import Caller
from amas.server.shared import Changes, Shared

LONG_S = 3600.0
PATIENCE_S = 60.0
Answered = tuple[int, bytes, dict[bytes, bytes]]


def caller(name: str = "ann", tenant: str = "") -> Caller:
    return Caller(name=name, role=Role.OPERATOR, tenant=tenant, kind="key")


class Counter:
    """An application whose answer is a number that every change raises; a read looks at it first and ends when it may."""

    def __init__(self) -> None:
        self.number, self.asked, self.status = 0, 0, 200
        self.begun, self.may_end = asyncio.Event(), asyncio.Event()
        self.may_end.set()
        self.raises: Exception | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["method"] == "POST":
            self.number += 1
            seen = self.number
        else:
            self.asked += 1
            seen = self.number
            self.begun.set()
            await self.may_end.wait()
            if self.raises:
                raise self.raises
        said = f"{seen} for {scope['state']['caller'].tenant or 'all'} at {scope['query_string'].decode()}".encode()
        headers = [(b"content-length", b"%d" % len(said))]
        await send({"type": "http.response.start", "status": self.status, "headers": headers})
        await send({"type": "http.response.body", "body": said})


class Site(NamedTuple):
    """The application and what stands around it."""

    app: Counter
    around: Shared

    async def ask(
        self, who: Caller, method: str = "GET", *, path: str = "/api/metrics", query: str = "", tag: bytes = b""
    ) -> Answered:
        sent: list[Message] = []

        async def send(message: Message) -> None:
            sent.append(message)

        async def receive() -> Message:
            raise AssertionError("nobody reads a body here")

        headers = [(b"if-none-match", tag)] if tag else []
        scope: dict[str, Any] = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query.encode(),
            "headers": headers,
        }
        await self.around(scope | {"state": {"caller": who}}, receive, send)
        return sent[0]["status"], b"".join(part["body"] for part in sent[1:]), dict(sent[0]["headers"])

    async def body(self, who: Caller, query: str = "") -> str:
        return (await self.ask(who, query=query))[1].decode()


@pytest.fixture
async def site() -> Site:
    app = Counter()
    return Site(app, Shared(app, LONG_S))


async def test_who_asks_in_time_gets_what_is_kept(site: Site) -> None:
    assert [await site.body(caller("ann")), await site.body(caller("bob"))] == ["0 for all at "] * 2
    assert site.app.asked == 1


async def test_nothing_is_kept_where_nothing_may_be(site: Site) -> None:
    strict = Site(site.app, Shared(site.app, 0.0))
    await strict.body(caller())
    site.app.number += 1  # by somebody whom nobody here knows
    assert await strict.body(caller()) == "1 for all at "


async def test_a_read_after_its_callers_change_shows_it(site: Site) -> None:
    for number in range(1, 4):
        await site.body(caller("ann"))
        await site.ask(caller("ann"), "POST", path="/api/tasks")
        assert await site.body(caller("ann")) == f"{number} for all at "


async def test_an_answer_in_the_making_is_none_to_who_has_changed_something_since(site: Site) -> None:
    site.app.may_end.clear()
    before = asyncio.create_task(site.body(caller("bob")))
    await site.app.begun.wait()
    await site.ask(caller("ann"), "POST", path="/api/tasks")
    after = asyncio.create_task(site.body(caller("ann")))
    await asyncio.sleep(0)
    site.app.may_end.set()
    assert [await before, await after] == ["0 for all at ", "1 for all at "]


async def test_what_others_change_leaves_an_answer_to_its_age(site: Site) -> None:
    await site.body(caller("ann"))
    await site.ask(caller("bob"), "POST", path="/api/tasks")
    assert await site.body(caller("ann")) == "0 for all at "


async def test_a_submission_makes_the_figures_anew_and_no_list(site: Site) -> None:
    async def seen() -> list[str]:
        answers = [await site.ask(caller("ann"), path=path) for path in ("/api/metrics", "/api/pools", "/api/tasks")]
        return [body.decode()[0] for _, body, _ in answers]

    assert await seen() == ["0", "0", "0"]
    await site.ask(caller("ann"), "POST", path="/api/tasks/batch")
    assert await seen() == ["1", "0", "0"]
    await site.ask(caller("ann"), "POST", path="/api/tasks/17/cancel")
    assert await seen() == ["2", "2", "2"]


async def test_a_question_that_is_posted_changes_nothing(site: Site) -> None:
    await site.body(caller())
    await site.ask(caller(), "POST", path="/api/tasks/outcomes")
    assert await site.body(caller()) == "0 for all at " and site.app.asked == 1


async def test_tenants_and_queries_have_answers_of_their_own(site: Site) -> None:
    asked = [("", ""), ("acme", ""), ("rival", ""), ("acme", "limit=2")]
    for _ in range(2):
        found = [await site.body(caller("ann", tenant), query) for tenant, query in asked]
        assert found == [f"0 for {tenant or 'all'} at {query}" for tenant, query in asked]
    assert site.app.asked == len(asked)


async def test_those_who_ask_at_once_are_answered_by_one_making(site: Site) -> None:
    site.app.may_end.clear()
    async with asyncio.TaskGroup() as group:
        asked = [group.create_task(site.body(caller(f"c{number}"))) for number in range(50)]
        await site.app.begun.wait()
        site.app.may_end.set()
    assert {one.result() for one in asked} == {"0 for all at "} and site.app.asked == 1


async def _two_wait(site: Site, first: Callable[[], Awaitable[object]]) -> tuple["asyncio.Task[Any]", "asyncio.Task[str]"]:
    site.app.may_end.clear()
    making = asyncio.ensure_future(first())
    await site.app.begun.wait()
    waits = asyncio.create_task(site.body(caller("bob")))
    await asyncio.sleep(0)
    return making, waits  # type: ignore[return-value]


async def test_a_making_that_is_cancelled_is_begun_again_by_who_waits(site: Site) -> None:
    making, waits = await _two_wait(site, lambda: site.body(caller("ann")))
    making.cancel()
    site.app.may_end.set()
    assert await waits == "0 for all at " and site.app.asked == 2


async def test_a_making_that_breaks_is_tried_again_by_who_waits(site: Site) -> None:
    site.app.raises = ValueError("broken")
    making, waits = await _two_wait(site, lambda: site.body(caller("ann")))
    site.app.may_end.set()
    for broken in (making, waits):
        with pytest.raises(ValueError, match="broken"):
            await broken
    site.app.raises = None
    assert await site.body(caller()) == "0 for all at "


async def test_an_error_is_told_to_who_waited_and_not_kept(site: Site) -> None:
    site.app.status = 503
    making, waits = await _two_wait(site, lambda: site.body(caller("ann")))
    site.app.may_end.set()
    assert await making == await waits and site.app.asked == 1
    site.app.status = 200
    status, _, headers = await site.ask(caller())
    assert (status, b"etag" in headers, site.app.asked) == (200, True, 2)


class Clock:
    """A clock that is set by hand."""

    def __init__(self) -> None:
        self.at_s = 1000.0

    def __call__(self) -> float:
        return self.at_s


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(shared, "monotonic_s", made)
    return made


@pytest.fixture
async def aged(site: Site, clock: Clock) -> Site:
    """A site with an answer of nearly the age that it may get, whose next making is held up; by now the number is 1."""
    await site.body(caller("ann"))
    site.app.number += 1  # by somebody whom nobody here knows
    clock.at_s += LONG_S * 0.8
    site.app.begun.clear()
    site.app.may_end.clear()
    return site


async def _begun(site: Site) -> None:
    async with asyncio.timeout(PATIENCE_S):
        await site.app.begun.wait()


async def _made(site: Site) -> None:
    site.app.may_end.set()
    await asyncio.gather(*site.around._renewing, return_exceptions=True)


async def test_an_answer_that_ages_is_made_anew_while_nobody_waits(aged: Site) -> None:
    assert [await aged.body(caller(name)) for name in ("ann", "bob")] == ["0 for all at "] * 2
    await _begun(aged)
    assert await aged.body(caller("cid")) == "0 for all at " and aged.app.asked == 2
    await _made(aged)
    assert [await aged.body(caller(name)) for name in ("ann", "bob")] == ["1 for all at "] * 2
    assert aged.app.asked == 2


async def test_who_may_not_have_the_old_answer_waits_for_the_new_one(aged: Site, clock: Clock) -> None:
    await aged.body(caller("ann"))
    await _begun(aged)
    clock.at_s += LONG_S * 0.45
    waits = asyncio.create_task(aged.body(caller("bob")))
    await asyncio.sleep(0)
    assert not waits.done()
    await _made(aged)
    assert await waits == "1 for all at " and aged.app.asked == 2


async def test_who_has_changed_something_gets_neither_the_old_nor_the_coming_answer(aged: Site) -> None:
    await aged.body(caller("ann"))
    await _begun(aged)
    await aged.ask(caller("bob"), "POST", path="/api/tasks")
    waits = asyncio.create_task(aged.body(caller("bob")))
    await asyncio.sleep(0)
    await _made(aged)
    assert await waits == "2 for all at " and aged.app.asked == 3


async def test_a_renewal_that_breaks_is_told_to_who_asks_next(aged: Site) -> None:
    aged.app.raises = ValueError("broken")
    assert await aged.body(caller("ann")) == "0 for all at "
    await _made(aged)
    with pytest.raises(ValueError, match="broken"):
        await aged.body(caller("ann"))
    aged.app.raises = None
    assert await aged.body(caller("ann")) == "1 for all at "


async def test_who_has_an_answer_already_gets_none_again(site: Site) -> None:
    _, body, headers = await site.ask(caller())
    tag = headers[b"etag"]
    status, nothing, again = await site.ask(caller(), tag=tag)
    assert (status, nothing, again[b"etag"], b"content-length" in again) == (304, b"", tag, False)
    await site.ask(caller(), "POST", path="/api/tasks")
    status, changed, later = await site.ask(caller(), tag=tag)
    assert status == 200 and changed != body and later[b"etag"] != tag


async def test_other_paths_and_methods_pass(site: Site) -> None:
    for method, path, query in (("GET", "/api/tasks/1", ""), ("HEAD", "/api/tasks", ""), ("GET", "/api/tasks", "q" * 501)):
        asked = site.app.asked
        for _ in range(2):
            assert b"etag" not in (await site.ask(caller(), method, path=path, query=query))[2]
        assert site.app.asked == asked + 2


async def test_old_answers_are_forgotten(site: Site, clock: Clock) -> None:
    for number in range(20):
        await site.body(caller(), f"limit={number}")
        clock.at_s += 2 * LONG_S
    assert len(site.around._answers) == 1


def test_a_caller_who_is_forgotten_counts_as_one_who_changed_something(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared, "CALLERS_MAX", 2)
    changes = Changes()
    for name in ("ann", "bob", "ann", "cid"):
        changes.note(name)
    assert [changes.last(name) for name in ("ann", "cid", "bob", "nobody")] == [3, 4, 2, 2]
