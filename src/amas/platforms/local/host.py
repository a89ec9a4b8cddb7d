"""A host of a local fleet as a process: what `amas host` runs until it is told to stop.

It reads `fleet.json` in the data folder for all it needs, so the supervisor hands over nothing but the folder and a name. It
starts without agents, counts as ready when the engine knows it, and from then on runs those that the desired state gives it.
"""

import asyncio
import os
import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from amas.agents.host import Host, HostHome
from amas.agents.seating import Seating
from amas.artifacts.store import ArtifactStore
from amas.backup.key import forget_secret
from amas.engine.connection import Engine
from amas.errors import FleetError
from amas.messages.fleet_bus import FollowingBus
from amas.model.fleet import FleetSpec
from amas.model.goal import ROOT_CAPABILITY
from amas.observe.logging import open_log
from amas.observe.tracing import tracing_of
from amas.platforms.local.control import engine_settings, fleet_state
from amas.platforms.local.cycles import look_seldom
from amas.platforms.local.home import Home
from amas.platforms.local.ready import on_stop, tell_ready
from amas.platforms.local.secret import forget_message_secret, message_settings
from amas.sealing import Seal, forget_keys, read_seal
from amas.settings import ArtifactSettings, HomeSettings, HostSettings, OrchestrationLimits


def run_host(folder: Path | None, host_id: str, labels: Sequence[str] = ()) -> None:
    """Run a host until SIGTERM, then drain it; `labels` are `NAME=VALUE`, and FleetError says which isn't."""
    import uvloop

    said = labels_of(labels)
    with tracing_of("host", host_id):
        uvloop.run(_host(Home(folder or HomeSettings.read().folder()), host_id, said))


def labels_of(said: Sequence[str]) -> dict[str, str]:
    """Return labels by name from `NAME=VALUE`; FleetError for what is none."""
    pairs = [text.partition("=") for text in said]
    if wrong := next((text for text, (name, _, value) in zip(said, pairs, strict=True) if not (name and value)), None):
        raise FleetError(f"{wrong!r} is no label: write NAME=VALUE, such as gpu=true")
    return {name: value for name, _, value in pairs}


def fleet_facts(spec: FleetSpec, home: Home) -> FleetSpec:
    """Return the fleet with what its coordinator must know of it in the pool's options: capabilities, limits, playbooks."""
    from amas.orchestration.planning import options_of

    facts = options_of(spec, deliverables=str(home.deliverables))
    pools = tuple(
        msgspec.structs.replace(pool, options={**facts, **pool.options}) if ROOT_CAPABILITY in pool.capabilities else pool
        for pool in spec.pools
    )
    return msgspec.structs.replace(spec, pools=pools)


def host_home(home: Home, host_id: str, *, artifacts_url: str, payloads: Seal | None) -> HostHome:
    """Return where a host's agents work and write, with a log of its own; its deliveries aren't signed."""
    return HostHome(
        home.workspaces,
        ArtifactStore(artifacts_url, seal=payloads.artifacts if payloads else None),
        open_log(home.logs / f"{host_id}.jsonl", level=OrchestrationLimits.read().log_level, host_id=host_id),
        ArtifactSettings.read().payload_bytes,
        payloads=payloads,
    )


async def _host(home: Home, host_id: str, labels: Mapping[str, str]) -> None:
    messages = message_settings(home)
    forget_message_secret()  # before an agent's module is imported
    forget_secret()
    payloads = read_seal()
    forget_keys()
    state = fleet_state(home.folder)
    sys.path.append(str(Path(state.fleet_file).parent))  # agents' modules may stand beside the fleet file
    settings = engine_settings(state)
    bus = FollowingBus(FleetSpec(name=state.cell, pools=()), messages, payloads)

    def prepare(fleet: FleetSpec) -> FleetSpec:
        if fleet.folder and fleet.folder not in sys.path:  # a fleet that was applied may come from another folder
            sys.path.append(fleet.folder)
            os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (os.environ.get("PYTHONPATH", ""), fleet.folder)))
        bus.follow(fleet)
        return fleet_facts(fleet, home)

    host = Host(
        host_id,
        (),
        engine=settings,
        settings=HostSettings.read(),
        home=host_home(home, host_id, artifacts_url=state.artifacts_url, payloads=payloads)._replace(secret=messages.secret),
        rng=random.Random(),  # noqa: S311  jitter, no secret
        bus=bus if messages.secret else None,
        labels=labels,
    )
    on_stop(host.drain)
    async with Engine.of(settings) as engine, asyncio.TaskGroup() as group:
        running = group.create_task(host.run(), name=host_id)
        working = group.create_task(host.working.wait(), name="until it works")
        await asyncio.wait((running, working), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            tell_ready()
            look_seldom()
            seating = Seating(engine, host, prepare=prepare, draw=random.random)
            following = group.create_task(seating.run(), name="seating")
            await asyncio.wait((running,))
            following.cancel()
        working.cancel()
