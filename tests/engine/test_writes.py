"""Writing at once: no task for a call, and the driver's time-out where a server takes nothing any more."""

import asyncio
import os
import signal
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import pytest

from amas.engine.connection import Engine
from amas.engine.embedded import EmbeddedEngine
from amas.errors import EngineUnreachable
from amas.settings import EngineSettings


async def test_a_call_makes_no_task(engine: Engine) -> None:
    await engine.call("outcomes", b"\x90")  # the connection is made
    made: list[str] = []

    def note(loop: asyncio.AbstractEventLoop, work: Coroutine[Any, Any, Any], **options: Any) -> asyncio.Task[Any]:
        made.append(str(work))
        return asyncio.Task(work, loop=loop, **options)

    loop = asyncio.get_running_loop()
    loop.set_task_factory(note)
    try:
        for _ in range(5):
            assert await engine.call("outcomes", b"\x90") == b"\xdd\x00\x00\x00\x00"
            await engine.read([("PING",)])
    finally:
        loop.set_task_factory(None)
    assert made == []


async def test_a_large_call_to_a_frozen_server_is_given_up_in_time(tmp_path: Path) -> None:
    server = EmbeddedEngine(tmp_path)
    await server.start()
    try:
        async with Engine(server.url, settings=EngineSettings(timeout_s=3.0, ack_timeout_s=1.0)) as engine:
            await engine.read([("PING",)])  # the connection is made
            os.kill(server.pid or 0, signal.SIGSTOP)
            with pytest.raises(EngineUnreachable):
                await asyncio.wait_for(engine.read([("SET", "large", b"x" * (32 << 20))]), 60)
            os.kill(server.pid or 0, signal.SIGCONT)
        async with Engine(server.url) as patient:
            assert await patient.read([("EXISTS", "large")]) == [0]
    finally:
        await server.stop()
