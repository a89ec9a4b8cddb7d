"""Which servers and which function libraries are taken."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.engine.cell import Cell, task

from amas.engine import library
from amas.engine.connection import LIBRARY_KEY, Engine, supported, translated
from amas.engine.embedded import EmbeddedEngine
from amas.errors import EngineError, EngineFunctionsMismatch, EngineUnreachable


@pytest.fixture
async def private(tmp_path: Path) -> Iterator[Engine]:
    """A server whose functions a test may change."""
    server = EmbeddedEngine(tmp_path / "data")
    await server.start()
    async with Engine(server.url) as engine:
        yield engine
    await server.stop()


async def test_a_missing_library_is_named_or_loaded(private: Engine) -> None:
    with pytest.raises(EngineFunctionsMismatch, match="has no function library amas1"):
        await private.check()
    with pytest.raises(EngineFunctionsMismatch):
        await private.call("submit")
    assert (await private.check(load=True))[0].isdigit()
    assert await private.check()


async def test_another_text_of_this_release_is_named_or_replaced(private: Engine) -> None:
    await private.client.function_load(library.source().replace(library.digest(), "0" * 64))
    with pytest.raises(EngineFunctionsMismatch, match="has another version of the function library"):
        await private.check()
    await private.check(load=True)
    assert (await private.call("digest")).decode() == library.digest()


def text_of(release: str, *, interface: int = library.INTERFACE) -> str:
    """The library as another release might have it: one function more, and another digest."""
    name = f"amas{interface}"
    more = f"redis.register_function('{name}_more', function() return 'from {release}' end)"
    return library.assemble(f"{library.body().replace('amas1_', f'{name}_')}\n{more}", release=release, name=name)


@pytest.mark.parametrize("release", ["0.0.1", "0.0.99rc1"])
async def test_an_older_releases_functions_are_replaced(private: Engine, release: str) -> None:
    await private.client.function_load(text_of(release))
    with pytest.raises(EngineFunctionsMismatch):
        await private.check()
    await private.check(load=True)
    assert (await private.call("digest")).decode() == library.digest()


async def test_functions_from_before_releases_were_told_are_replaced(private: Engine) -> None:
    text = text_of("0.0.1")
    await private.client.function_load(text[: text.index("redis.register_function{function_name='amas1_release'")])
    await private.check(load=True)
    assert (await private.call("release")).decode() == library.release()


@pytest.mark.parametrize("release", ["99.0", "99.0.1.dev3"])
async def test_a_newer_releases_functions_serve_and_are_left_alone(private: Engine, release: str) -> None:
    await private.client.function_load(text_of(release))
    await private.check()
    await private.check(load=True)
    assert await private.call("more") == f"from {release}".encode()
    await one_life(Cell(private))


async def test_who_loads_at_the_same_time_takes_turns(private: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A newer library comes between an older loader's look and its load: it stays."""
    look, looked = Engine._told, 0

    async def look_and_be_overtaken(engine: Engine) -> tuple[str, str, str]:
        nonlocal looked
        found = await look(engine)
        looked += 1
        if looked == 2:  # the first look decides to load; the second is the one under the watch
            async with private.client.pipeline() as other:
                other.execute_command("FUNCTION", "LOAD", "REPLACE", text_of("99.0"))
                other.set(LIBRARY_KEY, "99.0")
                await other.execute()
        return found

    monkeypatch.setattr(Engine, "_told", look_and_be_overtaken)
    await private.check(load=True)
    assert looked == 3
    assert await private.call("more") == b"from 99.0"


async def test_a_refused_call_is_our_error(private: Engine) -> None:
    await private.check(load=True)
    with pytest.raises(EngineError, match="refused a call"):
        await private.call("submit")


async def test_an_engine_that_is_not_there(tmp_path: Path) -> None:
    async with Engine(f"unix://{tmp_path}/nothing.sock") as engine:
        with pytest.raises(EngineUnreachable, match="doesn't answer"):
            await engine.check()
        with pytest.raises(TimeoutError):
            await engine.wait_until_ready(timeout_s=0.05)


def test_a_password_stays_out_of_messages() -> None:
    engine = Engine("redis://user:secret@127.0.0.1:1/0")
    assert "secret" not in str(translated(OSError("no"), engine.address))


@pytest.mark.parametrize(
    ("version", "taken"),
    [("6.2.14", False), ("6.9", False), ("7.0.0", True), ("7.0.15", True), ("8.1.0", True), ("10.0.0", True), ("0", False)],
)
def test_which_versions_are_taken(version: str, taken: bool) -> None:
    assert supported(version) is taken


async def test_the_oldest_redis_that_is_taken(tmp_path: Path) -> None:
    """One whole life of tasks on the system's own redis-server, 7.0 on Debian 12."""
    binary = shutil.which("redis-server")
    if binary is None:
        pytest.skip("no redis-server on PATH: `apt-get install --no-install-recommends redis-server` brings one")
    server = EmbeddedEngine(tmp_path / "data", binary=Path(binary))
    await server.start()
    try:
        async with Engine(server.url) as engine:
            await asyncio.wait_for(engine.wait_until_ready(timeout_s=60, load=True), 90)
            await one_life(Cell(engine))
    finally:
        await server.stop()


async def one_life(cell: Cell) -> None:
    await cell.submit(task("p", workflow_id="w"), task("t", workflow_id="w", needs=["p"]), workflow="w", client="me")
    await cell.suspend(await cell.run("p"), task("c", parent_id="p", workflow_id="w"))
    await cell.fail(await cell.run("c"))
    assert await cell.promote() == 1
    await cell.complete(await cell.run("c"))
    await cell.run("p")
    assert await cell.reap()
    await cell.complete(await cell.run("p"))
    await cell.complete(await cell.run("t"))
    assert await cell.workflow_state("w") == "succeeded"
    assert await cell.told_states() == dict.fromkeys(["p", "t", "c"], "succeeded")
    assert await cell.queue.forget(now_ms=cell.now + 4_000_000) == 4  # three tasks and their workflow
