"""A primary, replicas and sentinels, each a real server on a port of its own, for tests that kill and freeze them."""

import asyncio
import shutil
import subprocess
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import pytest
import redis.asyncio as driver
from receivers import free_port

from amas.engine.embedded import find_binary

NAME = "cell-one"
LIMIT_S = 60.0


def oldest_redis() -> Path:
    """The system's redis-server, 7.0 on Debian 12, which has no WAITAOF."""
    found = shutil.which("redis-server")
    if found is None:
        pytest.skip("no redis-server on PATH: `apt-get install --no-install-recommends redis-server` brings one")
    return Path(found)


class Server:
    """One server process on a folder and a port of its own."""

    def __init__(self, binary: Path, folder: Path, options: Sequence[str], *, sentinel: str = "") -> None:
        self.port = free_port()
        self._binary, self._folder, self._options, self._sentinel = binary, folder, list(options), sentinel
        self.process: asyncio.subprocess.Process | None = None
        self.client = driver.Redis(port=self.port, socket_timeout=10, protocol=2)

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    async def start(self, *more: str) -> None:
        self._folder.mkdir(exist_ok=True)
        arguments = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self._folder), "--logfile", "log", *more]
        if self._sentinel:
            file = self._folder / "sentinel.conf"
            file.write_text(self._sentinel)
            arguments = [str(file), "--sentinel", *arguments]
        self.process = await asyncio.create_subprocess_exec(
            str(self._binary), *arguments, *self._options, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        async with asyncio.timeout(LIMIT_S):
            while not await self._answers():
                assert self.process.returncode is None, (self._folder / "log").read_text()[-2000:]
                await asyncio.sleep(0.02)

    async def _answers(self) -> bool:
        try:
            return bool(await self.client.ping())
        except (driver.RedisError, OSError):
            return False

    def send(self, signal: int) -> None:
        assert self.process is not None
        self.process.send_signal(signal)

    async def gone(self) -> None:
        assert self.process is not None
        await self.process.wait()

    async def stop(self) -> None:
        await self.client.aclose()
        if self.process is not None and self.process.returncode is None:
            self.process.kill()
            await self.process.wait()

    async def until(self, section: str, field: str, value: object) -> None:
        """Return once INFO says so."""
        async with asyncio.timeout(LIMIT_S):
            while (await self.client.info(section)).get(field) != value:
                await asyncio.sleep(0.02)


class ReplicaSet:
    """Two servers, the second following the first, and sentinels that watch them."""

    def __init__(self, first: Server, second: Server, sentinels: list[Server]) -> None:
        self.first, self.second, self.sentinels = first, second, sentinels

    @property
    def url(self) -> str:
        places = ",".join(f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{places}/{NAME}"

    @property
    def first_url(self) -> str:
        return f"redis://127.0.0.1:{self.first.port}"

    async def in_step(self) -> None:
        """Return once the replica follows the primary's writes as they come."""
        await self.second.until("replication", "master_link_status", "up")
        async with (
            asyncio.timeout(LIMIT_S),
            self.first.client.client() as one,
        ):  # its own writes are waited for
            while not (await one.set("in step", 1) and await one.wait(1, 1000)):
                pass


@asynccontextmanager
async def replica_set(
    folder: Path, *, binary: Path | None = None, sentinels: int = 0, appendfsync: str = "always"
) -> AsyncIterator[ReplicaSet]:
    """Run them for the body."""
    binary = binary or find_binary()
    durable = ["--appendonly", "yes", "--appendfsync", appendfsync, "--save", "", "--repl-diskless-sync-delay", "0"]
    async with AsyncExitStack() as stack:

        async def started(server: Server, *more: str) -> Server:
            stack.push_async_callback(server.stop)
            await server.start(*more)
            return server

        first = await started(Server(binary, folder / "first", durable))
        second = await started(Server(binary, folder / "second", durable), "--replicaof", "127.0.0.1", str(first.port))
        whole = ReplicaSet(first, second, [])
        await whole.in_step()
        quorum = sentinels // 2 + 1
        for number in range(sentinels):
            watch = (
                f"sentinel monitor {NAME} 127.0.0.1 {first.port} {quorum}\n"
                f"sentinel down-after-milliseconds {NAME} 2000\n"
                f"sentinel failover-timeout {NAME} 5000\n"
            )
            whole.sentinels.append(await started(Server(binary, folder / f"sentinel{number}", [], sentinel=watch)))
        for sentinel in whole.sentinels:
            await _until_watching(sentinel, others=sentinels - 1)
        yield whole


async def _until_watching(sentinel: Server, *, others: int) -> None:
    async with asyncio.timeout(LIMIT_S):
        while True:
            state = await sentinel.client.execute_command("SENTINEL", "MASTER", NAME)
            found = {name.decode(): value for name, value in zip(state[::2], state[1::2], strict=True)}
            if int(found["num-slaves"]) == 1 and int(found["num-other-sentinels"]) >= others:
                return
            await asyncio.sleep(0.05)
