"""The connection that short reads share: answers reach who asked, and whatever goes wrong sends people the driver's way."""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from amas.engine import line as lines
from amas.engine.connection import Engine
from amas.engine.embedded import EmbeddedEngine
from amas.engine.line import Line, LineBroken

PATIENCE_S = 60.0


async def opened(line: Line) -> None:
    """Ask until there is a line."""
    async with asyncio.timeout(PATIENCE_S):
        while line._talk is None or line._talk.over:
            with suppress(LineBroken):
                await line.ask(("PING",))
            await asyncio.sleep(0.01)


@pytest.fixture
async def line(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> Line:
    monkeypatch.setattr(lines, "PAUSE_S", 0.0)
    await opened(engine.line)
    return engine.line


async def test_every_answer_reaches_who_asked_for_it(engine: Engine, line: Line) -> None:
    key = engine.key("test")
    await engine.read([("HSET", key, *(f"{number}" for each in range(200) for number in (each, each)))])
    found = await asyncio.gather(*(line.ask(("HMGET", key, f"{number}", "none")) for number in range(200)))
    assert found == [[b"%d" % number, None] for number in range(200)]
    large = "x" * (1 << 20)
    await engine.read([("SET", engine.key("large"), large)])
    got = await asyncio.gather(*(line.ask(("GET", engine.key("large"))) for _ in range(5)), line.ask(("EXISTS", key)))
    assert got == [large.encode()] * 5 + [1]


async def test_who_goes_away_takes_nobody_elses_answer(line: Line) -> None:
    asking = [asyncio.create_task(line.ask(("ECHO", f"{number}"))) for number in range(5)]
    await asyncio.sleep(0)
    asking[2].cancel()
    found = await asyncio.gather(*asking, return_exceptions=True)
    assert [str(each) if isinstance(each, BaseException) else each for each in found] == [b"0", b"1", "", b"3", b"4"]
    assert isinstance(found[2], asyncio.CancelledError)


async def test_what_the_server_refuses_is_for_the_drivers_way_to_say(line: Line) -> None:
    found = await asyncio.gather(line.ask(("PING",)), line.ask(("NONSENSE",)), line.ask(("PING",)), return_exceptions=True)
    assert [type(each) for each in found] == [bytes, LineBroken, LineBroken]
    await opened(line)


async def test_a_line_that_the_server_closes_is_opened_anew(engine: Engine, line: Line) -> None:
    number = await line.ask(("CLIENT", "ID"))
    await engine.read([("CLIENT", "KILL", "ID", str(number))])
    await opened(line)
    assert await line.ask(("CLIENT", "ID")) != number


async def test_no_more_wait_than_a_line_carries(line: Line, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "ASKED_MAX", 3)
    found = await asyncio.gather(*(line.ask(("PING",)) for _ in range(5)), return_exceptions=True)
    assert [type(each) for each in found] == [bytes] * 3 + [LineBroken] * 2
    assert await line.ask(("PING",)) == b"PONG"


async def test_nobody_waits_long_for_a_frozen_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "PAUSE_S", 0.0)
    monkeypatch.setattr(lines, "PATIENCE_S", 0.2)
    server = EmbeddedEngine(tmp_path)
    await server.start()
    try:
        async with Engine(server.url) as engine:
            await opened(engine.line)
            assert server.pid is not None
            os.kill(server.pid, signal.SIGSTOP)
            async with asyncio.timeout(PATIENCE_S):
                found = await asyncio.gather(*(engine.line.ask(("PING",)) for _ in range(3)), return_exceptions=True)
            assert [type(each) for each in found] == [LineBroken] * 3
            os.kill(server.pid, signal.SIGCONT)
            await opened(engine.line)
    finally:
        if server.pid is not None:
            os.kill(server.pid, signal.SIGCONT)
        await server.stop()


async def test_a_closed_line_waits_for_nobody(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "PAUSE_S", 0.0)
    with pytest.raises(LineBroken):  # which begins to open it
        await engine.line.ask(("PING",))
    await engine.line.close()
    await opened(engine.line)
    asking = asyncio.create_task(engine.line.ask(("PING",)))
    await asyncio.sleep(0)
    await engine.line.close()
    with pytest.raises(LineBroken):
        await asking
