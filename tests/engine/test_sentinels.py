"""Sentinels that are asked by several connections at once: each stays known, whoever answers."""

import asyncio
from typing import Any

from redis.exceptions import TimeoutError as AskedTooLong

from amas.engine.address import make_pool

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
