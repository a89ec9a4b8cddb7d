"""The web page: one document for every page route, and the hashed files that it names, as `npm run build` left them in `_web`.

They are read when somebody first asks and again when they were built anew, and kept packed: all of them are less than a megabyte.
The policy lets the page load from here and nowhere else, and run no script but its files.
"""

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
ROUTES = ("fleet", "agents", "goals", "tasks", "queues", "costs", "rollouts", "alerts", "policies", "audit")
"""The page's own, each with all below it; `web/src/router.tsx` has the same."""
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; frame-src 'self'; "
    "form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_SAFE = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-opener-policy": "same-origin",
}
_FOR_EVER = "public, max-age=31536000, immutable"
"""A file with a hash in its name never changes."""
PACK_BYTES_MIN = 1000
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

    async def page(request: Request) -> Response:
        return _answer(request, _files(folder).get(DOCUMENT, _not_built()), {**_SAFE, "cache-control": "no-cache"})

    async def file(request: Request) -> Response:
        found = _files(folder).get(request.url.path.lstrip("/"))
        if found is None:
            return Response("no such file: the page was built anew, so load it again\n", 404, {"cache-control": "no-store"})
        return _answer(request, found, {**_SAFE, "cache-control": _FOR_EVER if "/" in request.url.path[1:] else "no-cache"})

    of_page = ["/", *(f"/{name}{rest}" for name in ROUTES for rest in ("", "/{rest:path}"))]
    return [*_routed(of_page, page), *_routed(["/assets/{name}", "/icon.svg"], file)]


def _routed(paths: list[str], endpoint: Callable[[Request], Awaitable[Response]]) -> list[Route]:
    return [Route(path, endpoint, include_in_schema=False) for path in paths]


def _answer(request: Request, file: File, headers: dict[str, str]) -> Response:
    headers = {**headers, "etag": file.etag, "vary": "accept-encoding"}
    if file.etag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    if file.packed and "gzip" in request.headers.get("accept-encoding", ""):
        return Response(file.packed, headers={**headers, "content-encoding": "gzip"}, media_type=file.media_type)
    return Response(file.body, headers=headers, media_type=file.media_type)


def _files(folder: Path) -> dict[str, File]:
    try:
        built_ns = (folder / DOCUMENT).stat().st_mtime_ns
    except OSError:
        return {}
    return _read(folder, built_ns)


@lru_cache(maxsize=4)
def _read(folder: Path, built_ns: int) -> dict[str, File]:
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
