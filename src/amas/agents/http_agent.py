"""A foreign agent behind a URL, worked with as one of the fleet's own: a pool's `http:` in the fleet file makes it one.

Each task is one POST, and what comes back is its result. Who runs that server needs to know nothing of us. What an answer means:
2xx the result; 429 that the task waits as long as `Retry-After` says, which is no failure; another 4xx that no attempt can help;
anything else, or silence, that another attempt may. It calls the host that is declared and no other: redirects within it are
followed, others refused; an address within a private network is called only where `private` says so, one under which clouds give
out credentials never, and what was looked up is what is connected to, so that a name can't change its mind in between.
"""

import asyncio
import email.utils
import http.client
import os
import re
import socket
from collections.abc import Mapping
from time import time
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

import msgspec

from amas.agents.base import BaseAgent
from amas.agents.context import Context
from amas.agents.dependency import Dependency
from amas.agents.pinned import Answer, Pinned
from amas.agents.threads import DaemonThreads
from amas.core.breaker import Outcome, outcome_of
from amas.core.conditions import compiled, resolved, value_of
from amas.errors import ExpressionInvalid, FleetError, GiveUp, RateLimited, RetryLater, SecretUnreadable
from amas.model.fleet import PoolSpec
from amas.model.task import Json
from amas.model.token import AUDIENCE
from amas.policy.outbound import allowed, is_public
from amas.secrets import is_reference, revealed

ANSWER_BYTES_MAX = 64 << 20
"""As results: what is larger isn't carried."""
REDIRECTS_MAX = 3
RETRY_AFTER_S = 5.0
"""Where a server that is busy doesn't say for how long."""
RETRY_AFTER_MAX_S = 3600.0
HEALTH_S = 5.0
SHOWN_CHARS = 300
"""Of an answer that says no."""
ENVIRONMENT = "env:"


class HttpSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a foreign agent is called."""

    url: str
    health: str = ""
    """A path on the same server that answers 2xx to GET while it can work; empty: it is believed."""
    request: Json = None
    """The body; `{"$": expression}` within it stands for a value of `input`, `needs` or `task`. Not said: all of these."""
    result: str = ""
    """A JMESPath expression over the JSON that comes back; empty takes all of it."""
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    """A value may be a reference to a secret (`amas.secrets`), such as `env:NAME`, so that none stands in a file."""
    token_audience: str = ""
    """Send the agent's own token, made for this audience (mostly the server's address), as `Authorization`; empty: none."""
    timeout_s: float = 60.0
    """For one answer."""
    private: bool = False
    """Whether its address may be one of this machine's or of a private network."""
    enabled: bool = True
    """Whether its pool is part of the fleet."""

    def mistake(self) -> str:
        """Return what is wrong with it, in a sentence; "" when it is sound."""
        try:
            parts = urlsplit(self.url)
            sound = parts.scheme in {"http", "https"} and parts.hostname and not parts.username and parts.port != 0
        except ValueError:
            sound = False
        if not sound:
            return f"{self.url!r} is no address: write https://host/path, with secrets under headers"
        if self.health and not self.health.startswith("/"):
            return f"the health path {self.health!r} must begin with /"
        if not 0 < self.timeout_s <= 3600:
            return f"a timeout of {self.timeout_s:g} s can't be taken: more than 0 and up to 3600 s can"
        named = [value for value in self.headers.values() if value.startswith(ENVIRONMENT)]
        missing = [value for value in named if not os.environ.get(value.removeprefix(ENVIRONMENT))]
        if missing:
            return f"{missing[0]} is wanted for a header, and the environment has no such variable"
        try:
            compiled(self.result or "@")
        except ExpressionInvalid as error:
            return str(error)
        return self._token_mistake() if self.token_audience else ""

    def _token_mistake(self) -> str:
        if not re.fullmatch(AUDIENCE, self.token_audience):
            return f"{self.token_audience!r} can't be a token_audience: write up to 200 visible characters, as in https://host"
        if any(name.lower() == "authorization" for name in self.headers):
            return "token_audience and a header `authorization` can't both be sent: drop one"
        return ""


class HttpAgent(BaseAgent):
    """Hands its tasks to a server."""

    def __init__(self, agent_id: str, pool: PoolSpec) -> None:
        super().__init__(agent_id, pool)
        self.spec = http_spec(pool)
        self._threads = DaemonThreads(pool.tasks_per_agent + 1, name=agent_id)  # one for the question how it is

    @classmethod
    def check(cls, pool: PoolSpec) -> None:
        """Raise FleetError where a pool's `http` can't be worked with."""
        spec = http_spec(pool)
        if spec.enabled and (mistake := spec.mistake()):
            raise FleetError(mistake)

    async def process_task(self, task: Context) -> Json:
        """Post the task and return what comes back."""
        about = {"id": task.id, "attempt": task.attempt, "agent_id": task.agent_id, "capability": task.spec.capability}
        scope = {"input": task.input, "needs": task.results, "task": about}
        body = scope if self.spec.request is None else resolved(self.spec.request, scope)
        headers = {
            "content-type": "application/json",
            "accept": "application/json",
            "idempotency-key": task.id,  # another attempt at a task is the same request
            **await self._own_headers(),
        }
        if task.traceparent:
            headers.setdefault("traceparent", task.traceparent)
        if self.spec.token_audience:
            headers["authorization"] = f"Bearer {await task.token(self.spec.token_audience)}"
        async with Dependency(task, f"http/{urlsplit(self.spec.url).netloc}", judge=_outcome):
            answer = await self._talk("POST", self.spec.url, headers, msgspec.json.encode(body))
            _judge(answer)
        try:
            said = msgspec.json.decode(answer.body) if answer.body else None
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise GiveUp(f"{self.spec.url} answered something that isn't JSON: {error}", code="answer_unreadable") from error
        except RecursionError:
            raise GiveUp(f"{self.spec.url} answered JSON that is nested too deeply", code="answer_unreadable") from None
        whole: Any = said  # a list can be searched as well
        return value_of(self.spec.result, whole) if self.spec.result else whole

    async def health_check(self) -> bool:
        """Ask the server's health path, where it has one."""
        if not self.spec.health:
            return True
        url = urljoin(self.spec.url, self.spec.health)
        try:
            async with asyncio.timeout(HEALTH_S):
                answer = await self._talk("GET", url, await self._own_headers(), b"")
        except (RetryLater, GiveUp, TimeoutError):
            return False
        return 200 <= answer.status < 300

    async def _own_headers(self) -> dict[str, str]:
        """Return what the fleet file says, with the secrets that it refers to; RetryLater where one can't be had now."""
        said = self.spec.headers
        if not any(map(is_reference, said.values())):
            return said
        try:
            return await asyncio.wrap_future(self._threads.submit(revealed, said))
        except SecretUnreadable as error:
            raise RetryLater(str(error)) from error

    async def _talk(self, method: str, url: str, headers: Mapping[str, str], body: bytes) -> Answer:
        """Return the server's answer; RetryLater where there was none."""
        parts = urlsplit(url)
        try:
            for _ in range(REDIRECTS_MAX + 1):
                answer = await self._once(method, parts, headers, body)
                if answer.status not in {307, 308}:
                    return answer
                parts = _within(parts, answer.headers.get("location", ""))
        except UnicodeError as error:  # a host's name, or a redirect's address, that can't be written in a request
            raise GiveUp(f"{parts.netloc!r} can't be asked: {error}", code="redirect_refused") from error
        except (OSError, http.client.HTTPException) as error:
            raise RetryLater(f"{parts.scheme}://{parts.netloc} doesn't answer: {error or type(error).__name__}") from error
        raise GiveUp(f"{url} redirects in circles", code="redirect_refused")

    async def _once(self, method: str, parts: SplitResult, headers: Mapping[str, str], body: bytes) -> Answer:
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        looked_up = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        address = str(looked_up[0][4][0])
        if not allowed(address):
            raise GiveUp(
                f"{host} is at {address}, a link-local or metadata address, which is never called", code="address_refused"
            )
        if not self.spec.private and not is_public(address):
            raise GiveUp(
                f"{host} is at {address}, which is no public address: say `private: true` under http where that is meant",
                code="address_refused",
            )
        connection = Pinned(host, port, address, secure=parts.scheme == "https", timeout_s=self.spec.timeout_s)
        target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
        try:
            asking = self._threads.submit(connection.ask, method, target, dict(headers), body, bytes_max=ANSWER_BYTES_MAX)
            answer = await asyncio.wrap_future(asking)
        finally:  # cancelled, too: the thread's read ends with its socket
            connection.end()
        if len(answer.body) > ANSWER_BYTES_MAX:
            raise GiveUp(f"{host} answered more than {ANSWER_BYTES_MAX >> 20} MiB", code="answer_too_large")
        return answer


def http_spec(pool: PoolSpec) -> HttpSpec:
    """Return how a pool's agents are called; FleetError where its options don't say."""
    try:
        return msgspec.convert(pool.options.get("http"), HttpSpec)
    except msgspec.ValidationError as error:
        raise FleetError(f"the pool {pool.name!r} needs http: {{url: https://...}}: {error}") from error


def _within(parts: SplitResult, location: str) -> SplitResult:
    """Return where a redirect leads; GiveUp unless that is on the same server."""
    try:
        target = urlsplit(urljoin(parts.geturl(), location))
    except ValueError as error:
        raise GiveUp(f"{parts.netloc} redirects to {location[:200]!r}, which is no address", code="redirect_refused") from error
    if not location or (target.scheme, target.netloc) != (parts.scheme, parts.netloc):
        raise GiveUp(f"{parts.netloc} redirects to {target.netloc or 'nowhere'}, which isn't declared", code="redirect_refused")
    return target


def _outcome(error: BaseException | None) -> Outcome:
    """Return what the breaker of a server is told: one that is away or in trouble fails, one that refuses a task has answered."""
    return "error" if isinstance(error, RetryLater) else outcome_of(error)


def _judge(answer: Answer) -> None:
    """Raise what an answer's status means, unless it is a success."""
    if 200 <= answer.status < 300:
        return
    said = f"the server answered {answer.status}: {answer.body[:SHOWN_CHARS].decode(errors='replace')}"
    if answer.status == 429:
        raise RateLimited(_retry_after_s(answer.headers) or RETRY_AFTER_S)
    if answer.status >= 500 or answer.status in {408, 425}:
        raise RetryLater(said, delay_s=_retry_after_s(answer.headers))
    raise GiveUp(said, code="redirect_refused" if answer.status < 400 else "request_refused")


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return what Retry-After says in seconds, an hour at most; None where it says nothing."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text), RETRY_AFTER_MAX_S)
    try:
        at = email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None
    return min(max(at - time(), 0.0), RETRY_AFTER_MAX_S)
