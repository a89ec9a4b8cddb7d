"""Following an agent's log while it is written (B9, A16)."""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query
from starlette.responses import Response, StreamingResponse

from amas.errors import AgentUnknown
from amas.observe.logfiles import Follower
from amas.server.contract import reference, refusals
from amas.server.diagnostic_shapes import LogLine
from amas.server.logs import LINES_MAX, agent_lines
from amas.server.plane import ControlPlane, Plane
from amas.server.problems import Fault, Refusal

router = APIRouter(prefix="/api/agents", tags=["agents"])

LOOK_EVERY_S = 0.5
QUIET_S = 15.0
"""After so long without a line a comment is sent: connections that are silent are cut off on their way."""
FOLLOWERS_MAX = 20
"""Each looks at every file twice a second."""

_encode = msgspec.json.encode
_LINE = LogLine(at="2026-01-01T12:00:00.000000Z", level="info", message="reviewed a file", agent_id="code-reviewer-1")
_EVENTS = {"text/event-stream": {"schema": reference(LogLine), "example": f"data: {_encode(_LINE).decode()}"}}
_STREAM: dict[str, Any] = {
    "response_class": Response,
    "responses": {200: {"description": "Events: a line of the log each.", "content": _EVENTS}, **refusals(404, 422, 429, 503)},
}


@router.get("/{agent_id}/logs/stream", summary="Follow an agent's log", **_STREAM)
async def follow_logs(
    agent_id: Annotated[str, Path(max_length=200, description="An agent's name, such as `code-reviewer-1`.")],
    plane: Plane,
    limit: Annotated[int, Query(ge=0, le=LINES_MAX, description="How many of the last lines to begin with.")] = 10,
) -> Response:
    """Stream the lines of an agent's log from the files of this machine's hosts: the last ones, then each as it is written."""
    if plane.log_followers >= FOLLOWERS_MAX:
        raise Refusal(Fault(detail=f"{FOLLOWERS_MAX} logs are followed already: close one"), status=429, code="streams_full")
    folder = plane.home / "logs"
    last, _ = await asyncio.to_thread(agent_lines, folder, agent_id, limit=1)
    if not last and (await plane.board.roster()).find(agent_id) is None:
        raise AgentUnknown(f"there is no agent {agent_id!r} on any live host, and it has logged nothing")
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(_lines(plane, agent_id, limit), media_type="text/event-stream", headers=headers)


async def _lines(plane: ControlPlane, agent_id: str, limit: int) -> AsyncIterator[bytes]:
    folder, mark = plane.home / "logs", re.compile(rb'"agent_id"\s*:\s*' + re.escape(_encode(agent_id)) + rb"\s*[,}]")
    follower, quiet_s = Follower(folder), 0.0
    plane.log_followers += 1
    try:
        await asyncio.to_thread(follower.skip)
        last, _ = await asyncio.to_thread(agent_lines, folder, agent_id, limit=limit) if limit else ([], False)
        yield b"retry: 2000\n\n" + b"".join(_event(_encode(line)) for line in last)
        while True:
            found = await asyncio.to_thread(lambda: [line for line in follower.new_lines() if mark.search(line)])
            if last:  # some may have been written while these were read
                found, last = [line for line in found if _decoded(line) not in last], []
            quiet_s = 0.0 if found else quiet_s + LOOK_EVERY_S
            if found:
                yield b"".join(map(_event, found))
            elif quiet_s >= QUIET_S:
                quiet_s = 0.0
                yield b": still here\n\n"
            await asyncio.sleep(LOOK_EVERY_S)
    finally:
        plane.log_followers -= 1


def _decoded(line: bytes) -> object:
    try:
        return msgspec.json.decode(line)
    except msgspec.MsgspecError:  # a line of a process that died
        return None


def _event(line: bytes) -> bytes:
    return b"data: " + line + b"\n\n"
