"""The control plane's part in agents' tokens: signs what hosts ask for, once it has seen that they seat the agent, and checks
what agents show.

Hosts ask through the engine and are answered there, sealed; a session of remote agents asks through the API. Only a control plane
has keys that sign, its own in its own home; what any of them signed, all of them take, since the public halves lie in the engine.
A token is checked once and known until it expires; whether it was revoked, or its key ended, is asked at each use.
"""

import asyncio
from collections import OrderedDict
from contextlib import suppress
from pathlib import Path

import msgspec

from amas.clock import new_id, now_ms
from amas.core.signing import AHEAD_MS, TOKEN_LIFE_S, next_begins_ms, signer, verifies
from amas.engine.bell import Bell, Waker
from amas.engine.connection import Engine
from amas.engine.queue import TaskQueue
from amas.engine.registry import AgentRegistry
from amas.engine.tokens import CHANNEL, AgentTokens
from amas.errors import EngineError, TokenExpired, TokenKeyUnknown, TokenRefused, TokenRevoked
from amas.model.fleet import FleetSpec
from amas.model.numbers import named, within
from amas.model.remote import RemoteAgent, is_remote
from amas.model.token import AgentClaims, AgentToken, SigningKey, TokenAnswer, TokenAsk
from amas.observe import events
from amas.observe.logging import process_log
from amas.policy.agent_tokens import Checked, SigningFolder, checked
from amas.policy.boxes import seal_for
from amas.server.agents import AgentBoard

POLL_S = 2.0
"""Between looks when nothing rings."""
BATCH = 100
"""Wishes that one control plane takes at a time; should it die with them, their hosts ask again."""
KNOWN_MAX = 50_000
"""Tokens that were checked and are remembered."""
AGENT_OPENER = "agent:"
"""Before what is kept of a token that has opened a session: whose, of which epoch, signed with which key, and when it expires."""


class TokenOffice:
    """Signs and checks agents' tokens, for one control plane."""

    def __init__(
        self, engine: Engine, home: Path, fleet: FleetSpec, *, board: AgentBoard, registry: AgentRegistry, issuer: str
    ) -> None:
        """`issuer`: what tokens say who signed them, and the audience of those that are for this API."""
        self.issuer = issuer or "urn:" + engine.prefix.replace("{", "").replace("}", "")
        self.fleet = fleet
        """As it is to run now."""
        self.kept = AgentTokens(engine)
        self._queue, self._board, self._registry = TaskQueue(engine), board, registry
        self._folder = SigningFolder(home / "signing")
        self._known: OrderedDict[str, Checked] = OrderedDict()
        """By a token's digest."""
        self._waker = Waker()
        self._bell = Bell(engine, {CHANNEL: self._waker.ring}, connected=self._waker.ring)

    # -- signing

    async def run(self) -> None:
        """Sign what hosts ask for, until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._bell.run(), name="bell")
            while True:
                await self._waker.rest(POLL_S)
                with suppress(EngineError):  # the host asks again
                    while await self.run_once():
                        pass

    async def run_once(self) -> int:
        """Answer what hosts ask for, at most `BATCH` of them; return how many that were."""
        asked = await self.kept.take(BATCH)
        for ask in asked:
            await self.kept.answer(ask.id, await self._answered(ask))
        return len(asked)

    async def _answered(self, ask: TokenAsk) -> TokenAnswer:
        found = await self.kept.standing(ask.host_id, ask.agent_id, ask.task_id)
        card = found.about.card_of(ask.agent_id) if found.about else None
        if card is None or found.runs != ask.agent_id:
            return TokenAnswer(refusal=f"{ask.host_id} doesn't run {ask.task_id} on {ask.agent_id} (any more)")
        if found.stopped:
            return TokenAnswer(refusal=f"{ask.agent_id} is killed or in quarantine")
        tenant = (await self._queue.tenants_of([ask.task_id])).get(ask.task_id, "")
        try:
            token = await self._signed(
                ask.agent_id, pool=card.pool, layer=card.layer, audience=ask.audience, tenant=tenant, epoch=found.epoch
            )
            return TokenAnswer(sealed=seal_for(ask.box, msgspec.msgpack.encode(token)))
        except (OSError, ValueError) as error:
            process_log().error("a token can't be signed", event=events.SIGNING_FAILED, agent_id=ask.agent_id, why=str(error))
            return TokenAnswer(refusal=f"the control plane can't sign: {error}")

    async def of_remote(self, session_id: str, agent: RemoteAgent, *, audience: str, task_id: str) -> AgentToken:
        """Return a token of a session's agent for a task that it runs; TokenRevoked while it is killed."""
        found = await self.kept.standing(session_id, agent.id, task_id)
        if found.stopped:
            raise TokenRevoked(f"{agent.id} is killed or in quarantine")
        tenant = (await self._queue.tenants_of([task_id])).get(task_id, "")
        return await self._signed(agent.id, pool="", layer=agent.layer, audience=audience, tenant=tenant, epoch=found.epoch)

    async def _signed(self, agent_id: str, *, pool: str, layer: str, audience: str, tenant: str, epoch: int) -> AgentToken:
        iat = now_ms() // 1000
        claims = AgentClaims(
            sub=agent_id,
            iss=self.issuer,
            aud=audience or self.issuer,
            iat=iat,
            exp=iat + TOKEN_LIFE_S,
            jti=new_id(),
            pool=pool,
            layer=layer,
            epoch=epoch,
            tenant=tenant,
        )
        text = self._folder.sign(await self._signer(), claims)
        return AgentToken(text=text, epoch=epoch, expires_ms=claims.exp * 1000)

    async def _signer(self) -> SigningKey:
        """Return the key that signs now, and publish its successor when that is due."""
        keys = await self.kept.keys()
        at_ms = now_ms()
        own = self._folder.own(keys)
        if (begins_ms := next_begins_ms(own, at_ms)) is not None:
            over = [key.kid for key in keys if not verifies(key, at_ms)]
            made = await asyncio.to_thread(self._folder.make, begins_ms)
            await self.kept.add_key(made, over=over)
            await asyncio.to_thread(self._folder.forget, over)
            process_log().info("a key signs tokens", event=events.SIGNING_KEY_MADE, kid=made.kid, from_ms=begins_ms)
            own.append(made)
        found = signer(own, at_ms)
        assert found is not None, "a key was made for this moment"
        return found

    async def rotate(self, *, at_once: bool) -> list[SigningKey]:
        """Have new keys sign, and return the keys that count then.

        What the old ones signed counts until it expires, and they sign until services have had time to learn of the new ones;
        unless `at_once`: then neither, as for a key that somebody else may have.
        """
        at_ms = now_ms()
        await self.kept.end_keys(at_ms if at_once else at_ms + AHEAD_MS, at_once=at_once)
        await self._signer()
        return await self.published()

    async def published(self) -> list[SigningKey]:
        """Return the keys that tokens which count may have been signed with, or will be soon; oldest first."""
        at_ms = now_ms()
        keys = [key for key in await self.kept.keys() if verifies(key, at_ms)]
        return sorted(keys, key=lambda key: (key.signs_from_ms, key.kid))

    # -- checking

    async def check(self, text: str, digest: str) -> AgentClaims:
        """Return what an agent's token for this API says; TokenRefused where it doesn't count (any more)."""
        held = self._known.get(digest)
        return await self._still(held) if held else await self._first(text, digest)

    async def holds(self, digest: str) -> bool:
        """Return whether a token that was checked, by its digest, still counts."""
        held = self._known.get(digest)
        try:
            return held is not None and bool(await self._still(held))
        except TokenRefused:
            return False

    def opener(self, digest: str) -> str:
        """Return what says of a token that was checked which it is, for as long as a session lasts that it opens."""
        kid, claims = self._known[digest]
        return f"{AGENT_OPENER}{claims.sub}:{claims.epoch}:{kid}:{claims.exp}"

    async def opens(self, opener: str) -> bool:
        """Return whether a token, as `opener` says which, was neither revoked nor has expired."""
        name, epoch, kid, exp = opener.removeprefix(AGENT_OPENER).split(":")
        at_ms = now_ms()
        keys, current = await self.kept.keys_and_epoch(name)
        there = any(key.kid == kid and verifies(key, at_ms) for key in keys)
        return there and int(epoch) == current and int(exp) * 1000 > at_ms

    async def _first(self, text: str, digest: str) -> AgentClaims:
        at_ms = now_ms()
        keys = [key for key in await self.kept.keys() if verifies(key, at_ms)]
        held = self._known[digest] = checked(text, keys, issuer=self.issuer, audience=self.issuer, now_ms=at_ms)
        if len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)
        return await self._still(held)

    async def _still(self, held: Checked) -> AgentClaims:
        claims, at_ms = held.claims, now_ms()
        keys, epoch = await self.kept.keys_and_epoch(claims.sub)
        if claims.exp * 1000 <= at_ms:
            raise TokenExpired("the agent's token has expired: ask for a new one")
        if not any(key.kid == held.kid and verifies(key, at_ms) for key in keys):
            raise TokenKeyUnknown("the key that signed the token counts no more: ask for a new token")
        if claims.epoch != epoch or not await self._there(claims.sub):
            raise TokenRevoked(f"the tokens of {claims.sub} were revoked, or it is no more")
        return claims

    async def _there(self, agent_id: str) -> bool:
        """Return whether an agent is wanted, or is somewhere: one that goes is there until it has done what it does."""
        pool, number = named(agent_id)
        if any(each.name == pool and within(number, each.numbers) for each in self.fleet.pools):
            return True
        if is_remote(agent_id):
            return bool(await self._registry.look([agent_id]))
        return any(host.about.card_of(agent_id) for host in await self._board.hosts())
