"""The calls of one remote session over HTTPS, each said again until it is answered.

A network that is away, or a control plane that starts again, is waited for with growing pauses, half of each by chance, so that a
thousand agents don't come back in the same instant. What is said twice counts once, by the protocol. What is refused is raised as
`RemoteRefused`; whether that ends a task, the session or the agent is the caller's to judge.
"""

import asyncio
import logging
from types import TracebackType
from typing import Any, Self, TypeVar

import httpx
import msgspec

from amas.core.retry import Draw, pause_s
from amas.errors import RemoteRefused, RemoteTokenRefused, ReplyOverdue, SettingInvalid

PAUSE_MIN_S, PAUSE_MAX_S = 0.2, 15.0
"""Before something is said again: a restart of the control plane takes a second or two."""
CONNECT_S = 10.0
ANSWER_S = 30.0
"""Beyond what a call itself waits for."""
BUSY = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers after which the same may be said again."""
SESSIONS = "/api/remote/sessions"
NEEDS_A_SESSION = "session_token_needed"
"""A session's own token doesn't count any more, which a new session mends."""

T = TypeVar("T")
log = logging.getLogger("amas.remote")


class Opened(msgspec.Struct, frozen=True):
    """What a registration is answered with."""

    session_id: str
    token: str
    lease_s: float
    beat_every_s: float
    renew_wait_s: float = 0.0
    """How long a renewal may wait for something to stop; 0 with a control plane that knows no such wait."""


class Problem(msgspec.Struct, frozen=True):
    """An error as the API tells it (RFC 9457)."""

    code: str = ""
    detail: str = ""


class Wire:
    """Says things to one fleet's control plane."""

    def __init__(self, url: str, token: str, *, draw: Draw) -> None:
        """`token`: who may register agents; the session's own, which comes with its registration, takes its place then."""
        if not url.startswith(("http://", "https://")):
            raise SettingInvalid(f"the fleet's address (AMAS_URL) is {url!r}, but must be one such as https://fleet.example")
        limits = httpx.Timeout(ANSWER_S, connect=CONNECT_S)
        self._client = httpx.AsyncClient(base_url=url, timeout=limits)
        self._token, self._draw = token, draw
        self.session: Opened | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self._client.aclose()

    async def open(self, agent: dict[str, Any], *, machine: str, take_over: bool) -> Opened:
        """Register one agent in a session of its own."""
        body = {"agents": [agent], "machine": machine, "take_over": take_over}
        self.session = await self._say("POST", SESSIONS, body, Opened, token=self._token)
        return self.session

    async def close(self) -> None:
        """End the session in good order, if there is one and the control plane answers now; else its lease runs out."""
        session, self.session = self.session, None
        if session is not None:
            try:
                headers = {"authorization": f"Bearer {session.token}"}
                await self._client.delete(f"{SESSIONS}/{session.session_id}", headers=headers)
            except httpx.TransportError as error:
                log.warning("left without a word; the session's lease runs out: %r", error)

    async def say(self, path: str, body: dict[str, Any], kind: type[T], *, wait_s: float = 0.0) -> T:
        """Return what a call of the session is answered with; `wait_s`: how long it may take to have something to say."""
        assert self.session is not None, "nothing is said before the registration"
        return await self._say(
            "POST", f"{SESSIONS}/{self.session.session_id}/{path}", body, kind, token=self.session.token, wait_s=wait_s
        )

    async def get(self, path: str, kind: type[T]) -> T:
        """Return what stands under a path of the session."""
        assert self.session is not None, "nothing is asked before the registration"
        return await self._say("GET", f"{SESSIONS}/{self.session.session_id}/{path}", None, kind, token=self.session.token)

    async def _say(
        self, method: str, path: str, body: dict[str, Any] | None, kind: type[T], *, token: str, wait_s: float = 0.0
    ) -> T:
        content = None if body is None else msgspec.json.encode(body)
        headers = {"content-type": "application/json", **({"authorization": f"Bearer {token}"} if token else {})}
        limits = httpx.Timeout(ANSWER_S + wait_s, connect=CONNECT_S)
        tries = 0
        while True:
            tries += 1
            try:
                answer = await self._client.request(method, path, content=content, headers=headers, timeout=limits)
            except httpx.TransportError as error:
                why = repr(error)
            else:
                if answer.is_success:
                    return msgspec.json.decode(answer.content, type=kind)
                refused = _refused(answer)
                if answer.status_code not in BUSY or refused.refusal == ReplyOverdue.code:
                    raise refused
                why = str(refused)
            if tries == 1:
                log.warning("the fleet doesn't answer %s: %s", path, why)
            await asyncio.sleep(pause_s(tries, least_s=PAUSE_MIN_S, most_s=PAUSE_MAX_S, draw=self._draw))


def _refused(answer: httpx.Response) -> RemoteRefused:
    try:
        problem = msgspec.json.decode(answer.content, type=Problem)
    except msgspec.MsgspecError:  # a proxy's page
        problem = Problem()
    if answer.status_code == httpx.codes.UNAUTHORIZED and problem.code != NEEDS_A_SESSION:
        where, why = answer.url.netloc.decode(), problem.detail or "it wants another"
        said = f"the fleet at {where} doesn't take this agent's token (AMAS_REMOTE_TOKEN): {why}"
        return RemoteTokenRefused(said, code=problem.code or "token_needed")
    detail = problem.detail or f"the control plane answered HTTP {answer.status_code}"
    return RemoteRefused(detail, code=problem.code or f"http_{answer.status_code}")
