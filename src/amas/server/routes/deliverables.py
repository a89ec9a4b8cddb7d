"""The files of a goal's deliverable, to be read in a browser. What agents wrote is foreign: no script of it runs here.

Only what publishing listed in its folder is handed out: a result that merely looks like a deliverable opens no other file.
"""

import asyncio
import mimetypes
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter
from fastapi import Path as InPath
from starlette.responses import Response

from amas.agents.grounds import is_own
from amas.server.contract import BYTES, refusals
from amas.server.lookups import workflow_detail
from amas.server.plane import Plane
from amas.server.problems import Fault, Refusal
from amas.server.routes.workflows import WorkflowId
from amas.server.tenancy import tenant_of_workflow

router = APIRouter(prefix="/api/workflows", tags=["goals"])

BYTES_MAX = 32 << 20
"""A report that is larger than this is no reading matter."""
_HEADERS = {
    "content-security-policy": "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; frame-ancestors 'self'",
    "x-content-type-options": "nosniff",
    "cache-control": "no-cache",
}
File = Annotated[str, InPath(description="A file that the deliverable lists, such as `report.html`.")]
_TEXT = frozenset({".md", ".json", ".txt", ".csv", ".yaml", ".log"})
"""Shown as they are, whatever the machine's own list of types says."""


@router.get(
    "/{workflow_id}/deliverable/{file:path}",
    summary="Get a file of a deliverable",
    response_class=Response,
    responses={200: {"description": "The file, under its own media type.", "content": BYTES}, **refusals(404, 422, 503)},
)
async def get_file(workflow_id: WorkflowId, file: File, plane: Plane) -> Response:
    """Answer with one file of a finished goal's deliverable."""
    detail = await workflow_detail(plane, workflow_id)
    tenant = await tenant_of_workflow(plane, workflow_id)
    own = partial(is_own, tenant=tenant, home=plane.home) if tenant else None
    found = await asyncio.to_thread(_read, detail.result, file, own)
    if found is None:
        raise Refusal(Fault(detail=f"the deliverable has no file {file!r}"), status=404, code="file_unknown")
    return Response(found, headers=_HEADERS, media_type=_media_type(file))


def _read(result: Any, name: str, own: Callable[[Path], bool] | None) -> bytes | None:
    """Return a listed file; None where it isn't listed, isn't there, is too large, or the folder isn't the tenant's own."""
    from amas.agents.skills.publish import listed  # with the skills' own libraries

    if not isinstance(result, dict) or not isinstance(result.get("folder"), str):
        return None
    folder = Path(result["folder"])
    path = folder / name
    if own is not None and not own(folder):
        return None
    try:
        if name not in listed(folder) or not path.resolve().is_relative_to(folder.resolve()) or path.stat().st_size > BYTES_MAX:
            return None
        return path.read_bytes()
    except OSError:
        return None


def _media_type(name: str) -> str:
    if Path(name).suffix in _TEXT:
        return "text/plain"
    return mimetypes.guess_type(name)[0] or "application/octet-stream"
