"""A foreign agent that speaks A2A 1.0, worked with as one of the fleet's own: a pool's `a2a:` in the fleet file makes it one.

Its card is fetched from the address that is declared, and read with suspicion (`a2a_card.py`); each task is a message to the
interface that it names (`a2a_wire.py`), and the foreign task that comes of it is followed to its end (`a2a_work.py`). Where
requests may go is in `foreign.py`. The result is `{"text", "data", "files"}`: all texts, line by line; JSON values; and files,
whose bytes become artifacts (`{"name", "media_type", "bytes", "artifact"}`). A file that is only an address stays one (`url` in
place of the last two): nothing is fetched from where a foreign agent says.
"""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Literal
from urllib.parse import urlsplit

import msgspec

from amas.agents.a2a_card import CARD_BYTES_MAX, NAME_CHARS, WELL_KNOWN, Way, chosen, read_card
from amas.agents.a2a_wire import VERSION, Endpoint, ForeignTask, Part
from amas.agents.a2a_work import POLL_MIN_S, ForeignWork
from amas.agents.base import BaseAgent
from amas.agents.context import Context
from amas.agents.dependency import Dependency
from amas.agents.foreign import Foreign, is_address, judge, mistake_of, outcome
from amas.agents.skills.safe_text import plain
from amas.agents.threads import DaemonThreads
from amas.clock import monotonic_s
from amas.core.conditions import compiled, resolved, value_of
from amas.errors import ExpressionInvalid, FleetError, GiveUp
from amas.model.fleet import PoolSpec
from amas.model.task import Json

CARD_S = 300.0
"""Seconds for which a card stands; an agent that is asked how it is reads it anew."""
POLL_MAX_S = 600.0
URL_CHARS_MAX = 2048


class A2aSpec(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a foreign agent is found and spoken to."""

    card: str
    """Its card's address; one without a path means the card in its usual place there."""
    hosts: tuple[str, ...] = ()
    """`host` or `host:port`: further hosts that the card may name. What is in `headers` is sent to them, too."""
    tenant: str = ""
    """Which agent behind the interface; empty: as the card says."""
    skills: tuple[str, ...] = ()
    """Ids of skills that its card must have."""
    text: Json = None
    """A part of the message; `{"$": expression}` stands for a value of `input`, `needs` or `task`."""
    data: Json = None
    """The same as JSON. Neither said: the task's input, as text where it is one."""
    result: str = ""
    """A JMESPath expression over `{"text", "data", "files"}`; empty takes all of it."""
    questions: Literal["fail", "escalate"] = "fail"
    """What becomes of a task for which the foreign agent wants to know more."""
    headers: dict[str, str] = msgspec.field(default_factory=dict)
    """A value may be a reference to a secret (`amas.secrets`), such as `env:NAME`, so that none stands in a file."""
    poll_s: float = 5.0
    """The longest pause between two looks at a foreign task."""
    timeout_s: float = 60.0
    """For one answer."""
    private: bool = False
    """Whether its address may be one of this machine's or of a private network."""
    enabled: bool = True
    """Whether its pool is part of the fleet."""

    @property
    def card_url(self) -> str:
        """Where the card lies."""
        parts = urlsplit(self.card)
        return parts._replace(path=WELL_KNOWN).geturl() if parts.path in {"", "/"} else self.card

    def mistake(self) -> str:
        """Return what is wrong with it, in a sentence; "" when it is sound."""
        if why := mistake_of(self.card, timeout_s=self.timeout_s, headers=self.headers):
            return why
        if odd := [host for host in self.hosts if not is_address(f"https://{host}") or "/" in host]:
            return f"{odd[0]!r} is no host: write agents.example.com, or agents.example.com:8443"
        if not POLL_MIN_S <= self.poll_s <= POLL_MAX_S:
            return f"a poll of {self.poll_s:g} s can't be taken: {POLL_MIN_S:g} to {POLL_MAX_S:g} s can"
        try:
            compiled(self.result or "@")
        except ExpressionInvalid as error:
            return str(error)
        return ""


class A2aAgent(BaseAgent):
    """Hands its tasks to a foreign agent."""

    def __init__(self, agent_id: str, pool: PoolSpec) -> None:
        super().__init__(agent_id, pool)
        self.spec = spec = a2a_spec(pool)
        threads = DaemonThreads(pool.tasks_per_agent + 1, name=agent_id)  # one for the question how it is
        self._server = Foreign("a2a", headers=spec.headers, timeout_s=spec.timeout_s, private=spec.private, threads=threads)
        self._found: tuple[Way, float] | None = None
        """What the card names, and until when that stands."""

    @classmethod
    def check(cls, pool: PoolSpec) -> None:
        """Raise FleetError where a pool's `a2a` can't be worked with."""
        spec = a2a_spec(pool)
        if spec.enabled and (mistake := spec.mistake()):
            raise FleetError(mistake)
        if pool.isolation != "shared":
            raise FleetError("a2a runs nobody's code here, and a task that is cancelled is to be called off: drop `isolation`")

    async def process_task(self, task: Context) -> Json:
        """Have the foreign agent do it, and return what it made."""
        parts, work = self._message(task), None
        try:
            async with Dependency(task, f"a2a/{urlsplit(self.spec.card).netloc}", judge=outcome):
                endpoint = Endpoint(self._server, await self._way(), tenant=self.spec.tenant, traceparent=task.traceparent)
                work = ForeignWork(
                    task, endpoint, parts, poll_max_s=self.spec.poll_s, escalates=self.spec.questions == "escalate"
                )
                said = await work.begin()
            if isinstance(said, ForeignTask):
                said = await work.follow(said)
        except asyncio.CancelledError:
            if work is not None and task.abandoned:
                await work.cancel()
            raise
        if isinstance(said, ForeignTask) and said.artifacts:
            return await self._result(task, [part for artifact in said.artifacts for part in artifact.parts])
        message = said.status.message if isinstance(said, ForeignTask) else said
        return await self._result(task, message.parts if message else ())

    async def health_check(self) -> bool:
        """Read its card: True, or what is wrong. One that is refused is no illness, since its tasks fail and say why."""
        with suppress(GiveUp):
            await self._way(anew=True)
        return True

    async def _way(self, *, anew: bool = False) -> Way:
        """Return how it is spoken to; GiveUp where its card isn't one to go by, RetryLater where it can't be had."""
        if self._found is not None and not anew and monotonic_s() < self._found[1]:
            return self._found[0]
        self._found, url = None, self.spec.card_url
        headers = {"accept": "application/json", "a2a-version": VERSION, **await self._server.headers()}
        answer = await self._server.talk("GET", url, headers, b"", bytes_max=CARD_BYTES_MAX)
        judge(answer)
        found = chosen(read_card(answer.body), at=url, hosts=self.spec.hosts, skills=self.spec.skills)
        self._found = found, monotonic_s() + CARD_S
        return found

    def _message(self, task: Context) -> list[Json]:
        """Return the parts of the message that a task is."""
        spec = self.spec
        if spec.text is None and spec.data is None:
            return [{"text": task.input} if isinstance(task.input, str) else {"data": task.input}]
        about: Json = {"id": task.id, "attempt": task.attempt, "agent_id": task.agent_id, "capability": task.spec.capability}
        scope = {"input": task.input, "needs": task.results, "task": about}
        parts: list[Json] = []
        if spec.text is not None:
            text = resolved(spec.text, scope)
            parts.append({"text": text if isinstance(text, str) else msgspec.json.encode(text).decode()})
        if spec.data is not None:
            parts.append({"data": resolved(spec.data, scope)})
        return parts

    async def _result(self, task: Context, parts: Sequence[Part]) -> Json:
        whole: dict[str, Json] = {
            "text": "\n".join(part.text for part in parts if part.text is not None),
            "data": [part.data for part in parts if part.data is not msgspec.UNSET],
            "files": [await _file(task, part) for part in parts if part.raw is not None or part.url is not None],
        }
        return value_of(self.spec.result, whole) if self.spec.result else whole


def a2a_spec(pool: PoolSpec) -> A2aSpec:
    """Return how a pool's agents are spoken to; FleetError where its options don't say."""
    try:
        return msgspec.convert(pool.options.get("a2a"), A2aSpec)
    except msgspec.ValidationError as error:
        raise FleetError(f"the pool {pool.name!r} needs a2a: {{card: https://...}}: {error}") from error


async def _file(task: Context, part: Part) -> Json:
    """Return a file as a result names it."""
    about: dict[str, Json] = {
        "name": plain(part.filename, chars_max=NAME_CHARS * 3),
        "media_type": plain(part.media_type, chars_max=NAME_CHARS),
    }
    raw = part.raw
    if raw is None:
        return {**about, "url": plain(part.url, chars_max=URL_CHARS_MAX)}
    return {**about, "bytes": len(raw), "artifact": await task.in_thread(lambda: task.artifacts.put(raw))}
