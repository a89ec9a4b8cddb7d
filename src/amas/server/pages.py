"""The web page: a document for each of its routes, and the hashed files that they name, as `npm run build` left them in `_web`.

They are read when somebody first asks and again when they were built anew, and kept packed: all of them are less than a megabyte.
The policy lets the page load from here and nowhere else, and run no script but its files.
"""

import asyncio
import gzip
import mimetypes
from collections.abc import Awaitable, Callable
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import NamedTuple

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

FOLDER = Path(__file__).resolve().parent.parent / "_web"
DOCUMENT = "index.html"
PAGES = {
    "/": "Overview",
    "/fleet": "Fleet",
    "/agents/{id}": "Agent",
    "/goals": "Goals",
    "/goals/{id}": "Goal",
    "/tasks": "Tasks",
    "/tasks/{id}": "Task",
    "/queues": "Queues",
    "/costs": "Costs",
    "/rollouts": "Rollouts",
    "/alerts": "Alerts",
    "/policies": "Policies",
    "/audit": "Audit",
}
"""The component that shows each route, as in `web/src/router.tsx`; its document names the component's files beside the page's, so
that a browser asks for all at once. What is below these routes gets `DOCUMENT`, whose script says that there is no such page."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; frame-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
SAFE = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
}
_FOR_EVER = "public, max-age=31536000, immutable"
"""A file with a hash in its name never changes."""
PACK_BYTES_MIN = 1000
Endpoint = Callable[[Request], Awaitable[Response]]
NOT_BUILT = """<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>amas</title>
<h1>The control plane runs; its web page isn't built</h1>
<p>It takes node 20.19 or newer: <code>make setup</code> builds it where that is there, as does
<code>cd web &amp;&amp; npm ci &amp;&amp; npm run build</code>. Then load this page again.</p>
<p>Until then: <code>amas status</code>, <code>amas ps</code>, and <a href="/openapi.json">the API</a>.</p>
</html>
"""


class File(NamedTuple):
    """One file of the page."""

    body: bytes
    packed: bytes
    """In gzip's format; empty for what wouldn't get smaller."""
    media_type: str
    etag: str


def routes(folder: Path = FOLDER) -> list[Route]:
    """Return the routes of the page whose files lie in `folder`."""

    def page(name: str) -> Endpoint:
        async def document(request: Request) -> Response:
            files = await _found(folder)
            found = files.get(name) or files.get(DOCUMENT) or _not_built()
            return _answer(request, found, {**SAFE, "cache-control": "no-cache"})

        return document

    async def file(request: Request) -> Response:
        found = (await _found(folder)).get(request.url.path.lstrip("/"))
        if found is None:
            return Response("no such file: the page was built anew, so load it again\n", 404, {"cache-control": "no-store"})
        return _answer(request, found, {**SAFE, "cache-control": _FOR_EVER if "/" in request.url.path[1:] else "no-cache"})

    documents = [Route(path, page(name), include_in_schema=False) for path, name in _documents().items()]
    return [*documents, *(Route(path, file, include_in_schema=False) for path in ("/assets/{name}", "/icon.svg"))]


def _documents() -> dict[str, str]:
    """Return the document of each path, those of `PAGES` first."""
    own = {path: f"{name}.html" for path, name in PAGES.items()}
    names = {path.split("/")[1] for path in PAGES} - {""}
    return own | {f"/{name}{rest}": DOCUMENT for name in names for rest in ("", "/{rest:path}")} | own


def _answer(request: Request, file: File, headers: dict[str, str]) -> Response:
    headers = {**headers, "etag": file.etag, "vary": "accept-encoding"}
    if file.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if file.packed and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(file.packed, headers={**headers, "content-encoding": "gzip"}, media_type=file.media_type)
    return Response(file.body, headers=headers, media_type=file.media_type)


async def _found(folder: Path) -> dict[str, File]:
    """Return all files; what was built since somebody last asked is read and packed in a thread: that takes 50 ms of CPU."""
    built_ns = _built_ns(folder)
    kept_ns, files = _kept.get(folder, (0, {}))
    if built_ns != kept_ns:
        files = await asyncio.to_thread(_read, folder)
        _kept[folder] = built_ns, files
    return files


_kept: dict[Path, tuple[int, dict[str, File]]] = {}
"""Each folder's files, and when they were built."""


def _built_ns(folder: Path) -> int:
    try:
        return (folder / DOCUMENT).stat().st_mtime_ns
    except OSError:
        return 0


def _read(folder: Path) -> dict[str, File]:
    return {
        path.relative_to(folder).as_posix(): _file(path.read_bytes(), mimetypes.guess_type(path.name)[0] or "text/plain")
        for path in folder.rglob("*")
        if path.is_file()
    }


@lru_cache(maxsize=1)
def _not_built() -> File:
    return _file(NOT_BUILT.encode(), "text/html")


def _file(body: bytes, media_type: str) -> File:
    packed = gzip.compress(body, mtime=0) if len(body) >= PACK_BYTES_MIN else b""
    return File(body, packed, media_type, f'"{blake2b(body, digest_size=9).hexdigest()}"')
