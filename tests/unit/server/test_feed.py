"""The feed of figures: one look for all, the newest frame for each, and none while nobody listens."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from amas.errors import EngineUnreachable
from amas.server import feed
from amas.server.events import HEARTBEAT
from amas.server.feed import Feed
from amas.server.routes.fleet import FIGURES
from amas.server.shapes import FleetFigures


class Looks:
    """What a feed looks at: figures that the test changes."""

    def __init__(self) -> None:
        self.count, self.open, self.error = 0, 0, False

    async def __call__(self) -> FleetFigures:
        self.count += 1
        if self.error:
            raise EngineUnreachable("nobody is there")
        return msgspec.structs.replace(FIGURES, workflows_open=self.open)


@pytest.fixture
def looks(monkeypatch) -> Looks:
    monkeypatch.setattr(feed, "EVERY_S", 0.001)
    return Looks()


@asynccontextmanager
async def running(looks: Looks) -> AsyncIterator[Feed]:
    made = Feed()
    task = asyncio.create_task(made.run(looks))
    try:
        async with asyncio.timeout(60):
            yield made
    finally:
        task.cancel()
        await asyncio.wait([task])


async def figures_of(stream: AsyncIterator[bytes], *, event: bytes = b"event: figures") -> tuple[str, dict]:
    """Return the id and the data of the next event."""
    while (chunk := await anext(stream)) in (feed.AGAIN, HEARTBEAT):
        pass
    kind, number, data, *_ = chunk.split(b"\n")
    assert kind == event
    return number.decode().removeprefix("id: "), msgspec.json.decode(data.removeprefix(b"data: "))


async def test_all_listeners_share_one_look_and_one_frame(looks: Looks) -> None:
    async with running(looks) as made:
        streams = [made.stream() for _ in range(50)]
        await asyncio.gather(*(anext(one) for one in streams))
        frames = await asyncio.gather(*(anext(one) for one in streams))
        assert len({id(frame) for frame in frames}) == 1
        before = looks.count
        looks.open = 7
        seen = await asyncio.gather(*(figures_of(one) for one in streams))
        assert [found["workflows_open"] for _, found in seen] == [7] * 50
        assert looks.count - before < 50


async def test_nothing_is_sent_twice_and_nothing_old_to_newcomers(looks: Looks) -> None:
    async with running(looks) as made:
        first = made.stream()
        number, _ = await figures_of(first)
        again = made.stream(number)
        assert await anext(again) == feed.AGAIN
        looks.open = 3
        for one in (first, again):
            assert (await figures_of(one))[1]["workflows_open"] == 3
            await one.aclose()
        looks.open = 4
        await asyncio.sleep(2 * feed.EVERY_S)
        assert (await figures_of(made.stream()))[1]["workflows_open"] == 4


async def test_who_comes_back_at_once_needs_no_new_look(looks: Looks, monkeypatch) -> None:
    monkeypatch.setattr(feed, "EVERY_S", 3600.0)
    async with running(looks) as made:
        stream = made.stream()
        number, _ = await figures_of(stream)
        await stream.aclose()
        assert (await figures_of(made.stream()))[0] == number


async def test_nobody_looks_while_nobody_listens(looks: Looks) -> None:
    async with running(looks) as made:
        stream = made.stream()
        await figures_of(stream)
        await stream.aclose()
        await asyncio.sleep(0.01)
        before = looks.count
        await asyncio.sleep(0.05)
        assert looks.count == before


async def test_a_slow_reader_gets_the_newest_and_misses_those_before(looks: Looks) -> None:
    async with running(looks) as made:
        slow, quick = made.stream(), made.stream()
        await figures_of(slow)
        for number in range(1, 20):
            looks.open = number
            await until_shows(quick, number)
        assert (await figures_of(slow))[1]["workflows_open"] == 19


async def until_shows(stream: AsyncIterator[bytes], number: int) -> None:
    while (await figures_of(stream))[1]["workflows_open"] != number:
        pass


async def test_an_engine_that_is_away_is_told_once_and_its_return_too(looks: Looks) -> None:
    async with running(looks) as made:
        stream = made.stream()
        await figures_of(stream)
        looks.error = True
        _, away = await figures_of(stream, event=b"event: away")
        assert away == {"code": "engine_unreachable", "detail": "nobody is there"}
        looks.error = False
        assert (await figures_of(stream))[1]["workflows_open"] == 0


async def test_a_quiet_stream_has_a_heartbeat_and_ends_with_the_server(looks: Looks, monkeypatch) -> None:
    monkeypatch.setattr(feed, "HEARTBEAT_S", 0.01)
    async with running(looks) as made:
        stream = made.stream()
        await figures_of(stream)
        assert await anext(stream) == HEARTBEAT
        made.close()
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
        assert made.listeners == 0
