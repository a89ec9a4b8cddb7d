"""The engine's whole state as it stood at one moment, taken from a server at work, and given to a new one.

`point_in_time` asks for it as a replica would (REPLCONF, SYNC), so it works with any server that we can reach, and needs no file
on its machine: the server forks, and the fork sends its memory as an RDB file while the server goes on. What a write costs more
meanwhile is the copy of the memory pages that it touches. `placed` puts such a file where an embedded server loads it at start.
Sources: https://valkey.io/topics/replication/, and `getRDB` of valkey-cli.c, which asks in the same words.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from amas.engine.connection import Engine, cancellable, translated
from amas.engine.driver import exceptions as driver_errors
from amas.errors import EngineError, EngineUnreachable
from amas.model.states import TaskState

SILENCE_S = 120.0
"""A server that waits for its fork says so every few seconds; one that is silent for so long is gone."""
BEGIN_S = 600.0
"""What a rewrite of the server's log, which goes first, may take."""
PIECE_BYTES = 1 << 20
SCANNED = 5000
"""Keys in one look: some milliseconds of a server."""
_MARK_BYTES = 40  # of what ends a file whose length the server doesn't know when it begins

BASE = "appendonly.aof.1.base.rdb"
FOLDER = "appendonlydir"
"""Where an embedded server looks for its log, whose beginning may be an RDB file."""


class Snapshot:
    """One that has begun: its moment is over, its bytes are on their way."""

    def __init__(self, reader: asyncio.StreamReader, *, size: int, mark: bytes) -> None:
        self._reader, self._left, self._mark = reader, size, mark

    async def pieces(self) -> AsyncIterator[bytes]:
        """Yield the RDB file in pieces of up to 1 MiB; EngineUnreachable when it breaks off."""
        kept = b""
        while self._mark or self._left:
            piece = await _read(self._reader, PIECE_BYTES if self._mark else min(PIECE_BYTES, self._left))
            if not piece:
                raise EngineUnreachable("the engine broke its snapshot off: its log says why, a full disk or memory most likely")
            if not self._mark:
                self._left -= len(piece)
                yield piece
                continue
            kept += piece
            if kept.endswith(self._mark):
                yield kept[:-_MARK_BYTES]
                return
            if len(kept) > _MARK_BYTES:
                yield kept[:-_MARK_BYTES]
                kept = kept[-_MARK_BYTES:]


@asynccontextmanager
async def point_in_time(engine: Engine) -> AsyncIterator[Snapshot]:
    """Have the server fix its state, and give what sends it; EngineError says why it doesn't, such as a missing permission."""
    connection: Any = engine.new_connection()
    try:
        with cancellable():
            try:
                await connection.connect()
                for words in (("REPLCONF", "capa", "eof"), ("REPLCONF", "rdb-only", "1")):
                    await connection.send_command(*words)
                    await connection.read_response()
                await connection.send_command("SYNC")
            except (driver_errors.RedisError, OSError) as error:
                raise translated(error, engine.address) from error
        async with asyncio.timeout(BEGIN_S):
            snapshot = await _begun(connection._reader, engine.address)  # the driver has no word for a stream of bytes
        yield snapshot
    except TimeoutError as error:
        raise EngineUnreachable(f"the engine at {engine.address} doesn't begin a snapshot") from error
    finally:
        with suppress(driver_errors.RedisError, OSError):
            await connection.disconnect(nowait=True)


async def _begun(reader: asyncio.StreamReader, address: str) -> Snapshot:
    line = b"\n"
    while line == b"\n":  # it waits for its fork
        line = await _read_line(reader)
    if not line.startswith(b"$"):
        said = line.decode(errors="replace").strip().removeprefix("-") or "nothing"
        raise EngineError(
            f"the engine at {address} hands out no snapshot (it said: {said}): a back-up needs a server and a user that may SYNC"
        )
    if line.startswith(b"$EOF:"):
        return Snapshot(reader, size=0, mark=line[5:].strip())
    return Snapshot(reader, size=int(line[1:]), mark=b"")


async def _read(reader: asyncio.StreamReader, most: int) -> bytes:
    async with asyncio.timeout(SILENCE_S):
        return await reader.read(most)


async def _read_line(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(SILENCE_S):
        return await reader.readline()


@contextmanager
def placed(folder: Path) -> Iterator[BinaryIO]:
    """Give the file for a snapshot in the folder of an embedded engine that never ran; after the block it is what it loads."""
    inside = folder / FOLDER
    inside.mkdir(parents=True, mode=0o700)
    with (inside / BASE).open("xb") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())
    (inside / "appendonly.aof.manifest").write_text(f"file {BASE} seq 1 type b\n")


async def open_states(engine: Engine) -> tuple[dict[str, str], dict[str, str]]:
    """Return the state of every task that hasn't ended and of every open workflow, by id: for a server that nobody else uses."""
    tasks: dict[str, str] = {}
    prefix, cursor = engine.key("t", ""), 0
    while True:
        ((following, names),) = await engine.read([("SCAN", cursor, "MATCH", f"{prefix}:*", "COUNT", SCANNED)])
        cursor = int(following)
        states = await engine.read([("HGET", name, "s") for name in names])
        tasks |= {name.decode().rpartition(":")[2]: state.decode() for name, state in zip(names, states, strict=True) if state}
        if not cursor:
            break
    (ids,) = await engine.read([("ZRANGE", engine.key("open"), 0, -1)])
    found = await engine.read([("HGET", engine.key("w", workflow_id.decode()), "s") for workflow_id in ids])
    workflows = {workflow_id.decode(): (state or b"").decode() for workflow_id, state in zip(ids, found, strict=True)}
    return {task_id: state for task_id, state in tasks.items() if not TaskState(state).terminal}, workflows
