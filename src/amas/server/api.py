"""The API of a control plane's process. It begins when its libraries have loaded, in a thread, while the process leads already.

So nothing here may import what serves at its top: `amas.server.plane`, FastAPI and all routes come with `_loaded`.
"""

import asyncio
import random
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from amas.controllers.figures import Figures
from amas.controllers.kept import Kept
from amas.engine.connection import Engine
from amas.engine.insist import insist
from amas.imports import uncollected
from amas.model.fleet import FleetSpec
from amas.platforms.local.control import fleet_state
from amas.platforms.local.cycles import look_seldom
from amas.platforms.local.home import Home
from amas.platforms.local.ready import tell_ready
from amas.platforms.local.secret import api_key, message_settings
from amas.records.store import Records
from amas.sealing import Seal
from amas.settings import OidcSettings, RemoteSettings, ServerSettings

if TYPE_CHECKING:
    from amas.server.plane import ControlPlane


class Works(NamedTuple):
    """What the API shares with the duties of its process."""

    engine: Engine
    records: Records
    figures: Figures
    kept: Kept
    retention_s: float
    payload_bytes: int
    seal: Seal | None


class Api:
    """The API of one process."""

    def __init__(self, home: Home, works: Works, fleet: FleetSpec) -> None:
        """`fleet`: what holds until one is declared in the engine."""
        self._home, self._works, self._declared = home, works, fleet
        self._plane: ControlPlane | None = None

    @property
    def fleet(self) -> FleetSpec:
        """The fleet as it is to run now."""
        return self._plane.fleet if self._plane else self._declared

    async def run(self) -> None:
        """Load, say that this process is ready as soon as it serves, and serve until cancelled."""
        await asyncio.to_thread(_load)
        from amas.server.following import Following
        from amas.server.serve import serve

        self._plane = plane = self._make()
        following = Following(plane)
        await insist(following.look, draw=random.random)
        async with asyncio.TaskGroup() as group:
            group.create_task(serve(plane, ready=lambda _, __: _ready()), name="server")
            group.create_task(following.run(), name="desired state")

    def _make(self) -> "ControlPlane":
        from amas.server.plane import ControlPlane
        from amas.server.shared import FRESH_S

        state, works, server = fleet_state(self._home.folder), self._works, ServerSettings.read()
        return ControlPlane(
            works.engine,
            works.records,
            self._declared,
            msgspec.structs.replace(server, host=state.host, port=state.port, metrics_port=state.metrics_port),
            self._home.folder,
            retention_s=works.retention_s,
            artifacts_url=state.artifacts_url,
            payload_bytes=works.payload_bytes,
            figures=works.figures,
            messages=message_settings(self._home),
            remote_settings=RemoteSettings.read(),
            home_key=api_key(self._home),
            oidc=OidcSettings.read(),
            seal=works.seal,
            kept=works.kept,
            reads_fresh_s=FRESH_S if server.cache else 0.0,
        )


def _load() -> None:
    """Import what serves; it takes most of a control plane's start."""
    with uncollected():
        import amas.server.serve  # noqa: F401  with all that it needs


def _ready() -> None:
    tell_ready()
    look_seldom()
