"""The control plane as a process: what `amas serve` runs until it is told to stop, the API and the controllers in one event loop.

It reads `fleet.json` in the data folder for all it needs. It leads before it serves: where a leader has died, work waits for the
duties, and the API's libraries are most of what there is to load (`api.py`).
"""

import asyncio
import random
from pathlib import Path

from amas.controllers.closing import close
from amas.controllers.declarer import declare
from amas.controllers.engine_away import EngineAway
from amas.controllers.figures import Figures
from amas.controllers.kept import Kept, Place
from amas.controllers.run import Controllers, make_duties
from amas.controllers.webhooks import Webhooks
from amas.engine.bounds import QueueBounds
from amas.engine.connection import Engine
from amas.engine.desired import DesiredState
from amas.engine.insist import insist
from amas.engine.limits import Limits
from amas.engine.queue import TaskQueue
from amas.engine.sealed import SealKeys
from amas.fleet.load import load_fleet, name_of_fleet
from amas.observe.logging import open_log, use_log
from amas.observe.tracing import tracing_of
from amas.platforms.local.control import engine_settings, fleet_state
from amas.platforms.local.home import Home
from amas.platforms.local.ready import my_name, on_stop
from amas.platforms.local.secret import message_settings
from amas.records.store import Records
from amas.sealing import read_seal
from amas.server.api import Api, Works
from amas.settings import (
    AlertSettings,
    ArtifactSettings,
    HomeSettings,
    OrchestrationLimits,
    RecordsSettings,
    WebhookSettings,
)


def run_control_plane(folder: Path | None) -> None:
    """Run the API and the controllers until SIGTERM."""
    import uvloop

    name = my_name("control-plane")
    with tracing_of("control_plane", name):
        uvloop.run(_control_plane(Home(folder or HomeSettings.read().folder()), name))


async def _control_plane(home: Home, name: str) -> None:
    state = fleet_state(home.folder)
    records_settings, stopping = RecordsSettings.read(), asyncio.Event()
    home.write_closing(None)
    on_stop(stopping.set)
    use_log(open_log(home.logs / "control-plane.jsonl", level=OrchestrationLimits.read().log_level))
    settings = engine_settings(state)
    async with (
        Engine.of(settings) as engine,
        await Records.open(records_settings.url_for(home.folder), cell=state.cell) as records,
    ):
        payloads = read_seal()
        await insist(lambda: SealKeys(engine).agree(payloads), draw=random.random)
        figures, retention_s = Figures(), settings.retention_s
        wanted = (await insist(DesiredState(engine).read, draw=random.random)).spec
        fleet = wanted or load_fleet(state.fleet_file)
        payload_bytes = ArtifactSettings.read().payload_bytes
        place = Place(home.folder, state.artifacts_url, payload_bytes, payloads, name_of_fleet(state.fleet_file))
        kept = Kept.at(place, engine, records, figures, fleet=fleet)
        queue, limits = TaskQueue(engine, retention_s=retention_s), Limits(engine, retention_s=retention_s)
        await insist(lambda: declare(fleet, queue, limits, QueueBounds(engine)), draw=random.random)
        duties = make_duties(engine, records, figures, fleet=fleet, backups=kept.backups, home=home.folder, values=kept.values)
        duties.append(Webhooks(engine, records, WebhookSettings.read(), secret=message_settings(home).secret))
        api = Api(home, Works(engine, records, figures, kept, retention_s, payload_bytes, payloads), fleet)
        async with asyncio.TaskGroup() as group:
            leading = group.create_task(Controllers(engine, duties, figures, holder=name).run(), name="controllers")
            serving = group.create_task(api.run(), name="api")
            sealing = group.create_task(SealKeys(engine).stay(payloads, name), name="sealing")
            watched = group.create_task(EngineAway(engine, lambda: api.fleet, AlertSettings.read()).run(), name="engine")
            await stopping.wait()
            serving.cancel()
            leading.cancel()
            sealing.cancel()
            watched.cancel()
        home.write_closing(await close(engine, records, limit_s=records_settings.catch_up_s))
