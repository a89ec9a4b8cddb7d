"""Back-ups of the fleet: which there are, and making one now. Restoring is for the command line."""

from fastapi import APIRouter, Request
from starlette.responses import Response

from amas.server import intake
from amas.server.backup_shapes import BackupPage, BackupShape, NewBackup, backup_shape
from amas.server.contract import answers, encoded, takes
from amas.server.plane import ControlPlane, Plane

router = APIRouter(prefix="/api", tags=["backups"])

_BACKUP = BackupShape(
    id="20260131T235900Z-1f3a",
    at_ms=1_769_903_940_000,
    kind="incremental",
    parent="20260131T225900Z-77b0",
    size=120_000_000,
    stored=2_400_000,
    took_s=1.8,
    tasks=250_000,
    workflows=1200,
    artifacts=40,
)
_PAGE = BackupPage(url="s3://backups/fleet", running=False, failed="", items=[_BACKUP], damaged=[])


async def _page(plane: ControlPlane) -> BackupPage:
    url, found = await plane.backups.listing()
    now = plane.backups.now
    items = [backup_shape(each) for each in found.whole]
    return BackupPage(url=url, running=now.running, failed=now.failed, items=items, damaged=found.damaged)


@router.get("/backups", summary="List back-ups", **answers(BackupPage, _PAGE, problems=(404, 503)))
async def list_backups(plane: Plane) -> Response:
    """Show all back-ups that the repository holds, and whether one is being made."""
    return encoded(await _page(plane))


@router.post(
    "/backups",
    summary="Back the fleet up",
    openapi_extra=takes(NewBackup, NewBackup(full=False)),
    **answers(BackupPage, _PAGE, status=202, problems=(400, 404, 409, 413, 415, 422, 503)),
)
async def post_backup(request: Request, plane: Plane) -> Response:
    """Begin a back-up; the list shows it when it is whole, and says why where it failed."""
    new = await intake.read_one(request, NewBackup)
    await plane.backups.start(full=new.full)
    return encoded(await _page(plane), 202)
