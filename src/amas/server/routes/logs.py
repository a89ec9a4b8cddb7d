"""Following an agent's log while it is written.

A line's id is its time and how many lines of that time it makes: a reader who comes again names the last that it had, and gets
those after it, as far back as a look at the log goes.
"""

import asyncio
import re
from collections.abc import AsyncIterator
from typing import Annotated, Any, NamedTuple

import msgspec
from fastapi import APIRouter, Header, Path, Query
from starlette.responses import Response, StreamingResponse

from amas.errors import AgentUnknown
from amas.observe.logfiles import Follower
from amas.server.contract import reference, refusals
from amas.server.diagnostic_shapes import LogLine
from amas.server.logs import LINES_MAX, agent_lines
from amas.server.patterns import LOG_PLACE
from amas.server.plane import ControlPlane, Plane
from amas.server.problems import Fault, Refusal

router = APIRouter(prefix="/api/agents", tags=["agents"])

LOOK_EVERY_S = 0.5
QUIET_S = 15.0
"""After so long without a line a comment is sent: connections that are silent are cut off on their way."""
FOLLOWERS_MAX = 20
"""Each looks at every file twice a second."""

_TIME = re.compile(r"[\d:.TZ-]{1,40}", re.ASCII)
_encode = msgspec.json.encode
_decode = msgspec.json.Decoder(dict[str, Any]).decode
_LINE = LogLine(at="2026-01-01T12:00:00.000000Z", level="info", message="reviewed a file", agent_id="code-reviewer-1")
_EVENTS = {"text/event-stream": {"schema": reference(LogLine), "example": f"id: {_LINE.at}~1\ndata: {_encode(_LINE).decode()}"}}
_STREAM: dict[str, Any] = {
    "response_class": Response,
    "responses": {200: {"description": "Events: a line of the log each.", "content": _EVENTS}, **refusals(404, 422, 429, 503)},
}


@router.get("/{agent_id}/logs/stream", summary="Follow an agent's log", **_STREAM)
async def follow_logs(
    agent_id: Annotated[str, Path(max_length=200, description="An agent's name, such as `code-reviewer-1`.")],
    plane: Plane,
    limit: Annotated[int, Query(ge=0, le=LINES_MAX, description="How many of the last lines to begin with.")] = 10,
    last_event_id: Annotated[
        str, Header(pattern=LOG_PLACE, description="As browsers send it: begin after this line instead.")
    ] = "",
) -> Response:
    """Stream the lines of an agent's log from the files of this machine's hosts: the last ones, then each as it is written."""
    if plane.log_followers >= FOLLOWERS_MAX:
        raise Refusal(Fault(detail=f"{FOLLOWERS_MAX} logs are followed already: close one"), status=429, code="streams_full")
    folder = plane.home / "logs"
    last, _ = await asyncio.to_thread(agent_lines, folder, agent_id, limit=1)
    if not last and (await plane.board.roster()).find(agent_id) is None:
        raise AgentUnknown(f"there is no agent {agent_id!r} on any live host, and it has logged nothing")
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(_lines(plane, agent_id, limit, last_event_id), media_type="text/event-stream", headers=headers)


class Line(NamedTuple):
    """A line of a log."""

    at: str
    text: bytes


class Events:
    """Makes lines events, each with its id; none of those that the reader has."""

    def __init__(self, after: str) -> None:
        """`after`: the id of the last line that the reader has, "" for none."""
        at, _, nth = after.partition("~")
        self._had, self._at, self._nth = (at, int(nth or 0)), "", 0

    def of(self, line: Line) -> bytes:
        """Return a line as an event, or nothing."""
        self._nth = self._nth + 1 if line.at == self._at else 1
        self._at = line.at
        if (self._at, self._nth) <= self._had:
            return b""
        return b"id: %s~%d\ndata: %s\n\n" % (self._at.encode(), self._nth, line.text)


async def _lines(plane: ControlPlane, agent_id: str, limit: int, after: str) -> AsyncIterator[bytes]:
    folder, mark = plane.home / "logs", re.compile(rb'"agent_id"\s*:\s*' + re.escape(_encode(agent_id)) + rb"\s*[,}]")
    follower, events, quiet_s = Follower(folder), Events(after), 0.0
    plane.log_followers += 1

    def written() -> list[Line]:
        lines = [(_entry(line), line) for line in follower.new_lines() if mark.search(line)]
        return sorted((Line(_at(entry), line) for entry, line in lines if entry and entry not in last), key=lambda line: line.at)

    try:
        await asyncio.to_thread(follower.skip)
        limit = LINES_MAX if after else limit
        last, _ = await asyncio.to_thread(agent_lines, folder, agent_id, limit=limit) if limit else ([], False)
        yield b"retry: 2000\n\n" + b"".join(events.of(Line(_at(entry), _encode(entry))) for entry in last)
        while True:
            found = await asyncio.to_thread(written)
            last = []  # only what was written while these were read may have come twice
            quiet_s = 0.0 if found else quiet_s + LOOK_EVERY_S
            if found:
                yield b"".join(map(events.of, found))
            elif quiet_s >= QUIET_S:
                quiet_s = 0.0
                yield b": still here\n\n"
            await asyncio.sleep(LOOK_EVERY_S)
    finally:
        plane.log_followers -= 1


def _at(entry: dict[str, Any]) -> str:
    """Return a line's time; "" for what is none, since hosts write what agents print, too."""
    at = entry.get("at", "")
    return at if isinstance(at, str) and _TIME.fullmatch(at) else ""


def _entry(line: bytes) -> dict[str, Any]:
    try:
        return _decode(line)
    except (ValueError, RecursionError):  # a line of a process that died, or nested too deeply
        return {}
