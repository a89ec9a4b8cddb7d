"""A host's tokens for its agents: asked of the control plane through the engine, kept, and replaced long before they expire.

The host has no key that signs. It says which agent of its own wants a token for which audience, and gets one that is sealed for
it. While no control plane answers, a token that still counts is handed out on; one that was revoked never is.
"""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Callable
from functools import partial

import msgspec

from amas.clock import new_id, now_ms
from amas.core.retry import Draw, pause_s
from amas.engine.connection import Engine
from amas.engine.insist import insist
from amas.engine.tokens import AgentTokens
from amas.errors import NotAllowed, RetryLater, SubmissionError
from amas.model.token import AUDIENCE, AgentToken, TokenAnswer, TokenAsk

RENEW_MS = 6 * 3_600_000
"""A token is replaced when it has so long to live: a quarter of its life, in which a control plane may be away."""
LOOK_MIN_S, LOOK_MAX_S = 0.01, 0.25
"""Between looks for an answer."""
ANSWER_S = 10.0
"""Without an answer it is asked for anew: the control plane that took the wish may be gone."""
ASKS_MAX = 3
ALONE_MS = 60_000
KEPT_MAX = 10_000
"""Tokens of a host, some 6 MB; the one that was used longest ago is forgotten first."""

_token = msgspec.msgpack.Decoder(AgentToken)


class TokenPurse:
    """The tokens of one host's agents."""

    def __init__(self, engine: Engine, host_id: str, *, draw: Draw, clock: Callable[[], int] = now_ms) -> None:
        self._tokens, self._host_id, self._draw, self._now_ms = AgentTokens(engine), host_id, draw, clock
        self._alone_until_ms = 0
        """Until then, nobody answering, tokens that count are handed out as they are."""
        self._kept: OrderedDict[tuple[str, str, str], AgentToken] = OrderedDict()
        """By agent, audience and tenant."""

    async def token(self, agent_id: str, audience: str, *, task_id: str, tenant: str) -> str:
        """Return a token that counts for hours to come; for what the errors mean see `Context.token`."""
        if audience and not re.fullmatch(AUDIENCE, audience):
            raise SubmissionError(f"{audience!r} can't be an audience: write up to 200 visible characters, as in https://host")
        about = agent_id, audience, tenant
        held = await self._sound(about)
        if held is None or self._old(held):
            try:
                held = await self._fetched(agent_id, audience, task_id, asks=1 if held else ASKS_MAX)
            except RetryLater:
                self._alone_until_ms = self._now_ms() + ALONE_MS
                if held is None:
                    raise
                return held.text
            self._kept[about] = held
            if len(self._kept) > KEPT_MAX:
                self._kept.popitem(last=False)
        return held.text

    def _old(self, held: AgentToken) -> bool:
        at_ms = self._now_ms()
        return held.expires_ms - at_ms < RENEW_MS and at_ms >= self._alone_until_ms

    async def _sound(self, about: tuple[str, str, str]) -> AgentToken | None:
        """Return a token that is kept here and counts."""
        held = self._kept.get(about)
        if held is None:
            return None
        epoch = await insist(lambda: self._tokens.epoch(about[0]), draw=self._draw)
        if held.epoch != epoch or held.expires_ms <= self._now_ms():
            del self._kept[about]
            return None
        self._kept.move_to_end(about)
        return held

    async def _fetched(self, agent_id: str, audience: str, task_id: str, *, asks: int) -> AgentToken:
        from amas.policy.boxes import Box

        box = Box()
        for _ in range(asks):
            ask = TokenAsk(
                id=new_id(), host_id=self._host_id, agent_id=agent_id, audience=audience, task_id=task_id, box=box.public
            )
            if why := await insist(partial(self._tokens.ask, ask), draw=self._draw):
                raise RetryLater(f"{agent_id} gets no token now: {why}")
            try:
                async with asyncio.timeout(ANSWER_S):
                    answer = await self._answer(ask.id)
            except TimeoutError:
                continue
            if answer.refusal:
                raise NotAllowed(f"{agent_id} gets no token: {answer.refusal}")
            return _token.decode(box.open(answer.sealed))
        raise RetryLater(f"{agent_id} gets no token now: no control plane has answered for {ANSWER_S * asks:g} s")

    async def _answer(self, ask_id: str) -> TokenAnswer:
        looks = 0
        while True:
            looks += 1
            await asyncio.sleep(pause_s(looks, least_s=LOOK_MIN_S, most_s=LOOK_MAX_S, draw=self._draw))
            if answer := await insist(lambda: self._tokens.fetch(ask_id), draw=self._draw):
                return answer
