"""Circuit breakers in the engine: each call against each state, and any sequence against a model in Python."""

from dataclasses import dataclass, field
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.engine.cell import Cell

from amas.engine.breakers import Breakers
from amas.engine.connection import Engine
from amas.engine.hosts import HostAbout
from amas.model.breaker import BreakerSpec, BreakerState

API = "payments-api"
HOST = HostAbout(1, "machine", "1", ())


class Uses:
    """Uses of one dependency, by a clock that only the test moves on."""

    def __init__(self, cell: Cell) -> None:
        self.cell, self.breakers, self.count = cell, Breakers(cell.engine), 0

    async def enter(self, host: str = "h1", lasts_s: float = 60.0) -> tuple[str, float]:
        self.count += 1
        token = f"use-{self.count}"
        return token, await self.breakers.enter(API, host_id=host, token=token, lasts_s=lasts_s, now_ms=self.cell.now)

    async def go(self, host: str = "h1") -> str:
        token, wait_s = await self.enter(host)
        assert wait_s == 0
        return token

    async def tell(self, token: str, outcome: str) -> str:
        return await self.breakers.report(API, token=token, outcome=outcome, why="it broke", now_ms=self.cell.now)

    async def open(self) -> None:
        """Have it open."""
        said = [await self.tell(await self.go(), "error") for _ in range(5)]
        assert said == ["", "", "", "", "opened"]

    async def state(self) -> BreakerState:
        (view,) = await self.breakers.all()
        return view.state


@pytest.fixture
async def uses(cell: Cell) -> Uses:
    await cell.host("h1")
    await cell.host("h2")
    return Uses(cell)


@pytest.mark.requirement("M5")
async def test_five_errors_in_a_row_open_it_for_thirty_seconds_for_everybody(uses: Uses) -> None:
    await uses.open()
    for host in ("h1", "h2"):
        assert (await uses.enter(host))[1] == 30.0
    uses.cell.now += 29_000
    assert (await uses.enter())[1] == 1.0


async def test_a_success_begins_the_row_anew(uses: Uses) -> None:
    for outcome in ("error", "error", "error", "error", "ok", "error", "error", "error", "error", "unknown"):
        assert await uses.tell(await uses.go(), outcome) == ""
    assert await uses.tell(await uses.go(), "error") == "opened"


@pytest.mark.requirement("M5")
async def test_half_open_lets_exactly_one_through_and_its_success_closes_it(uses: Uses) -> None:
    await uses.open()
    uses.cell.now += 30_000
    probe = await uses.go("h1")
    assert all([(await uses.enter(host))[1] > 0 for host in ("h1", "h2", "h2")])
    assert await uses.tell(probe, "ok") == "closed"
    await uses.go("h2")
    assert len([await uses.tell(await uses.go(), "error") for _ in range(4)]) == 4  # the row begins at 0


async def test_a_probe_that_fails_opens_it_anew(uses: Uses) -> None:
    await uses.open()
    uses.cell.now += 31_000
    assert await uses.tell(await uses.go(), "error") == "opened"
    assert (await uses.enter())[1] == 30.0
    (view,) = await uses.breakers.all()
    assert (view.opened, view.why, view.errors_max) == (2, "it broke", 5)


async def test_what_began_before_it_opened_says_nothing_of_it(uses: Uses) -> None:
    early = await uses.go()
    await uses.open()
    assert await uses.tell(early, "ok") == ""
    assert (await uses.enter())[1] == 30.0


@pytest.mark.parametrize("end", ["its host dies", "its time is up", "nobody knows how it went"])
async def test_a_probe_that_never_says_anything_makes_room_for_another(uses: Uses, end: str) -> None:
    await uses.open()
    uses.cell.now += 30_000
    probe, _ = await uses.enter("h2", lasts_s=10.0)
    assert (await uses.enter())[1] > 0
    match end:
        case "its host dies":
            await uses.cell.hosts.leave("h2", now_ms=uses.cell.now)
        case "its time is up":
            uses.cell.now += 10_000
        case _:
            await uses.tell(probe, "unknown")
    await uses.go("h1")
    assert await uses.tell(probe, "ok") == ""  # too late


async def test_limits_are_declared_and_a_person_may_close_it(uses: Uses) -> None:
    await uses.breakers.declare({API: BreakerSpec(errors=1, open_s=5.0)})
    assert await uses.tell(await uses.go(), "error") == "opened"
    assert (await uses.enter())[1] == 5.0
    assert await uses.breakers.reset(API, now_ms=uses.cell.now)
    await uses.go()
    assert not await uses.breakers.reset("nobody", now_ms=uses.cell.now)


async def test_breakers_keep_apart_and_cost_nothing_unless_used(uses: Uses) -> None:
    assert not [name for name in await uses.cell.keys() if "breaker" in name]
    await uses.open()
    wait_s = await uses.breakers.enter("another", host_id="h1", token="x", lasts_s=1.0, now_ms=uses.cell.now)
    assert wait_s == 0


@dataclass
class Model:
    """The breaker as its header describes it."""

    errors: int = 0
    until: int | None = None
    probe: str = ""
    probe_until: int = 0
    going: list[str] = field(default_factory=list)

    def enter(self, token: str, now: int) -> bool:
        if self.until is not None:
            if now < self.until or (self.probe and self.probe_until > now):
                return False
            self.probe, self.probe_until = token, now + 60_000
        self.going.append(token)
        return True

    def report(self, token: str, outcome: str, now: int) -> None:
        if self.until is None:
            self.errors = {"ok": 0, "error": self.errors + 1, "unknown": self.errors}[outcome]
            if self.errors == 5:
                self.until, self.errors, self.probe = now + 30_000, 0, ""
        elif token == self.probe:
            self.probe = ""
            self.until = {"ok": None, "error": now + 30_000, "unknown": self.until}[outcome]


MOVES = st.lists(
    st.one_of(
        st.just(("enter", 0)),
        st.tuples(st.sampled_from(["ok", "error", "error", "error", "unknown"]), st.integers(0, 5)),
        st.tuples(st.just("pass"), st.sampled_from([1, 10_000, 30_000, 60_000])),
    ),
    max_size=60,
)


OPENED = [("enter", 0), ("error", 0)] * 5 + [("pass", 30_000)]


@given(st.sampled_from([[], OPENED]), MOVES)
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_sequence_of_uses_ends_as_the_model_says(
    engine: Engine, first: list[tuple[str, int]], then: list[tuple[str, int]]
) -> None:
    cell, model, api = Cell(engine), Model(), uuid4().hex
    breakers, tokens = Breakers(engine), 0
    await cell.hosts.register("h1", HOST, lease_s=10**9, now_ms=cell.now)
    for move, number in [*first, *then]:
        if move == "pass":
            cell.now += number
        elif move == "enter":
            tokens += 1
            wait_s = await breakers.enter(api, host_id="h1", token=str(tokens), lasts_s=60.0, now_ms=cell.now)
            assert (wait_s == 0) == model.enter(str(tokens), cell.now)
        elif model.going:
            token = model.going.pop(number % len(model.going))
            await breakers.report(api, token=token, outcome=move, now_ms=cell.now)
            model.report(token, move, cell.now)
        held = {view.name: view for view in await breakers.all()}
        if api in held:
            assert (held[api].errors, held[api].open_until_ms) == (model.errors, model.until or 0)
