"""The media types that bodies of many things come and go in: JSON, JSON lines, and msgpack, which is the cheapest to read."""

from collections.abc import Sequence
from typing import Any

import msgspec
from fastapi import Request
from starlette.responses import Response

JSON, NDJSON, MSGPACK = "application/json", "application/x-ndjson", "application/msgpack"
ALIASES = {"application/ndjson": NDJSON, "application/x-msgpack": MSGPACK, "application/vnd.msgpack": MSGPACK}

_json, _msgpack = msgspec.json.Encoder(), msgspec.msgpack.Encoder()


def accepted(request: Request) -> str:
    """Return the first of our media types that the caller accepts; JSON where it names none."""
    for part in request.headers.get("accept", "").split(","):
        name = part.partition(";")[0].strip().lower()
        kind = ALIASES.get(name, name)
        if kind in (JSON, NDJSON, MSGPACK):
            return kind
    return JSON


def answered(
    request: Request, whole: object, lines: Sequence[object], *, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    """Return an answer about many in the media type that the caller accepts; `lines`: what it has for each, for JSON lines."""
    match kind := accepted(request):
        case "application/msgpack":
            body = _msgpack.encode(whole)
        case "application/x-ndjson":
            body = _json.encode_lines(lines)
        case _:
            body = _json.encode(whole)
    return Response(body, status, headers, kind)


def also(responses: dict[int | str, dict[str, Any]], status: int, schema: dict[str, Any], line: str) -> None:
    """Put the further media types of an answer into its documentation; `line`: what a line of NDJSON is."""
    responses[status]["content"] |= {
        NDJSON: {"schema": {"type": "string", "description": line}},
        MSGPACK: {"schema": schema},
    }
