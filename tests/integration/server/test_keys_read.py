"""How often a control plane asks for the API keys: on a real engine, counted where it is asked."""

import asyncio
from collections.abc import Mapping

import pytest

import amas.server.identity
from amas.engine.access import ApiKeys
from amas.engine.connection import Engine
from amas.errors import EngineError
from amas.model.access import ApiKey
from amas.server.identity import KeyRing

PATIENCE_S = 60.0


class Slow(ApiKeys):
    """Answers when it may, and counts who asks."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.asked, self.begun, self.may_answer = 0, asyncio.Event(), asyncio.Event()
        self.may_answer.set()
        self.away = False

    async def all(self) -> dict[str, ApiKey]:
        self.asked += 1
        self.begun.set()
        found = await super().all()
        await self.may_answer.wait()
        if self.away:
            raise EngineError("the engine is away")
        return found


@pytest.fixture
def ring(engine: Engine) -> KeyRing:
    made = KeyRing(engine)
    made.kept = Slow(engine)
    return made


def _kept(ring: KeyRing) -> Slow:
    assert isinstance(ring.kept, Slow)
    return ring.kept


async def _asked(ring: KeyRing, times: int) -> list[asyncio.Task[Mapping[str, ApiKey]]]:
    """Have so many requests ask, and return once the engine has been asked as often as it will be."""
    asking = [asyncio.create_task(ring.all()) for _ in range(times)]
    async with asyncio.timeout(PATIENCE_S):
        await _kept(ring).begun.wait()
    await asyncio.sleep(0)
    return asking


async def test_all_who_must_wait_wait_for_one_reading(ring: KeyRing) -> None:
    _kept(ring).may_answer.clear()
    asking = await _asked(ring, 20)
    _kept(ring).may_answer.set()
    assert [dict(each) for each in await asyncio.gather(*asking)] == [{}] * 20
    assert _kept(ring).asked == 1


async def test_keys_that_age_are_read_anew_while_nobody_waits(ring: KeyRing, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(amas.server.identity, "KEYS_STALE_S", 3600.0)
    await ring.all()
    ring._read_s -= 2000.0
    _kept(ring).begun.clear()
    _kept(ring).may_answer.clear()
    for _ in range(3):
        assert await ring.all() == {}
    async with asyncio.timeout(PATIENCE_S):
        await _kept(ring).begun.wait()
    assert await ring.all() == {} and _kept(ring).asked == 2
    ring._read_s -= 2000.0
    waits = asyncio.create_task(ring.all())
    await asyncio.sleep(0)
    assert not waits.done()
    _kept(ring).may_answer.set()
    assert await waits == {} and _kept(ring).asked == 2


async def test_what_was_being_read_at_a_change_is_nothing_for_who_asks_after_it(ring: KeyRing) -> None:
    _kept(ring).may_answer.clear()
    (before,) = await _asked(ring, 1)
    ring.forget()
    _kept(ring).begun.clear()
    (after,) = await _asked(ring, 1)
    assert _kept(ring).asked == 2
    _kept(ring).may_answer.set()
    await asyncio.gather(before, after)
    assert await ring.all() == {} and _kept(ring).asked == 2


async def test_a_reading_that_fails_is_told_to_who_waits_and_tried_again(ring: KeyRing) -> None:
    _kept(ring).away = True
    for error in await asyncio.gather(*await _asked(ring, 2), return_exceptions=True):
        assert isinstance(error, EngineError)
    _kept(ring).away = False
    assert await ring.all() == {} and _kept(ring).asked == 2


async def test_a_request_that_goes_away_leaves_the_others_their_reading(ring: KeyRing) -> None:
    _kept(ring).may_answer.clear()
    gone, stays = await _asked(ring, 2)
    gone.cancel()
    _kept(ring).may_answer.set()
    assert await stays == {} and _kept(ring).asked == 1
