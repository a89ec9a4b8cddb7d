"""How long requests take, by route template and status; streams and long polls are waits, not work, and are left out."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from amas.clock import monotonic_s
from amas.observe.metrics import Metrics

UNMATCHED = "unmatched"
"""The label of requests that no route took, whatever their path."""
WAITS = ("/events", "/result", "/stream")


class Timed:
    """Observes every request that the application answers."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app, self._metrics = app, metrics

    async def __call__(  # noqa: D102  ASGI's own
        self, scope: Scope, receive: Receive, send: Send
    ) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, status = monotonic_s(), 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, noted)
        finally:
            route = str(getattr(scope.get("route"), "path", UNMATCHED))
            if not route.endswith(WAITS):
                labels = (scope["method"] if route != UNMATCHED else "any", route, str(status))
                self._metrics.http.labels(*labels).observe(monotonic_s() - began)
