"""The map of all agents, in a format of the page's own (`server/fleet_map.py`), which the API's document leaves out."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from amas.server.plane import Plane

router = APIRouter(prefix="/api/fleet", include_in_schema=False)

_HEADERS = {"cache-control": "no-cache", "vary": "accept-encoding"}


@router.get("/map")
async def get_map(request: Request, plane: Plane) -> Response:
    """Answer with every agent's status; 304 when the caller has it already."""
    drawn = await plane.fleet_map.now()
    headers = {**_HEADERS, "etag": drawn.etag}
    if drawn.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if "gzip" in request.headers.get("accept-encoding", ""):
        return Response(drawn.packed, headers={**headers, "content-encoding": "gzip"}, media_type="application/octet-stream")
    return Response(drawn.body, headers=headers, media_type="application/octet-stream")
