"""A foreign agent behind a URL, worked with as one of the fleet's own: a pool's `http:` in the fleet file makes it one.

Each task is one POST, and what comes back is its result. Who runs that server needs to know nothing of us. Where requests may go,
and what an answer's status means, is in `foreign.py`.
"""

import asyncio
import re
from typing import Any
from urllib.parse import urljoin, urlsplit

import msgspec

from amas.agents.base import BaseAgent
from amas.agents.context import Context
from amas.agents.dependency import Dependency
from amas.agents.foreign import Foreign, judge, mistake_of, outcome
from amas.agents.threads import DaemonThreads
from amas.core.conditions import compiled, resolved, value_of
from amas.errors import ExpressionInvalid, FleetError, GiveUp, RetryLater
from amas.model.fleet import PoolSpec
from amas.model.task import Json
from amas.model.token import AUDIENCE

HEALTH_S = 5.0


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
        if why := mistake_of(self.url, timeout_s=self.timeout_s, headers=self.headers):
            return why
        if self.health and not self.health.startswith("/"):
            return f"the health path {self.health!r} must begin with /"
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
        self._server = Foreign(
            "http",
            headers=self.spec.headers,
            timeout_s=self.spec.timeout_s,
            private=self.spec.private,
            threads=DaemonThreads(pool.tasks_per_agent + 1, name=agent_id),  # one for the question how it is
        )

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
            **await self._server.headers(),
        }
        if task.traceparent:
            headers.setdefault("traceparent", task.traceparent)
        if self.spec.token_audience:
            headers["authorization"] = f"Bearer {await task.token(self.spec.token_audience)}"
        async with Dependency(task, f"http/{urlsplit(self.spec.url).netloc}", judge=outcome):
            answer = await self._server.talk("POST", self.spec.url, headers, msgspec.json.encode(body))
            judge(answer)
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
                answer = await self._server.talk("GET", url, await self._server.headers(), b"")
        except (RetryLater, GiveUp, TimeoutError):
            return False
        return 200 <= answer.status < 300


def http_spec(pool: PoolSpec) -> HttpSpec:
    """Return how a pool's agents are called; FleetError where its options don't say."""
    try:
        return msgspec.convert(pool.options.get("http"), HttpSpec)
    except msgspec.ValidationError as error:
        raise FleetError(f"the pool {pool.name!r} needs http: {{url: https://...}}: {error}") from error
