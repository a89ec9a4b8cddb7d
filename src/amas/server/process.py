"""The control plane as a process: what `amas serve` runs until it is told to stop, the API and the controllers in one event loop.

It reads `fleet.json` in the data folder for all it needs.
"""

import asyncio
import os
import random
from pathlib import Path

import msgspec

from amas.agents.insist import insist
from amas.controllers.closing import close
from amas.controllers.declarer import declare
from amas.controllers.engine_away import EngineAway
from amas.controllers.figures import Figures
from amas.controllers.run import Controllers, make_duties
from amas.controllers.webhooks import Webhooks
from amas.engine.connection import Engine
from amas.engine.desired import DesiredState
from amas.engine.sealed import SealKeys
from amas.fleet.load import load_fleet, name_of_fleet
from amas.observe.logging import open_log, use_log
from amas.observe.tracing import tracing_of
from amas.platforms.local.control import fleet_state
from amas.platforms.local.cycles import look_seldom
from amas.platforms.local.home import Home
from amas.platforms.local.ready import on_stop, tell_ready
from amas.platforms.local.secret import api_key, message_settings
from amas.records.store import Records
from amas.sealing import read_seal
from amas.server.following import Following
from amas.server.plane import ControlPlane
from amas.server.serve import serve
from amas.settings import (
    AlertSettings,
    ArtifactSettings,
    EngineSettings,
    HomeSettings,
    OidcSettings,
    OrchestrationLimits,
    RecordsSettings,
    RemoteSettings,
    ServerSettings,
    WebhookSettings,
)


def run_control_plane(folder: Path | None) -> None:
    """Run the API and the controllers until SIGTERM."""
    import uvloop

    with tracing_of("control_plane", f"control-plane-{os.getpid()}"):
        uvloop.run(_control_plane(Home(folder or HomeSettings.read().folder())))


async def _control_plane(home: Home) -> None:
    state = fleet_state(home.folder)
    settings = msgspec.structs.replace(ServerSettings.read(), host=state.host, port=state.port, metrics_port=state.metrics_port)
    records_settings, stopping = RecordsSettings.read(), asyncio.Event()
    home.write_closing(None)
    on_stop(stopping.set)
    use_log(open_log(home.logs / "control-plane.jsonl", level=OrchestrationLimits.read().log_level))
    engine_settings = msgspec.structs.replace(EngineSettings.read(), url=state.engine_url, cell=state.cell)
    async with (
        Engine.of(engine_settings) as engine,
        await Records.open(records_settings.url_for(home.folder), cell=state.cell) as records,
    ):
        payloads = read_seal()
        await insist(lambda: SealKeys(engine).agree(payloads), draw=random.random)
        figures = Figures()
        wanted = (await insist(DesiredState(engine).read, draw=random.random)).spec
        fleet, retention_s = wanted or load_fleet(state.fleet_file), engine_settings.retention_s
        plane = ControlPlane(
            engine,
            records,
            fleet,
            settings,
            home.folder,
            retention_s=retention_s,
            artifacts_url=state.artifacts_url,
            payload_bytes=ArtifactSettings.read().payload_bytes,
            figures=figures,
            messages=message_settings(home),
            remote_settings=RemoteSettings.read(),
            fleet_file=name_of_fleet(state.fleet_file),
            home_key=api_key(home),
            oidc=OidcSettings.read(),
            seal=payloads,
        )
        following = Following(plane)
        await insist(following.look, draw=random.random)
        await insist(lambda: declare(plane.fleet, plane.queue, plane.limits, plane.bounds), draw=random.random)
        duties = make_duties(
            engine, records, figures, fleet=plane.fleet, backups=plane.backups, home=home.folder, values=plane.values
        )
        duties.append(Webhooks(engine, records, WebhookSettings.read(), secret=plane.messages.secret))
        controllers = Controllers(engine, duties, figures, holder=f"control-plane-{os.getpid()}")
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(serve(plane, ready=lambda _, __: tell_ready()), name="server")
            leading = group.create_task(controllers.run(), name="controllers")
            followed = group.create_task(following.run(), name="desired state")
            watched = group.create_task(EngineAway(engine, lambda: plane.fleet, AlertSettings.read()).run(), name="engine")
            look_seldom()
            await stopping.wait()
            serving.cancel()
            leading.cancel()
            followed.cancel()
            watched.cancel()
        home.write_closing(await close(engine, records, limit_s=records_settings.catch_up_s))
