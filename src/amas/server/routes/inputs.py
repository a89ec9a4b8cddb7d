"""Files that come with a goal: a folder of its own in the fleet's home, filled one file at a time, and then the goal's input.

A folder is its caller's tenant's alone, named by an id that nobody can
guess. Files lie there as they came, readable to the fleet's own user; a folder is removed `KEPT_DAYS` after its last file came.
A fleet whose hosts are on other machines reads none of them, so it takes none.
"""

import asyncio
import os
import shutil
import socket
from pathlib import Path
from time import time
from typing import Annotated

from fastapi import APIRouter, Request
from fastapi import Path as InPath
from starlette.responses import Response

from amas.agents.grounds import tenant_folder
from amas.clock import new_id
from amas.server.contract import answers, encoded, refusals, takes_bytes
from amas.server.identity import Calling
from amas.server.input_shapes import FILE_BYTES_MAX, FILES_MAX, INPUT_BYTES_MAX, KEPT_DAYS, InputBounds, NewInput
from amas.server.patterns import INPUT_ID
from amas.server.plane import TAKING, ControlPlane, Plane
from amas.server.problems import Fault, Refusal

router = APIRouter(prefix="/api/inputs", tags=["goals"])

ALL_BYTES_MAX = 4 << 30
"""Of all folders: what is here is a convenience for people, not a store."""
OWN_BYTES_MAX = 1 << 30
"""Of one tenant's folders: who fills them keeps nobody else from sending theirs."""
FOLDERS_MAX = 1000
"""Of one tenant: an empty one takes no bytes, but is gone through each time that another is made."""
NAME_BYTES_MAX = 255
PATH_CHARS_MAX = 1000
_ODD = frozenset(map(chr, range(32))) | {"\\", "\x7f"}

InputId = Annotated[str, InPath(pattern=INPUT_ID, description="As it was made.")]
File = Annotated[str, InPath(description="The file's name, with the folders that it is to be in.")]

_NEW = NewInput(
    id="01990d3e-7a10-7c3e-9a44-0a6f5b7c8d9e",
    folder="/home/me/.amas/inputs/acme-7f1a0c4e5d6b7a89/01990d3e-7a10-7c3e-9a44-0a6f5b7c8d9e",
)


@router.get("", summary="Ask what files may be sent", **answers(InputBounds, InputBounds(), problems=(503,)))
async def get_bounds(plane: Plane) -> Response:
    """Say how much may be sent."""
    return encoded(InputBounds(closed=await _elsewhere(plane)))


@router.post(
    "",
    dependencies=[TAKING],
    summary="Make a folder for a goal's files",
    **answers(NewInput, _NEW, status=201, problems=(409, 429, 503)),
)
async def post_input(plane: Plane, caller: Calling) -> Response:
    """Make a folder: put files into it, then name it as a goal's `input_dir`."""
    if why := await _elsewhere(plane):
        raise Refusal(Fault(detail=why), status=409, code="inputs_elsewhere")
    made = await asyncio.to_thread(_make, plane.home / "inputs", _of(plane, caller.tenant), tenant=caller.tenant)
    return encoded(NewInput(id=made.name, folder=str(made)), 201)


@router.put(
    "/{input_id}/{file:path}",
    summary="Send a file of a goal",
    status_code=204,
    response_class=Response,
    responses={204: {"description": "It is kept."}, **refusals(400, 404, 413, 422, 429)},
    openapi_extra=takes_bytes("The file, as it is."),
)
async def put_file(input_id: InputId, file: File, request: Request, plane: Plane, caller: Calling) -> Response:
    """Keep one file in a folder; one of the same name is replaced."""
    folder = _of(plane, caller.tenant) / input_id
    _check_name(file)
    body = await request.body()
    if len(body) > FILE_BYTES_MAX:
        raise _too_large(f"{file} is larger than {FILE_BYTES_MAX >> 20} MiB")
    await asyncio.to_thread(_keep, folder, file, body, tenant=caller.tenant)
    return Response(status_code=204)


async def _elsewhere(plane: ControlPlane) -> str:
    """Return why agents couldn't read what is sent; empty where they can."""
    here = socket.gethostname()
    away = sorted({host.about.machine for host in await plane.board.hosts() if host.about.agents} - {here})
    if not away:
        return ""
    return f"agents run on other machines ({', '.join(away[:3])}) and can't read files of this one: name a folder that they share"


def _of(plane: ControlPlane, tenant: str) -> Path:
    return plane.home.absolute() / "inputs" / (tenant_folder(tenant) if tenant else "no-tenant")


def _make(inputs: Path, of_tenant: Path, *, tenant: str) -> Path:
    """Return a new folder, once old ones are gone; Refusal where too much is kept."""
    for folder in inputs.glob("*/*"):
        if folder.stat().st_mtime < time() - KEPT_DAYS * 86_400:
            shutil.rmtree(folder, ignore_errors=True)
    if sum(_measure(folder)[1] for folder in inputs.glob("*/*")) >= ALL_BYTES_MAX:
        raise _full(f"{ALL_BYTES_MAX >> 30} GiB of goals' files are kept", inputs)
    if tenant and sum(1 for _ in of_tenant.glob("*")) >= FOLDERS_MAX:
        raise _full(f"{FOLDERS_MAX} folders of this tenant's are kept", of_tenant)
    made = of_tenant / new_id()
    made.mkdir(parents=True, mode=0o700)
    return made


def _measure(folder: Path) -> tuple[int, int]:
    """Return how many files a folder has, and their bytes."""
    sizes = [(Path(at) / name).lstat().st_size for at, _, names in os.walk(folder) for name in names]
    return len(sizes), sum(sizes)


def _check_name(file: str) -> None:
    parts = file.split("/")
    odd = any(
        part in ("", ".", "..") or len(part.encode(errors="replace")) > NAME_BYTES_MAX or _ODD & set(part) for part in parts
    )
    if odd or len(file) > PATH_CHARS_MAX:
        why = "a file's name is a path below the folder: no .., no empty part, no backslash or control character"
        raise Refusal(Fault(detail=f"{why}; {file[:100]!r} is none", parameter="file"))


def _keep(folder: Path, file: str, body: bytes, *, tenant: str) -> None:
    if not folder.is_dir():
        raise Refusal(Fault(detail="there is no such folder for files: ask for one first"), status=404, code="input_unknown")
    path = folder / file
    count, size = _measure(folder)
    if path.is_file():
        count, size = count - 1, size - path.stat().st_size
    if count >= FILES_MAX:
        raise _too_large(f"a goal's files are {FILES_MAX} at most")
    if size + len(body) > INPUT_BYTES_MAX:
        raise _too_large(f"a goal's files are {INPUT_BYTES_MAX >> 20} MiB together at most")
    if tenant and _measure(folder.parent)[1] + len(body) > OWN_BYTES_MAX:
        raise _full(f"{OWN_BYTES_MAX >> 30} GiB of this tenant's files are kept", folder.parent)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(body)
    except (FileExistsError, NotADirectoryError, IsADirectoryError):
        raise Refusal(Fault(detail=f"{file!r} is a file and a folder at a time", parameter="file")) from None
    folder.touch()


def _full(why: str, folder: Path) -> Refusal:
    mend = f"remove folders below {folder} that no goal needs, or wait: each goes {KEPT_DAYS} days after its last file"
    return Refusal(Fault(detail=f"{why}: {mend}"), status=429, code="inputs_full")


def _too_large(why: str) -> Refusal:
    mend = "put what is larger into a folder on the fleet's machine and name that"
    return Refusal(Fault(detail=f"{why}: {mend}"), status=413, code="input_too_large")
