"""Who may call: API keys, browsers that sign in, and the audit of what callers did (docs/access.md)."""

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from amas.clock import now_ms
from amas.errors import KeyUnknown
from amas.model.access import ApiKey, Role, digest_of, new_key
from amas.policy.acts import in_words
from amas.policy.audit import FIRST, Line
from amas.server import intake
from amas.server.access import AREAS
from amas.server.access_shapes import AuditRecord, AuditRecordPage, KeyPage, KeyShape, MadeKey, NewKey, NewSignIn, SessionShape
from amas.server.contract import answers, encoded, takes
from amas.server.identity import COOKIE, COOKIE_S, Caller, Calling
from amas.server.paging import Cursor, Limit, Page
from amas.server.plane import ControlPlane, Plane
from amas.server.problems import Fault, Refusal

router = APIRouter(prefix="/api", tags=["access"])

DAY_MS = 86_400_000

_KEY = KeyShape(
    prefix="3f9c01d2aa07",
    name="ada",
    role=Role.OPERATOR,
    tenant="",
    scopes=(),
    created_ms=1_757_000_000_000,
    expires_ms=1_764_776_000_000,
    revoked_ms=0,
    by="admin",
)
_MADE = MadeKey(**{name: getattr(_KEY, name) for name in KeyShape.__struct_fields__}, key="amas_3f9c01d2aa07_...")
_SESSION = SessionShape(name="ada", role="operator", tenant="", sign_in=["key"])
_LINE = AuditRecord(
    seq=1,
    at="2026-11-21T22:30:00.123Z",
    who="ada",
    kind="key",
    role="operator",
    tenant="",
    act="POST /api/pools/{name}/scale",
    on="/api/pools/coder/scale",
    outcome=200,
    previous=FIRST,
    signature="...",
    did="scaled a pool",
    about="coder",
)


@router.get("/keys", summary="List API keys", **answers(KeyPage, KeyPage(items=[_KEY], next=None), problems=(422, 503)))
async def list_keys(plane: Plane, limit: Limit = 1000, cursor: Cursor = "") -> Response:
    """List all keys that were ever made; their secrets are kept nowhere."""
    found = (await plane.identity.keys.kept.all()).values()
    items, following = Page(limit, cursor).of(found, lambda key: f"{key.name} {key.created_ms:014} {key.prefix}")
    return encoded(KeyPage(items=[_shape(key) for key in items], next=following))


@router.post(
    "/keys",
    summary="Make an API key",
    openapi_extra=takes(NewKey, NewKey(name="ada")),
    **answers(MadeKey, _MADE, status=201, problems=(400, 409, 413, 415, 422, 503)),
)
async def make_key(request: Request, caller: Calling, plane: Plane) -> Response:
    """Make a key and show it, this once. From the first one on, nobody is let in without showing something."""
    new = await intake.read_one(request, NewKey)
    for index, scope in enumerate(new.scopes):
        if scope.removesuffix(":read") not in AREAS:
            raise Refusal(
                Fault(detail=f"there is no scope {scope!r}; there are {', '.join(sorted(AREAS))}", pointer=f"#/scopes/{index}")
            )
    prefix, text = new_key()
    made_ms = now_ms()
    key = ApiKey(
        prefix=prefix,
        name=new.name,
        role=new.role,
        tenant=new.tenant,
        scopes=new.scopes,
        digest=digest_of(text),
        created_ms=made_ms,
        expires_ms=made_ms + round(new.expires_days * DAY_MS),
        by=caller.name,
    )
    await plane.identity.keys.kept.add(key)
    plane.identity.keys.forget()
    return encoded(MadeKey(**_fields(key), key=text), 201, {"location": f"/api/keys/{key.prefix}", "cache-control": "no-store"})


@router.delete("/keys/{prefix}", summary="Revoke an API key", **answers(KeyShape, _KEY, problems=(404, 422, 503)))
async def revoke_key(prefix: Annotated[str, Path(max_length=100)], plane: Plane) -> Response:
    """Let a key open nothing from now on, nor browsers that signed in with it."""
    keys = plane.identity.keys
    await keys.kept.revoke(prefix)
    keys.forget()
    found = (await keys.all()).get(prefix)
    if found is None:
        raise KeyUnknown(f"there is no API key {prefix!r}")
    return encoded(_shape(found))


@router.get("/session", summary="Say who calls", **answers(SessionShape, _SESSION, problems=(503,)))
async def get_session(caller: Calling, plane: Plane) -> Response:
    """Say who makes this request, and how one signs in; nobody is an answer, too."""
    return encoded(_session(caller, plane))


@router.post(
    "/session",
    summary="Sign in",
    openapi_extra=takes(NewSignIn, NewSignIn(key="amas_...")),
    **answers(SessionShape, _SESSION, problems=(400, 413, 415, 422, 503)),
)
async def sign_in(request: Request, plane: Plane) -> Response:
    """Let a browser in, by a cookie that its pages can't read, until it signs out or eight hours have passed."""
    given = (await intake.read_one(request, NewSignIn)).key
    caller = await plane.identity.by_secret(given.strip())
    if caller is None:
        raise Refusal(Fault(detail="this key opens nothing: it is wrong, expired or revoked"), status=401, code="key_refused")
    request.scope["state"]["caller"] = caller  # for the audit
    answer = encoded(_session(caller, plane), 200, {"cache-control": "no-store"})
    secure = request.url.scheme == "https"
    secret = await plane.identity.sign_in(caller)
    answer.set_cookie(COOKIE, secret, max_age=round(COOKIE_S), httponly=True, samesite="strict", secure=secure)
    return answer


@router.delete(
    "/session",
    summary="Sign out",
    **answers(SessionShape, SessionShape(name="", role="", tenant="", sign_in=["key"]), problems=(503,)),
)
async def sign_out(request: Request, plane: Plane) -> Response:
    """End the session of a browser, or of a person's commands."""
    await plane.identity.sign_out(request.headers)
    answer = encoded(SessionShape(name="", role="", tenant="", sign_in=_ways(plane)))
    answer.delete_cookie(COOKIE, httponly=True, samesite="strict")
    return answer


@router.get(
    "/audit",
    summary="List administrative acts",
    **answers(AuditRecordPage, AuditRecordPage(items=[_LINE], next=None), problems=(422, 503)),
)
def list_audit(
    plane: Plane,
    limit: Annotated[int, Query(ge=1, le=1000)] = 50,
    before: Annotated[int, Query(ge=0, le=1 << 53, description="The `next` of the page before.")] = 0,
) -> Response:
    """List who changed what, newest first, with the chain and the signatures: `amas audit verify` checks them."""
    found = plane.audit.newest(limit, before=before)
    items = [_record(line) for line in found]
    return encoded(AuditRecordPage(items=items, next=found[-1].seq if found and found[-1].seq > 1 else None))


def _record(line: Line) -> AuditRecord:
    did, about = in_words(line.act, line.on)
    return AuditRecord(**msgspec.structs.asdict(line), did=did, about=about)


def _fields(key: ApiKey) -> dict[str, Any]:
    return {name: getattr(key, name) for name in KeyShape.__struct_fields__}


def _shape(key: ApiKey) -> KeyShape:
    return KeyShape(**_fields(key))


def _session(caller: Caller, plane: ControlPlane) -> SessionShape:
    role = caller.role if caller.name else ""
    return SessionShape(name=caller.name, role=role, tenant=caller.tenant, sign_in=_ways(plane))


def _ways(plane: ControlPlane) -> list[str]:
    return ["key", "oidc"] if plane.people.on else ["key"]
