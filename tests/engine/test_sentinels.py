"""Sentinels that are asked by several connections at once: each stays known, whoever answers."""

import asyncio
from typing import Any

import pytest
from redis.exceptions import TimeoutError as AskedTooLong

from amas.engine.address import make_pool
from amas.engine.connection import Engine
from amas.errors import EngineUnreachable

MASTER = {"is_master": True, "is_sdown": False, "is_odown": False, "num-other-sentinels": 2, "ip": "10.0.0.7", "port": 6379}


class Stub:
    """A sentinel that answers once it is told to, and doesn't know the primary unless it `knows`."""

    def __init__(self, *, knows: bool) -> None:
        self.knows, self.may_answer = knows, asyncio.Event()

    async def sentinel_masters(self) -> dict[str, Any]:
        await self.may_answer.wait()
        if not self.knows:
            raise AskedTooLong
        return {"main": MASTER}


async def _connected(_: object) -> None:
    """Nothing is asked of a new connection."""


async def test_a_silent_sentinel_is_kept_although_two_ask_at_once() -> None:
    pool: Any = make_pool("redis+sentinel://one:1,two:2,three:3/main", timeout_s=1.0, connected=_connected)
    await pool.sentinel_manager.aclose()
    silent, knowing, third = stubs = [Stub(knows=False), Stub(knows=True), Stub(knows=True)]
    pool.sentinel_manager.sentinels = list(stubs)
    asked = [asyncio.create_task(pool.sentinel_manager.discover_master("main")) for _ in range(2)]
    for stub in (silent, knowing):
        await asyncio.sleep(0)
        stub.may_answer.set()
    assert await asyncio.gather(*asked) == [("10.0.0.7", 6379)] * 2
    assert pool.sentinel_manager.sentinels == [knowing, silent, third]


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (b"-NOAUTH Authentication required.\r\n", "the sentinels don't take the password"),
        (b"-WRONGPASS invalid username-password pair or user is disabled.\r\n", "the sentinels don't take the password"),
        (b"*0\r\n", "no sentinel names a primary"),
        (b"\x15\x03\x03\x00\x02\x02\x28", "sentinels are spoken to without TLS"),
    ],
)
async def test_a_sentinel_that_refuses_is_one_sentence(reply: bytes, why: str) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while await reader.read(1000):
            writer.write(reply * 3)
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as server:
        url = f"redis+sentinel://:the-password@127.0.0.1:{server.sockets[0].getsockname()[1]}/main"
        with pytest.raises(EngineUnreachable) as refused:
            async with asyncio.timeout(60), Engine(url, cell="x") as engine:
                await engine.read([("PING",)])
    said = str(refused.value)
    assert why in said and "the-password" not in said and "redis.asyncio" not in said
