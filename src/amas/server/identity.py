"""Who calls: from what a request carries to a `Caller`, which the Guard puts on it and routes take as `Calling`.

Known are, in this order: the fleet's token (AMAS_TOKEN), the key in the home that commands on this machine read, the token of
remote agents, API keys, agents by their own tokens, and browsers that have signed in. Who shows nothing is let in only from this
machine and only while nothing is configured: no AMAS_TOKEN, no provider, and no API key was ever made.
"""

import asyncio
import hmac
import secrets
import time
from collections.abc import Mapping
from contextlib import suppress
from http.cookies import CookieError, SimpleCookie
from itertools import pairwise
from pathlib import Path, PurePath
from typing import Annotated, Any, TypeVar

import msgspec
from fastapi import Depends, Request

from amas.agents.grounds import tenant_folder
from amas.clock import now_ms
from amas.engine.access import ApiKeys, WebSessions
from amas.engine.connection import Engine
from amas.errors import EngineError
from amas.model.access import KEY_CHARS_MAX, PERSON_MARK, ApiKey, Role, WebSession, digest_of, prefix_of
from amas.model.flow import Flow
from amas.policy.agent_tokens import looks_like_token
from amas.server.access import Rule
from amas.server.fields import Fields
from amas.server.oidc import People
from amas.server.problems import Fault, Refusal
from amas.server.tokens import AGENT_OPENER, TokenOffice
from amas.settings import ServerSettings

COOKIE = "amas_session"
COOKIE_S = 8 * 3600.0
"""A working day; then the browser signs in again."""
PERSON_S = 900.0
"""Commands ask the provider anew so often: who is removed there is out after so long."""
SESSION_STALE_S = 5.0
"""A stream goes on for so long at most after the sign-in that opened it has ended on another control plane."""
SESSIONS_MAX = 10_000
KEYS_STALE_S = 0.5
"""A key that another control plane made or revoked counts here after so long; this one's own count at once."""
KEYS_LOST_S = 600.0
"""How long the keys that were known count while the engine doesn't answer: it does nothing for anybody meanwhile."""
CLOSED = "api.closed"
"""A file in the home, made when the first API key is seen: whoever loses the engine doesn't open the door by that."""
FOLDERS = ("input_dir", "output_dir")
"""Of a goal: paths on the fleet's machine, where every tenant's files lie."""
_NOT_ITS_FOLDER = {
    "input_dir": "a tenant's goal is about files that came with it: make a folder for them with POST /api/inputs, and name that",
    "output_dir": "folders of the fleet's machine aren't a tenant's to name: the deliverable is read over the API",
}

T = TypeVar("T", bound=msgspec.Struct)


class Caller(msgspec.Struct, frozen=True, kw_only=True):
    """Who makes a request."""

    name: str
    role: Role
    tenant: str = ""
    """Empty: it isn't bound to one."""
    kind: str
    """`key`, `oidc` (an organisation's account), `agent` (its own token), `token`, `home` (the key in the home), or `local` for
    whoever is on this machine while nothing is configured."""
    credential: str = ""
    scopes: tuple[str, ...] = ()
    session: str = ""
    """The digest of what was shown, where that is a sign-in's: when this is over, so are streams."""

    @property
    def named(self) -> bool:
        """Whether its name says who it is; what several people share says nothing, and then a body's `by` may."""
        return self.kind in ("key", "agent", "oidc")

    def says(self, by: str) -> str:
        """Return in whose name it acts that says it acts in the name `by`."""
        return self.name if self.named else by

    def may(self, rule: Rule, roles: frozenset[Role]) -> bool:
        """Return whether it may use a route that is for these roles."""
        if self.role not in roles or (self.tenant and not rule.tenants):
            return False
        if not self.scopes or rule.right == "greet":
            return True
        reading = rule.method == "GET" or rule.right == "look"
        return rule.area in self.scopes or (reading and f"{rule.area}:read" in self.scopes)


LOCAL = Caller(name="local", role=Role.SYSTEM_ADMIN, kind="local")


class KeyRing:
    """The API keys of the cell, as they were less than `KEYS_STALE_S` ago.

    Read anew at half that age while requests go on with those that there are, and once for all who must wait: by every request
    on its own it would be the most where the engine is slowest.
    """

    def __init__(self, engine: Engine) -> None:
        self.kept = ApiKeys(engine)
        self._found: Mapping[str, ApiKey] = {}
        self._read_s = float("-inf")
        self._changes = 0
        self._reading: asyncio.Task[Mapping[str, ApiKey]] | None = None

    async def all(self) -> Mapping[str, ApiKey]:
        """Return the keys by prefix, revoked and expired ones included; EngineError when they aren't known."""
        age_s = time.monotonic() - self._read_s
        if age_s <= KEYS_STALE_S / 2:
            return self._found
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(self._read(), name="read the keys")
            self._reading.add_done_callback(_looked_at)
        if age_s <= KEYS_STALE_S:
            return self._found
        try:
            return await asyncio.shield(self._reading)
        except EngineError:
            if age_s > KEYS_LOST_S:
                raise
        return self._found

    def forget(self) -> None:
        """Read anew at the next request: one was made or revoked."""
        self._changes += 1
        self._read_s, self._reading = float("-inf"), None  # what is being read may be from before the change

    async def _read(self) -> Mapping[str, ApiKey]:
        began_s, changes = time.monotonic(), self._changes
        try:
            found = await self.kept.all()
        finally:
            if changes == self._changes:
                self._reading = None
        if changes == self._changes:
            self._found, self._read_s = found, began_s
        return found


def _looked_at(reading: "asyncio.Task[Mapping[str, ApiKey]]") -> None:
    """Take note of how a reading ended that nobody may have waited for: asyncio would print it."""
    if not reading.cancelled():
        reading.exception()


class Identity:
    """What knows callers by what they show."""

    def __init__(  # noqa: PLR0913  one for each way to show who one is
        self,
        engine: Engine,
        home: Path,
        *,
        settings: ServerSettings,
        home_key: str,
        remote_token: str,
        tokens: TokenOffice,
        people: People,
    ) -> None:
        self.keys, self.sessions, self.tokens, self.people = KeyRing(engine), WebSessions(engine), tokens, people
        self._seen: dict[str, float] = {}
        """When sessions with streams were last there."""
        self._mark, self._remote_token, token = home / CLOSED, remote_token, settings.token
        self._closed = bool(token) or people.on or not settings.loopback or self._mark.exists()
        shared = (
            (token, Caller(name="admin", role=Role.SYSTEM_ADMIN, kind="token")),
            (home_key, Caller(name="local", role=Role.SYSTEM_ADMIN, kind="home")),
            (remote_token, Caller(name="remote", role=Role.AGENT, kind="token")),
        )
        self._shared = [
            (secret.encode(), msgspec.structs.replace(caller, credential=digest_of(secret).hex()))
            for secret, caller in shared
            if secret
        ]

    async def of(self, headers: Fields, rule: Rule) -> Caller | None:
        """Return who makes a request; None for one whom nobody knows, TokenRefused for an agent's token that doesn't count."""
        given = bearer(headers)
        caller = await self.by_secret(given)
        if caller is None and looks_like_token(given):
            return await self._by_token(given)
        if caller is None and given.startswith(PERSON_MARK):
            return await self._by_session(given)
        caller = caller or await self._by_session(cookie(headers))
        if caller is not None or not await self.open():
            return caller
        return None if rule.right == "join" and self._remote_token else LOCAL

    async def open(self) -> bool:
        """Return whether whoever is on this machine is let in without showing anything."""
        if self._closed:
            return False
        try:
            self._closed = bool(await self.keys.all())
        except EngineError:  # nobody has made a key here as far as this home knows
            return True
        if self._closed:
            with suppress(OSError):  # it stays closed as long as this process lives in any case
                self._mark.touch(mode=0o600)
        return not self._closed

    async def by_secret(self, given: str) -> Caller | None:
        """Return whose token or API key this is."""
        if not given:
            return None
        said = given.encode()
        for secret, caller in self._shared:
            if hmac.compare_digest(said, secret):
                return caller
        prefix = prefix_of(given)
        key = (await self.keys.all()).get(prefix) if prefix else None
        return _of_key(key) if key and key.live(now_ms()) and key.opened_by(given) else None

    async def holds(self, caller: Caller) -> bool:
        """Return whether what a caller has shown is still good: it may have been revoked since, or have expired."""
        if caller.kind == "agent":
            return await self.tokens.holds(caller.credential)
        if caller.session and not await self._signed_in(caller.session):
            return False
        if caller.kind != "key":
            return True
        key = (await self.keys.all()).get(caller.credential)
        return key is not None and key.live(now_ms())

    def opener(self, caller: Caller) -> str:
        """Return what an agents' session ends with that this caller opens; "" where nothing ends it."""
        if caller.kind == "agent":
            return self.tokens.opener(caller.credential)
        return caller.credential if caller.kind in ("key", "token") else ""

    async def opens(self, credential: str) -> bool:
        """Return whether a key, a shared token or an agent's own, as `opener` names it, still opens anything."""
        if credential.startswith(AGENT_OPENER):
            return await self.tokens.opens(credential)
        if any(known.credential == credential for _, known in self._shared):
            return True
        key = (await self.keys.all()).get(credential)
        return key is not None and key.live(now_ms())

    async def sign_in(self, caller: Caller, *, mark: str = "", lasts_s: float = COOKIE_S) -> str:
        """Return the secret of a new session for a browser, or, with a mark, for a person's commands."""
        secret = mark + secrets.token_urlsafe(32)
        fields = {name: getattr(caller, name) for name in WebSession.__struct_fields__}
        await self.sessions.open(secret, WebSession(**fields), lasts_s=lasts_s)
        return secret

    async def sign_out(self, headers: Fields) -> None:
        """End the sessions that a request shows."""
        for secret in {bearer(headers), cookie(headers)} - {""}:
            digest = digest_of(secret).hex()
            await self.sessions.close(digest)
            self._seen.pop(digest, None)

    async def _signed_in(self, digest: str) -> bool:
        """Return whether a session is still there, as far as was known less than `SESSION_STALE_S` ago."""
        at_s = time.monotonic()
        if at_s - self._seen.get(digest, float("-inf")) < SESSION_STALE_S:
            return True
        with suppress(EngineError):  # while it is away nothing is known, and nothing done
            if await self.sessions.get(digest) is None:
                self._seen.pop(digest, None)
                return False
        if len(self._seen) > SESSIONS_MAX:
            self._seen.clear()
        self._seen[digest] = at_s
        return True

    async def _by_token(self, given: str) -> Caller:
        digest = digest_of(given).hex()
        claims = await self.tokens.check(given, digest)
        return Caller(name=claims.sub, role=Role.AGENT, tenant=claims.tenant, kind="agent", credential=digest)

    async def _by_session(self, secret: str) -> Caller | None:
        if not secret or len(secret) > KEY_CHARS_MAX:
            return None
        digest = digest_of(secret).hex()
        session = await self.sessions.get(digest)
        if session is None:
            return None
        key = (await self.keys.all()).get(session.credential)
        if key is not None:
            return msgspec.structs.replace(_of_key(key), session=digest) if key.live(now_ms()) else None
        caller = Caller(**msgspec.structs.asdict(session), session=digest)
        if session.kind == "oidc":
            return caller if session.credential == self.people.credential else None
        return caller if any(known.credential == session.credential for _, known in self._shared) else None


def _of_key(key: ApiKey) -> Caller:
    return Caller(name=key.name, role=key.role, tenant=key.tenant, kind="key", credential=key.prefix, scopes=key.scopes)


def as_caller(caller: Caller, said: T) -> T:
    """Return a body as this caller may say it: in its own name, and for its own tenant; Refusal where it names another."""
    if not (caller.named or caller.tenant):
        return said
    changes: dict[str, Any] = {}
    if caller.named and "by" in said.__struct_fields__:
        changes["by"] = caller.name
    if caller.tenant:
        changes |= _bound(caller, said)
    return msgspec.structs.replace(said, **changes) if changes else said


def _bound(caller: Caller, said: msgspec.Struct) -> dict[str, Any]:
    """Return what a tenant's caller may not choose in a body."""
    changes: dict[str, Any] = {}
    for name in FOLDERS:
        named = getattr(said, name, "")
        if named and not (name == "input_dir" and _came_with_a_goal(named, caller.tenant)):
            raise Refusal(
                Fault(detail=_NOT_ITS_FOLDER[name], pointer=f"#/{name}"),
                status=403,
                code="folder_refused",
            )
    if "tenant" in said.__struct_fields__:
        if getattr(said, "tenant", "") not in ("", caller.tenant):
            detail = f"{caller.name!r} works for the tenant {caller.tenant!r} alone"
            raise Refusal(Fault(detail=detail, pointer="#/tenant"), status=403, code="tenant_refused")
        changes["tenant"] = caller.tenant
    if keys := getattr(said, "concurrency", None):
        changes["concurrency"] = _own(caller.tenant, keys)
    if isinstance(flow := getattr(said, "flow", None), Flow):
        changes["flow"] = _with_own_keys(caller.tenant, flow)
    for name in ("task", "goal"):  # of a schedule
        inner = getattr(said, name, None)
        if isinstance(inner, msgspec.Struct):
            changes[name] = as_caller(caller, inner)
    return changes


def _came_with_a_goal(folder: str, tenant: str) -> bool:
    """Return whether a folder looks like one that `POST /api/inputs` made for a tenant; hosts look whether it is."""
    parts = PurePath(folder).parts
    return ".." not in parts and ("inputs", tenant_folder(tenant)) in pairwise(parts)


def _own(tenant: str, keys: Mapping[str, int]) -> dict[str, int]:
    """Return concurrency keys as a tenant's own: who could name another's would hold up its work by a limit of one."""
    return {f"{tenant}/{key}": most for key, most in keys.items()}


def _with_own_keys(tenant: str, flow: Flow) -> Flow:
    """Return a flow whose concurrency keys are the tenant's own, at any depth."""
    tasks = []
    for task in flow.tasks:
        mapped = task.map and msgspec.structs.replace(task.map, concurrency=_own(tenant, task.map.concurrency))
        inner = task.flow and _with_own_keys(tenant, task.flow)
        tasks.append(msgspec.structs.replace(task, concurrency=_own(tenant, task.concurrency), map=mapped, flow=inner))
    return msgspec.structs.replace(flow, tasks=tuple(tasks))


def bearer(headers: Fields) -> str:
    """Return the token that a request carries, "" for none."""
    kind, _, given = headers.get("authorization", "").partition(" ")
    return given.strip() if kind.lower() == "bearer" else ""


def cookie(headers: Fields) -> str:
    """Return what a browser's cookie says, "" for none."""
    given = headers.get("cookie", "")
    if COOKIE not in given:
        return ""
    try:
        found = SimpleCookie(given).get(COOKIE)
    except CookieError:
        return ""
    return found.value if found and len(found.value) <= KEY_CHARS_MAX else ""


def caller_of(request: Request) -> Caller:
    """Return who makes a request, as the Guard found out."""
    caller = request.scope["state"]["caller"]
    assert isinstance(caller, Caller)
    return caller


async def _calling(request: Request) -> Caller:  # a plain function would be called in a thread, for each request
    return caller_of(request)


Calling = Annotated[Caller, Depends(_calling)]
"""How a route gets it."""
