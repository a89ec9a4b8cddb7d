"""Webhooks: registered, looked at, tested, removed; what they didn't get, listed and sent again (docs/webhooks.md)."""

import asyncio
from functools import partial
from typing import Annotated, Any
from urllib.parse import urlsplit

import msgspec
from fastapi import APIRouter, Path, Query, Request
from starlette.responses import Response

from amas.agents.threads import DaemonThreads
from amas.clock import monotonic_s, new_id
from amas.engine.hooks import Kept, Which
from amas.errors import SettingInvalid, WebhookUnknown
from amas.model.hooks import TEST, TYPE_PREFIX, Hook, HookEvent
from amas.policy.hook_secrets import secret_for
from amas.policy.outbound import PostFailed, public, resolved
from amas.server import intake
from amas.server.contract import answers, encoded, takes
from amas.server.hook_shapes import (
    HookEventPage,
    HookEventShape,
    MadeWebhook,
    NewWebhook,
    Resent,
    TestedWebhook,
    WebhookPage,
    WebhookShape,
)
from amas.server.identity import Caller, Calling
from amas.server.paging import Cursor, Limit, Page
from amas.server.plane import ControlPlane, Plane
from amas.server.problems import Fault, Refusal
from amas.settings import WebhookSettings

router = APIRouter(prefix="/api/webhooks", tags=["webhooks"])

LOOK_EVERY_S = 0.1
RESOLVE_S = 10.0
"""How long a name's address is waited for."""
_RESOLVERS = DaemonThreads(8, name="resolve")
"""Names that nobody answers for hold up those who register webhooks, and nobody else."""

WebhookId = Annotated[str, Path(max_length=100, description="A webhook's id.")]

_SHAPE = WebhookShape(
    id="01990d3e-7a10-7c3e-9a44-0a6f5b7c8d9e",
    url="https://ci.example.com/amas",
    events=("goal.*", "task.failed"),
    tenant="",
    workflow_id="",
    capability="",
    created_ms=1_757_000_000_000,
    by="ada",
    state="well",
    told=12,
    waiting=0,
    given_up=0,
    dropped=0,
    error="",
    failing_ms=0,
    last_ms=1_757_000_002_004,
)
_MADE = MadeWebhook(**msgspec.structs.asdict(_SHAPE), secret="whsec_...")  # noqa: S106  an example
_EVENT = HookEventShape(
    id="1757000000004-0-01990d3e-7a10-7c3e-9a44-0a6f5b7c8d9e",
    type="amas.task.failed",
    subject="01990d3e-7a10-7c3e-9a44-0a6f5b7c8d9e",
    at_ms=1_757_000_000_004,
    tries=17,
    error="ci.example.com answered 500",
    data={"id": "01990d3e-7a10-7c3e-9a44-0a6f5b7c8d9e", "state": "failed"},
)


@router.post(
    "",
    summary="Register a webhook",
    openapi_extra=takes(NewWebhook, NewWebhook(url=_SHAPE.url, events=_SHAPE.events)),
    **answers(MadeWebhook, _MADE, status=201, problems=(400, 409, 413, 415, 422, 503)),
)
async def add_webhook(request: Request, caller: Calling, plane: Plane) -> Response:
    """Have an address told, from now on, of what it asks for: CloudEvents, signed, at least once each."""
    new = await intake.read_one(request, NewWebhook)
    await _check_url(new.url)
    hook = Hook(
        id=new_id(),
        url=new.url,
        events=new.events,
        tenant=new.tenant,
        workflow_id=new.workflow_id,
        capability=new.capability,
        secret=new.secret,
        created_ms=plane.hooks.now_ms(),
        by=caller.says(new.by),
    )
    secret = _secret(plane, caller, hook)
    await plane.hooks.add(hook, position=await plane.journal.last_id())
    made = MadeWebhook(**msgspec.structs.asdict(_shape(await _kept(plane, hook.id))), secret="" if new.secret else secret)
    return encoded(made, 201, {"location": f"/api/webhooks/{hook.id}", "cache-control": "no-store"})


@router.get("", summary="List webhooks", **answers(WebhookPage, WebhookPage(items=[_SHAPE], next=None), problems=(422, 503)))
async def list_webhooks(plane: Plane, caller: Calling, limit: Limit = 1000, cursor: Cursor = "") -> Response:
    """List webhooks, oldest first, and how it goes with them."""
    found = [kept for kept in await plane.hooks.all() if caller.tenant in ("", kept.hook.tenant)]
    items, following = Page(limit, cursor).of(found, lambda kept: kept.hook.id)
    return encoded(WebhookPage(items=[_shape(kept) for kept in items], next=following))


@router.get("/{webhook_id}", summary="Look at a webhook", **answers(WebhookShape, _SHAPE, problems=(404, 422, 503)))
async def get_webhook(webhook_id: WebhookId, plane: Plane) -> Response:
    """Show one webhook and how it goes with it."""
    return encoded(_shape(await _kept(plane, webhook_id)))


@router.delete("/{webhook_id}", summary="Remove a webhook", **answers(WebhookShape, _SHAPE, problems=(404, 422, 503)))
async def drop_webhook(webhook_id: WebhookId, plane: Plane) -> Response:
    """Forget a webhook and what it hasn't got; a post that is under way may still arrive."""
    kept = await _kept(plane, webhook_id)
    await plane.hooks.drop(kept.hook)
    return encoded(_shape(kept))


@router.get(
    "/{webhook_id}/events",
    summary="List what a webhook hasn't got",
    **answers(HookEventPage, HookEventPage(items=[_EVENT], next=None), problems=(404, 422, 503)),
)
async def list_events(
    webhook_id: WebhookId,
    plane: Plane,
    state: Annotated[Which, Query(description="Those that are tried, or those that were given up.")] = "given_up",
    limit: Limit = 50,
    cursor: Cursor = "",
) -> Response:
    """List events, those that happened last first."""
    await _kept(plane, webhook_id)
    found = await plane.hooks.events(webhook_id, state, limit=limit, cursor=cursor)
    following = found[-1].id if len(found) == limit else None
    return encoded(HookEventPage(items=[_event_shape(event) for event in found], next=following))


@router.post(
    "/{webhook_id}/test",
    summary="Test a webhook",
    **answers(
        TestedWebhook,
        TestedWebhook(id=_SHAPE.id, event_id=_EVENT.id, delivered=True, error=""),
        problems=(404, 422, 503),
    ),
)
async def test_webhook(
    webhook_id: WebhookId,
    plane: Plane,
    wait: Annotated[float, Query(ge=0, le=30, description="Seconds to wait for its answer.")] = 15,
) -> Response:
    """Post an event of type `amas.webhook.test` the way all others go, and say what came of the first try."""
    kept = await _kept(plane, webhook_id)
    now_ms = plane.hooks.now_ms()
    event = HookEvent(id=f"{now_ms}-{new_id()}", kind=TEST, subject=webhook_id, at_ms=now_ms, taken_ms=now_ms)
    tested = partial(TestedWebhook, id=webhook_id, event_id=event.id)
    if kept.state.disabled_ms:
        return encoded(tested(delivered=False, error="it is disabled: enable it first"))
    await plane.hooks.tell(webhook_id, event)
    give_up_at = monotonic_s() + wait
    while True:
        waits = await plane.hooks.event(webhook_id, event.id)
        if waits is None or waits.tries or monotonic_s() >= give_up_at:
            return encoded(tested(delivered=waits is None, error=waits.error if waits else ""))
        await asyncio.sleep(LOOK_EVERY_S)


@router.post(
    "/{webhook_id}/resend",
    summary="Send again what was given up",
    **answers(Resent, Resent(id=_SHAPE.id, count=3), problems=(404, 422, 503)),
)
async def resend(
    webhook_id: WebhookId,
    plane: Plane,
    event_id: Annotated[str, Query(max_length=200, description="This event only; by default the newest thousand.")] = "",
) -> Response:
    """Try events anew that were given up, under their old ids."""
    await _kept(plane, webhook_id)
    given_up = await plane.hooks.events(webhook_id, "given_up", limit=1000)
    wanted = [event for event in given_up if event_id in ("", event.id)]
    return encoded(Resent(id=webhook_id, count=await plane.hooks.again(webhook_id, wanted)))


@router.post("/{webhook_id}/enable", summary="Enable a webhook", **answers(WebhookShape, _SHAPE, problems=(404, 422, 503)))
async def enable_webhook(webhook_id: WebhookId, plane: Plane) -> Response:
    """Let a webhook that was disabled be told again, from where it stood; what waits for it is tried at once."""
    await _kept(plane, webhook_id)
    await plane.hooks.enable(webhook_id)
    return encoded(_shape(await _kept(plane, webhook_id)))


async def _kept(plane: ControlPlane, webhook_id: str) -> Kept:
    kept = await plane.hooks.get(webhook_id)
    if kept is None:
        raise WebhookUnknown(f"there is no webhook {webhook_id!r}")
    return kept


async def _check_url(url: str) -> None:
    """Raise Refusal for an address that posts wouldn't be let to; each post is checked anew."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port or 443
        look = asyncio.get_running_loop().run_in_executor(
            _RESOLVERS, partial(resolved, host, port, reach=public(WebhookSettings.read().reach()))
        )
        async with asyncio.timeout(RESOLVE_S):
            await look
    except PostFailed as error:
        raise _refused(str(error)) from error
    except (OSError, ValueError, TimeoutError) as error:  # UnicodeError, too: a name that can't be one
        raise _refused(f"{url!r} leads nowhere: its host can't be resolved") from error


def _refused(why: str) -> Refusal:
    return Refusal(Fault(detail=why, pointer="#/url"), code="webhook_url_refused")


def _secret(plane: ControlPlane, caller: Caller, hook: Hook) -> str:
    if hook.secret and caller.tenant:
        raise Refusal(
            Fault(detail="variables of the control plane aren't a tenant's to name: leave it out", pointer="#/secret"),
            status=403,
            code="secret_refused",
        )
    try:
        return secret_for(hook.id, hook.secret, fleet_secret=plane.messages.secret)
    except SettingInvalid as error:
        raise Refusal(Fault(detail=str(error), pointer="#/secret")) from error


def _shape(kept: Kept) -> WebhookShape:
    hook, state = kept.hook, kept.state
    shown: dict[str, Any] = {
        name: getattr(source, name)
        for source in (hook, state)
        for name in source.__struct_fields__
        if name in WebhookShape.__struct_fields__
    }
    return WebhookShape(**shown, state="disabled" if state.disabled_ms else "failing" if state.failing_ms else "well")


def _event_shape(event: HookEvent) -> HookEventShape:
    return HookEventShape(
        id=event.id,
        type=TYPE_PREFIX + event.kind,
        subject=event.subject,
        at_ms=event.at_ms,
        tries=event.tries,
        error=event.error,
        data=msgspec.json.decode(event.data),
    )
