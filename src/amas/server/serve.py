"""Running the control plane's two servers in one event loop: the API, and a small one for Prometheus where that is wanted.

Sockets are bound here, before anything starts, so that a taken port is one clear sentence. `serve` ends
when it is cancelled; open requests then get a second to end.
"""

import asyncio
import contextlib
import errno
import logging
import socket
import ssl
from collections.abc import Callable, Iterator
from functools import partial

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import ASGIApp

from amas.errors import PortInUse, StartFailed
from amas.observe.metrics import PAGE_TYPE
from amas.server.app import create_app
from amas.server.figures import durations, figures, snapshot
from amas.server.guard import Guard
from amas.server.live import end
from amas.server.patience import ImpatientProtocol, open_many_files
from amas.server.plane import ControlPlane
from amas.server.tls import Renewal, tls_of

STOP_S = 1
"""Seconds that open requests get at the end; streams never end by themselves."""
BACKLOG = 1024


class Server(uvicorn.Server):
    """One server that leaves signals to whoever runs the process."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Take no signal."""
        yield


def metrics_app(plane: ControlPlane) -> ASGIApp:
    """Return the application behind the metrics port: `/metrics`, and nothing else."""

    async def metrics(_: Request) -> Response:
        found = await snapshot(plane)  # first: it adds up what hosts say of messages
        queues = frozenset(queue for pool in plane.fleet.pools for queue in pool.queues)
        histograms = [*durations(plane.figures), plane.deliveries.shown()]
        return Response(plane.metrics.page(found, histograms, queues=queues), media_type=PAGE_TYPE)

    page = Starlette(routes=[Route("/metrics", metrics)])
    return Guard(page, plane.settings, identity=plane.identity, audit=plane.audit)


def listen(host: str, port: int, *, variable: str) -> socket.socket:
    """Return a socket that listens; PortInUse when another program does, StartFailed when nothing can."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        # With its protocol: asyncio turns Nagle's algorithm off for what says that it is TCP, and answers wait 40 ms otherwise.
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise StartFailed(f"AMAS_HOST is {host!r}, which isn't an address of this machine: {error.strerror}") from error
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise PortInUse(f"port {port} is taken by another program: stop that, or choose another with {variable}") from error
        raise StartFailed(f"nothing can listen on {host} port {port}: {error.strerror}: set AMAS_HOST or {variable}") from error
    return listener


def _server(app: ASGIApp, tls: ssl.SSLContext | None) -> Server:
    logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # no line for each odd request: anybody could fill our disk
    config = uvicorn.Config(
        app,
        http=ImpatientProtocol,
        ws="none",  # live events are plain streams
        ssl_context_factory=(lambda _, __: tls) if tls else None,
        lifespan="off",
        log_config=None,
        access_log=False,  # one line a request says nothing that the metrics don't
        server_header=False,
        timeout_graceful_shutdown=STOP_S,
        timeout_keep_alive=75,
    )
    return Server(config)


async def serve(plane: ControlPlane, *, ready: Callable[[int, int], None] | None = None) -> None:
    """Serve until cancelled; `ready` is called once with the API's and the metrics' port, both of them listening.

    Where no metrics are wanted (ORCHESTRATION_ENABLE_METRICS), nothing listens for them and their port is 0.
    """
    settings = plane.settings
    tls = tls_of(settings)
    open_many_files()
    with contextlib.ExitStack() as sockets:
        api = sockets.enter_context(listen(settings.host, settings.port, variable="AMAS_PORT"))
        metrics_port = 0
        if settings.metrics:
            scraped = sockets.enter_context(listen(settings.host, settings.metrics_port, variable="AMAS_METRICS_PORT"))
            metrics_port = scraped.getsockname()[1]
        app = await asyncio.to_thread(create_app, plane)  # half a second, in which this process may be leading
        servers = [(_server(app, tls), api)]
        if settings.metrics:
            servers.append((_server(metrics_app(plane), tls), scraped))
        async with asyncio.TaskGroup() as group:
            following = group.create_task(plane.live.run(), name="live events")
            hearing = group.create_task(plane.remote.run(), name="remote sessions")
            signing = group.create_task(plane.tokens.run(), name="tokens")
            feeding = group.create_task(plane.feed.run(partial(figures, plane)), name="live figures")
            renewing = group.create_task(Renewal(settings, tls).run(), name="certificate") if tls else None
            running = [group.create_task(server.serve([each]), name="server") for server, each in servers]
            try:
                if ready is not None:
                    ready(api.getsockname()[1], metrics_port)
                await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for server, _ in servers:
                    server.should_exit = True
                plane.live.close()
                plane.feed.close()
                await asyncio.wait(running, timeout=STOP_S + 2)
                await end(following)
                await end(hearing)
                await end(signing)
                await end(feeding)
                if renewing:
                    await end(renewing)
