"""Webhooks: tells whoever asked of ends of tasks, workflows and goals, and of approvals that wait.

Two steps, each of which may be killed anywhere. The first follows the history and puts what each hook hears of into its queue
in the engine, moving its place in the same call. The second posts what is due, one hook beside the other: whoever is slow has
a thread and a queue of its own and delays nobody, nor the recorder, which knows nothing of hooks. An event leaves its queue when
its receiver has answered 2xx; a process that dies in between makes the next one post it again, under the same id. A hook whose
queue is full isn't fed until there is room: its place in the history waits.
"""

import asyncio
import random
from collections.abc import Collection
from functools import partial

import msgspec

from amas.agents.threads import DaemonThreads
from amas.controllers.errands import Errands
from amas.controllers.notices import iso
from amas.controllers.occurrences import asked, patterns_of, read
from amas.controllers.traces import trace_of_end
from amas.core.hooks import asks_for, hears, pause_s
from amas.engine.connection import Engine
from amas.engine.hooks import CHANNEL, Hooks, Kept
from amas.engine.queue import TaskQueue
from amas.errors import SettingInvalid
from amas.model.hooks import HOOKS_MAX, TYPE_PREFIX, Hook, HookEvent, Occurrence
from amas.observe import events
from amas.observe.logging import process_log
from amas.policy.hook_secrets import secret_for
from amas.policy.outbound import PostFailed, headers_of, post, public
from amas.records.history import History
from amas.settings import WebhookSettings

PAUSE_S = 0.5
"""Between looks at the history, while anybody is to be told."""
IDLE_S = 30.0
"""While nobody is; a new hook rings."""
PATIENCE_S = 0.2
"""What receivers get within a sweep: one that takes longer is told on meanwhile."""
BATCH = 50
"""Posts of one hook between two looks at it."""
WAITING_MAX = 1000
"""Events of a hook in the engine beyond which it isn't fed: the history keeps the rest."""
POST_TIMEOUT_S = 10.0
DISABLED_AFTER = 3.0
"""Times as long as an event is tried: a hook that has done nothing but fail for that long is disabled."""
CONTENT_TYPE = "application/cloudevents+json; charset=utf-8"
HOUR_MS = 3_600_000


def cloud_event(event: HookEvent, *, source: str, traceparent: str = "") -> bytes:
    """Return the body of a post: an event as CloudEvents 1.0 has it in JSON, with its extension for distributed tracing."""
    return msgspec.json.encode(
        {
            **({"traceparent": traceparent} if traceparent else {}),
            "specversion": "1.0",
            "id": event.id,
            "source": source,
            "type": TYPE_PREFIX + event.kind,
            "subject": event.subject,
            "time": iso(event.at_ms),
            "datacontenttype": "application/json",
            "data": msgspec.Raw(event.data),
        }
    )


def queued(what: Occurrence, *, now_ms: int) -> HookEvent:
    """Return an occurrence as an event that waits for a hook."""
    data = msgspec.json.encode(what.data)
    return HookEvent(id=what.id, kind=what.kind, subject=what.subject, at_ms=what.at_ms, taken_ms=now_ms, data=data)


class Webhooks:
    """Feeds hooks' queues and empties them."""

    name = "webhooks"
    woken_by = CHANNEL

    def __init__(
        self, engine: Engine, history: History, settings: WebhookSettings, *, secret: str, patience_s: float = PATIENCE_S
    ):
        """`secret`: the fleet's, from which hooks' follow. `patience_s`: what receivers get within a sweep."""
        self._engine, self._history, self._settings, self._secret = engine, history, settings, secret
        self._hooks, self._queue, self._patience_s = Hooks(engine), TaskQueue(engine), patience_s
        self._reach = public(settings.reach())
        self._source = f"urn:amas:{engine.prefix.partition('{')[2].rstrip('}')}"
        self._threads = DaemonThreads(HOOKS_MAX, name="webhook")
        self.errands = Errands()

    async def run_once(self) -> float:
        """Take what is new for every hook, post what is due, and return the seconds until the next sweep."""
        hooks = [kept for kept in await self._hooks.all() if not kept.state.disabled_ms]
        more = await self._feed([kept for kept in hooks if kept.state.waiting < WAITING_MAX])
        await self._ask([kept for kept in hooks if asks_for(kept.hook.events, "approval.waiting")])
        due = await self._hooks.next_due_ms([kept.hook.id for kept in hooks])
        for kept in hooks:
            hook = kept.hook
            if due.get(hook.id, self._hooks.now_ms() + 1) <= self._hooks.now_ms() and not self.errands.under_way(hook.id):
                self.errands.begin(hook.id, self._post_due(kept))
        await self.errands.settle(patience_s=self._patience_s)
        if not hooks:
            return IDLE_S
        return 0.0 if more else PAUSE_S

    async def _feed(self, hooks: Collection[Kept]) -> bool:
        """Have hooks told of what came since their places; return whether there is more. Those at one place share a look."""
        more = False
        for position in {kept.state.position for kept in hooks}:
            group = [kept.hook for kept in hooks if kept.state.position == position]
            new = await read(self._history, position, patterns_of(hook.events for hook in group))
            more = more or new.more
            now_ms = self._hooks.now_ms()
            for hook in group if new.position != position else ():
                told = [queued(each, now_ms=now_ms) for each in new.found if hears(hook, each)]
                await self._hooks.take(hook.id, before=position, position=new.position, events=told)
        return more

    async def _ask(self, hooks: Collection[Kept]) -> None:
        if not hooks:
            return
        waiting, now_ms = await asked(self._engine, self._queue), self._hooks.now_ms()
        for kept in hooks:
            await self._hooks.asked(kept.hook.id, [queued(each, now_ms=now_ms) for each in waiting if hears(kept.hook, each)])

    async def _post_due(self, kept: Kept) -> None:
        failing_ms = kept.state.failing_ms
        for event in await self._hooks.due(kept.hook.id, limit=BATCH):
            try:
                await self._post(kept.hook, event)
            except PostFailed as error:
                failing_ms = failing_ms or self._hooks.now_ms()
                if not await self._failed(kept.hook, event, error, failing_ms=failing_ms):
                    return
            else:
                failing_ms = 0
                if not await self._hooks.got(kept.hook.id, event.id):
                    return

    async def _post(self, hook: Hook, event: HookEvent) -> None:
        try:
            secret = secret_for(hook.id, hook.secret, fleet_secret=self._secret)
        except SettingInvalid as error:
            raise PostFailed(str(error)) from error
        traceparent = await trace_of_end(self._history, event.subject)
        trace = {"traceparent": traceparent} if traceparent else {}
        body = cloud_event(event, source=self._source, **trace)
        headers = headers_of(event.id, body, secret, at_s=self._hooks.now_ms() // 1000) | {"Content-Type": CONTENT_TYPE} | trace
        told = partial(post, hook.url, body, headers, reach=self._reach, timeout_s=POST_TIMEOUT_S)
        await asyncio.get_running_loop().run_in_executor(self._threads, told)

    async def _failed(self, hook: Hook, event: HookEvent, error: PostFailed, *, failing_ms: int) -> bool:
        """Note a failure; return whether the hook is to be told on: it is there, and wasn't disabled by this."""
        now_ms, retry_ms = self._hooks.now_ms(), self._settings.retry_h * HOUR_MS
        event = msgspec.structs.replace(event, tries=event.tries + 1, error=str(error)[:500])
        over = now_ms - event.taken_ms >= retry_ms
        disable = now_ms - failing_ms >= DISABLED_AFTER * retry_ms
        again_ms = 0 if over else now_ms + round(pause_s(event.tries, random.random()) * 1000)  # noqa: S311  jitter, no secret
        there = await self._hooks.failed(hook.id, event, again_ms=again_ms, disable=disable)
        if disable:
            process_log().error(
                "a webhook is disabled: it has done nothing but fail",
                event=events.WEBHOOK_DISABLED,
                webhook=hook.id,
                why=str(error),
            )
        return there and not disable
