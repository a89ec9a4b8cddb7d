"""A stand-by takes over from a part that ended, does nothing before, and is missed by nobody. Real processes."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from amas.errors import StartFailed
from amas.platforms.local import standby
from amas.platforms.local.home import Home
from amas.platforms.local.standby import Relieved

PART = """
import os, signal, sys
from amas.platforms.local.ready import await_turn, stands_by, tell_ready

def note(what):
    with open("life.txt", "a") as life:
        life.write(f"{what} {os.getpid()}\\n")

note("waits" if stands_by() else "starts")
await_turn()
note("begins")
tell_ready()
signal.pause()
"""


def life(home: Path, what: str) -> list[int]:
    written = home / "life.txt"
    lines = written.read_text().splitlines() if written.exists() else []
    return [int(line.split()[1]) for line in lines if line.split()[0] == what]


async def until(happened: Callable[[], object]) -> None:
    async with asyncio.timeout(60):
        while not happened():
            await asyncio.sleep(0.01)


@pytest.fixture
def part(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Relieved:
    monkeypatch.setattr(standby, "LOOK_S", 0.01)
    home = Home(tmp_path)
    home.prepare()
    return Relieved("part", [sys.executable, "-c", PART], home)


@asynccontextmanager
async def relieved(part: Relieved) -> AsyncIterator[None]:
    keeping = asyncio.ensure_future(part.keep_relief())
    try:
        yield
    finally:
        keeping.cancel()
        with suppress(asyncio.CancelledError):
            await keeping


@pytest.mark.requirement("A5", "T6")
async def test_the_one_that_waited_takes_over_and_another_waits(part: Relieved, tmp_path: Path) -> None:
    first = await part.spawn()
    await part.said_ready(first)
    async with relieved(part):
        await until(lambda: life(tmp_path, "waits"))
        (waiting,) = life(tmp_path, "waits")
        assert life(tmp_path, "begins") == [first.pid]
        first.kill()
        await first.wait()
        before = part.mark
        second = await part.spawn()
        await part.said_ready(second)
        assert second.pid == waiting
        assert part.mark != before
        assert life(tmp_path, "begins") == [first.pid, waiting]
        assert life(tmp_path, "starts") == [first.pid]
        await until(lambda: len(life(tmp_path, "waits")) == 2)
    third = life(tmp_path, "waits")[1]
    with pytest.raises(ProcessLookupError):
        os.kill(third, 0)
    assert third not in life(tmp_path, "begins")
    second.send_signal(signal.SIGKILL)
    assert "killed by signal 9" in str(part.failure(await second.wait()))


async def test_where_the_one_that_waited_has_died_a_new_one_is_started(
    part: Relieved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with relieved(part):
        await until(lambda: life(tmp_path, "waits"))
        monkeypatch.setattr(standby, "LOOK_S", 3600.0)
        await asyncio.sleep(0.05)  # its last short pause is over: nobody else makes another
        waiting = life(tmp_path, "waits")[-1]
        assert part._next is not None
        os.kill(waiting, signal.SIGKILL)
        await part._next.launched.process.wait()
        process = await part.spawn()
        await part.said_ready(process)
        assert life(tmp_path, "begins") == life(tmp_path, "starts") == [process.pid]
        process.kill()
        await process.wait()


async def test_one_whose_supervisor_has_gone_ends_without_having_begun(part: Relieved, tmp_path: Path) -> None:
    read_end, turn = os.pipe()
    waiting = await part._launch({standby.TURN_FD: str(read_end)}, handles=(read_end,))
    os.close(read_end)
    await until(lambda: life(tmp_path, "waits"))
    os.close(turn)
    assert await asyncio.wait_for(waiting.process.wait(), 60) == 0
    assert life(tmp_path, "begins") == []
    waiting.heard.close()


async def test_no_room_for_another_process_is_no_harm(part: Relieved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    async def refused(*_: object, **__: object) -> None:
        tries.append(1)
        raise BlockingIOError(11, "Resource temporarily unavailable")

    async with relieved(part):
        with monkeypatch.context() as full:
            full.setattr(part, "_launch", refused)
            await until(lambda: len(tries) > 2)
        await until(lambda: life(tmp_path, "waits"))


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (BlockingIOError(11, "Resource temporarily unavailable"), "part can't be started: Resource temporarily unavailable"),
        (FileNotFoundError(2, "No such file or directory", "/opt/python"), "part can't be started: /opt/python isn't there"),
    ],
)
async def test_a_start_that_the_system_refuses_is_an_error_that_can_be_tried_again(
    part: Relieved, monkeypatch: pytest.MonkeyPatch, error: OSError, said: str
) -> None:
    async def refused(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(asyncio, "create_subprocess_exec", refused)
    with pytest.raises(StartFailed, match=said):
        await part.spawn()


async def test_no_file_left_for_a_stand_by_is_no_harm(part: Relieved, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []

    def refused() -> None:
        tries.append(1)
        raise OSError(24, "Too many open files")

    async with relieved(part):
        with monkeypatch.context() as full:
            full.setattr(os, "pipe", refused)
            await until(lambda: len(tries) > 2)
        await until(lambda: life(tmp_path, "waits"))
