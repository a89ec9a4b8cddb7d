"""Webhooks of one cell and what each of them hasn't got yet, as the engine keeps them (`functions/91_webhooks.lua`).

A hook's place in the journal changes together with the events that were met on the way: nothing is passed over or queued twice,
whoever dies. What is posted twice is posted under the same id. Called by the API and by `controllers/webhooks.py`.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

import msgspec

from amas.engine.connection import Argument, Engine
from amas.errors import WebhooksFull
from amas.model.hooks import HOOKS_MAX, PER_TENANT_MAX, Hook, HookEvent, HookState

CHANNEL = "hooks"
Which = Literal["waiting", "given_up"]
_KEPT: Mapping[Which, tuple[str, str]] = {"waiting": ("hook:due", "hook:ev"), "given_up": ("hook:lost", "hook:lv")}
_hook = msgspec.msgpack.Decoder(Hook)
_event = msgspec.msgpack.Decoder(HookEvent)
_encode = msgspec.msgpack.Encoder().encode


class Kept(NamedTuple):
    """A hook and how it goes with it."""

    hook: Hook
    state: HookState


class Hooks:
    """All hooks of one cell."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def now_ms(self) -> int:
        """Return the engine's time."""
        return self._engine.now_ms()

    async def all(self) -> list[Kept]:
        """Return every hook, oldest first."""
        (found,) = await self._engine.read([("HVALS", self._engine.key("hooks"))])
        return await self._kept(sorted((_hook.decode(blob) for blob in found), key=lambda hook: hook.id))

    async def get(self, hook_id: str) -> Kept | None:
        """Return a hook; None when there is none of this id."""
        (found,) = await self._engine.read([("HGET", self._engine.key("hooks"), hook_id)])
        kept = await self._kept([_hook.decode(found)]) if found else []
        return kept[0] if kept else None

    async def _kept(self, hooks: Sequence[Hook]) -> list[Kept]:
        if not hooks:
            return []
        key = self._engine.key
        answers = await self._engine.read(
            [
                command
                for hook in hooks
                for command in (
                    ("HGETALL", key("hook", hook.id)),
                    ("ZCARD", key("hook:due", hook.id)),
                    ("ZCARD", key("hook:lost", hook.id)),
                )
            ]
        )
        return [Kept(hook, _state(*answers[3 * at : 3 * at + 3])) for at, hook in enumerate(hooks) if answers[3 * at]]

    async def add(self, hook: Hook, *, position: str) -> None:
        """Keep a new hook, which hears of what comes after an entry of the journal; WebhooksFull where there are too many."""
        most = PER_TENANT_MAX if hook.tenant else 0
        if not await self._engine.call("hook_add", hook.id, _encode(hook), hook.tenant, position, most, HOOKS_MAX):
            whose = f"the tenant {hook.tenant!r} has {most}" if most else f"there are {HOOKS_MAX}"
            raise WebhooksFull(f"{whose} webhooks already, or the fleet has all that it takes: remove one first")

    async def drop(self, hook: Hook) -> bool:
        """Forget a hook and what was to be told to it; False when it was gone."""
        return bool(await self._engine.call("hook_drop", hook.id, hook.tenant))

    async def take(self, hook_id: str, *, before: str, position: str, events: Iterable[HookEvent]) -> bool:
        """Move a hook's place and have it told these events; False when it stood elsewhere, and then nothing was done."""
        said = [part for event in events for part in (event.id, _encode(event))]
        return bool(await self._engine.call("hook_take", hook_id, before, position, self.now_ms(), *said))

    async def asked(self, hook_id: str, waiting: Iterable[HookEvent]) -> int:
        """Have a hook told of the approvals that wait now, of those only that it wasn't told of; return how many."""
        said = [part for event in waiting for part in (event.subject, event.id, _encode(event))]
        return int(await self._engine.call("hook_asked", hook_id, self.now_ms(), *said))

    async def tell(self, hook_id: str, event: HookEvent) -> None:
        """Have a hook told of something beside the journal."""
        await self._engine.call("hook_test", hook_id, self.now_ms(), event.id, _encode(event))

    async def due(self, hook_id: str, *, limit: int) -> list[HookEvent]:
        """Return events whose time for a try has come, those that were due first first."""
        due = self._engine.key("hook:due", hook_id)
        (ids,) = await self._engine.read([("ZRANGEBYSCORE", due, "-inf", self.now_ms(), "LIMIT", 0, limit)])
        return await self._events(ids, "hook:ev", hook_id)

    async def next_due_ms(self, hook_ids: Sequence[str]) -> dict[str, int]:
        """Return when the next try of each hook is due, for those for which something waits."""
        if not hook_ids:
            return {}
        commands = [("ZRANGE", self._engine.key("hook:due", each), 0, 0, "WITHSCORES") for each in hook_ids]
        answers = await self._engine.read(commands)
        return {each: int(float(first[1])) for each, first in zip(hook_ids, answers, strict=True) if first}

    async def events(self, hook_id: str, which: Which, *, limit: int, cursor: str = "") -> list[HookEvent]:
        """Return events that wait or were given up, those that happened last first; `cursor`: the id of the page's last."""
        index, blobs = _KEPT[which]
        (ids,) = await self._engine.read([("ZRANGE", self._engine.key(index, hook_id), 0, -1)])
        newest = sorted((each for each in ids if not cursor or each < cursor.encode()), reverse=True)
        return await self._events(newest[:limit], blobs, hook_id)

    async def event(self, hook_id: str, event_id: str) -> HookEvent | None:
        """Return an event that waits; None when it was got or given up."""
        found = await self._events([event_id], "hook:ev", hook_id)
        return found[0] if found else None

    async def _events(self, ids: Sequence[str | bytes], blobs: str, hook_id: str) -> list[HookEvent]:
        if not ids:
            return []
        (found,) = await self._engine.read([("HMGET", self._engine.key(blobs, hook_id), *ids)])
        return [_event.decode(blob) for blob in found if blob]  # what was got meanwhile is gone

    async def got(self, hook_id: str, event_id: str) -> bool:
        """Note that a hook has got an event; False when it waited no longer: the hook is gone, or another leader was there."""
        return bool(await self._engine.call("hook_got", hook_id, event_id, self.now_ms()))

    async def failed(self, hook_id: str, event: HookEvent, *, again_ms: int, disable: bool) -> bool:
        """Note that a hook hasn't got an event, as the event says; `again_ms`: when it is tried again, 0 to give it up.
        Return as `got` does."""
        said: list[Argument] = [event.id, self.now_ms(), event.error, _encode(event), again_ms, int(disable)]
        return bool(await self._engine.call("hook_failed", hook_id, *said))

    async def enable(self, hook_id: str) -> None:
        """Let a hook be told again, what waits for it at once."""
        await self._engine.call("hook_enable", hook_id, self.now_ms())

    async def again(self, hook_id: str, events: Iterable[HookEvent]) -> int:
        """Try events anew that were given up; return how many there were."""
        now_ms = self.now_ms()
        fresh = [msgspec.structs.replace(event, tries=0, error="", taken_ms=now_ms) for event in events]
        said = [part for event in fresh for part in (event.id, _encode(event))]
        return int(await self._engine.call("hook_again", hook_id, now_ms, *said))


def _state(held: dict[bytes, bytes], waiting: int, given_up: int) -> HookState:
    def number(name: bytes) -> int:
        return int(held.get(name, 0))

    return HookState(
        position=held.get(b"at", b"0-0").decode(),
        waiting=waiting,
        given_up=given_up,
        told=number(b"told"),
        dropped=number(b"dropped"),
        failing_ms=number(b"failing"),
        error=held.get(b"error", b"").decode(),
        last_ms=number(b"last"),
        disabled_ms=number(b"disabled"),
    )
