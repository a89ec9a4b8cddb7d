"""Requests as parts of traces: what a request submits goes on with its `traceparent`, and with tracing on, with its span."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from amas.clock import now_ns
from amas.model.trace import parse
from amas.observe.tracing import Span, process_tracing, within
from amas.server.fields import fields_of
from amas.server.timing import UNMATCHED

READS = frozenset({"GET", "HEAD", "OPTIONS"})
"""What changes nothing begins no trace: pages and probes ask all day."""
SERVER_ERROR = 500


class Traced:
    """Around every request that the application answers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(  # noqa: D102  ASGI's own
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        given, tracing = fields_of(scope).get("traceparent", ""), process_tracing()
        parent = parse(given) if given else None
        if tracing is None or (parent is None and scope["method"] in READS):
            with within(str(parent) if parent else ""):
                await self._app(scope, receive, send)
            return
        before, own = tracing.begin(parent, scope["method"])
        start_ns, status = now_ns(), SERVER_ERROR

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            # one that isn't kept needn't be carried, unless somebody else's
            with within(str(own) if own.sampled or parent else ""):
                await self._app(scope, receive, noted)
        finally:
            route = str(getattr(scope.get("route"), "path", UNMATCHED))
            about = {"http.request.method": scope["method"], "http.route": route, "http.response.status_code": status}
            error = f"answered {status}" if status >= SERVER_ERROR else ""
            name = f"{scope['method']} {route}"
            tracing.tell(Span(name, before, own.span_id, start_ns, now_ns(), about, kind="SERVER", error=error))
