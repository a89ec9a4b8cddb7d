"""The fleet's figures as they change, for dashboards."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Header
from starlette.responses import Response, StreamingResponse

from amas.server.contract import reference, refusals
from amas.server.feed import LISTENERS_MAX
from amas.server.patterns import FIGURES_ID
from amas.server.plane import Plane
from amas.server.problems import Fault, Refusal
from amas.server.routes.fleet import FIGURES
from amas.server.shapes import FleetFigures

router = APIRouter(prefix="/api", tags=["fleet"])

STREAM_HEADERS = {"cache-control": "no-store", "x-accel-buffering": "no"}

_LIVE: dict[str, Any] = {
    "response_class": Response,
    "responses": {
        200: {
            "description": (
                "Server-sent events. `figures` carries what `GET /api/metrics` answers, when it has changed and once a second at "
                "most; `away`, with `code` and `detail`: the engine or the records don't answer just now."
            ),
            "content": {
                "text/event-stream": {"schema": reference(FleetFigures), "example": msgspec.json.encode(FIGURES).decode()}
            },
        },
        **refusals(422, 429),
    },
}


@router.get("/live", summary="Follow the fleet's figures live", **_LIVE)
async def follow_figures(
    plane: Plane,
    last_event_id: Annotated[
        str, Header(pattern=FIGURES_ID, description="As browsers send it: figures that the reader has aren't sent again.")
    ] = "",
) -> Response:
    """Stream the figures of the whole fleet; whoever reads slowly gets the newest and misses those in between."""
    if plane.feed.listeners >= LISTENERS_MAX:
        raise Refusal(Fault(detail=f"{LISTENERS_MAX} streams are open: close one"), status=429, code="streams_full")
    return StreamingResponse(plane.feed.stream(last_event_id), media_type="text/event-stream", headers=STREAM_HEADERS)
