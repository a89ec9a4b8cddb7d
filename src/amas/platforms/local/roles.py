"""The processes of a local fleet, put together: what `amas host` and `amas serve` run until they are told to stop.

Each reads `fleet.json` in the data folder for what it needs, so the supervisor hands over nothing but the folder and a name.
"""

import asyncio
import os
import random
import signal
from collections.abc import Callable, Coroutine
from pathlib import Path

import msgspec

from amas.core.placement import agent_numbers
from amas.fleet.load import load_fleet
from amas.model.fleet import FleetSpec
from amas.model.goal import ROOT_CAPABILITY
from amas.observe.logging import open_log
from amas.platforms.local.control import fleet_state
from amas.platforms.local.home import FleetState, Home
from amas.platforms.local.ready import tell_ready
from amas.settings import EngineSettings, HomeSettings, HostSettings, OrchestrationLimits, RecordsSettings, ServerSettings


def run_host(folder: Path | None, host_id: str) -> None:
    """Run a host until SIGTERM, then drain it."""
    _run(lambda home: _host(home, host_id), folder)


def run_control_plane(folder: Path | None) -> None:
    """Run the API and the controllers until SIGTERM."""
    _run(_control_plane, folder)


def _run(role: Callable[[Home], Coroutine[object, object, None]], folder: Path | None) -> None:
    import uvloop

    uvloop.run(role(Home(folder or HomeSettings.read().folder())))


def _on_stop(stop: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop)


def _engine_settings(state: FleetState) -> EngineSettings:
    return msgspec.structs.replace(EngineSettings.read(), url=state.engine_url, cell=state.cell)


def fleet_facts(spec: FleetSpec, home: Home) -> FleetSpec:
    """Return the fleet with what its coordinator must know of it in the pool's options: capabilities, limits, playbooks."""
    facts = {
        "capabilities": sorted(spec.capabilities),
        "limits": msgspec.to_builtins(spec.limits),
        "playbooks": list(spec.playbooks),
        "deliverables": str(home.deliverables),
    }
    pools = tuple(
        msgspec.structs.replace(pool, options={**facts, **pool.options}) if ROOT_CAPABILITY in pool.capabilities else pool
        for pool in spec.pools
    )
    return msgspec.structs.replace(spec, pools=pools)


def _share(spec: FleetSpec, state: FleetState, host_id: str) -> dict[str, list[int]]:
    hosts = [part.name for part in state.parts if part.name.startswith("host-")] or [host_id]
    return agent_numbers(spec.pools, index=hosts.index(host_id), hosts=len(hosts))


async def _host(home: Home, host_id: str) -> None:
    from amas.agents.host import Host, HostHome
    from amas.artifacts.store import ArtifactStore

    state = fleet_state(home.folder)
    spec = fleet_facts(load_fleet(state.fleet_file, agents=True), home)
    level = OrchestrationLimits.read().log_level
    host = Host(
        host_id,
        spec.pools,
        engine=_engine_settings(state),
        settings=HostSettings.read(),
        home=HostHome(
            home.workspaces, ArtifactStore(home.artifacts), open_log(home.logs / f"{host_id}.jsonl", level=level, host_id=host_id)
        ),
        rng=random.Random(),  # noqa: S311  jitter, no secret
        numbers=_share(spec, state, host_id),
    )
    _on_stop(host.drain)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(host.run(), name=host_id)
        working = group.create_task(host.working.wait(), name="until it works")
        await asyncio.wait((running, working), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            tell_ready()
        working.cancel()


async def _control_plane(home: Home) -> None:
    from amas.controllers.figures import Figures
    from amas.controllers.run import Controllers, make_duties
    from amas.engine.connection import Engine
    from amas.records.store import Records
    from amas.server.plane import ControlPlane
    from amas.server.serve import serve

    state = fleet_state(home.folder)
    settings = msgspec.structs.replace(ServerSettings.read(), host=state.host, port=state.port, metrics_port=state.metrics_port)
    stopping = asyncio.Event()
    _on_stop(stopping.set)
    async with (
        Engine(state.engine_url, cell=state.cell) as engine,
        await Records.open(RecordsSettings.read().url_for(home.folder), cell=state.cell) as records,
    ):
        figures = Figures()
        retention_s = EngineSettings.read().retention_s
        plane = ControlPlane(
            engine, records, load_fleet(state.fleet_file), settings, home.folder, retention_s=retention_s, figures=figures
        )
        controllers = Controllers(engine, make_duties(engine, records, figures), figures, holder=f"control-plane-{os.getpid()}")
        async with asyncio.TaskGroup() as group:
            serving = group.create_task(serve(plane, ready=lambda _, __: tell_ready()), name="server")
            leading = group.create_task(controllers.run(), name="controllers")
            await stopping.wait()
            serving.cancel()
            leading.cancel()
