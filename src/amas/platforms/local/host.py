"""A host of a local fleet as a process: what `amas host` runs until it is told to stop.

It reads `fleet.json` in the data folder for all it needs, so the supervisor hands over nothing but the folder and a name.
"""

import asyncio
import random
from pathlib import Path

import msgspec

from amas.backup.key import forget_secret
from amas.core.gates import fleet_gate
from amas.core.placement import agent_numbers
from amas.fleet.load import load_fleet
from amas.model.fleet import FleetSpec
from amas.model.goal import ROOT_CAPABILITY
from amas.observe.logging import open_log
from amas.platforms.local.control import fleet_state
from amas.platforms.local.home import FleetState, Home
from amas.platforms.local.ready import on_stop, tell_ready
from amas.platforms.local.secret import forget_message_secret, message_settings
from amas.settings import ArtifactSettings, EngineSettings, HomeSettings, HostSettings, OrchestrationLimits


def run_host(folder: Path | None, host_id: str) -> None:
    """Run a host until SIGTERM, then drain it."""
    import uvloop

    uvloop.run(_host(Home(folder or HomeSettings.read().folder()), host_id))


def fleet_facts(spec: FleetSpec, home: Home) -> FleetSpec:
    """Return the fleet with what its coordinator must know of it in the pool's options: capabilities, limits, playbooks."""
    from amas.orchestration.coordinator import options_of

    facts = options_of(spec, deliverables=str(home.deliverables))
    pools = tuple(
        msgspec.structs.replace(pool, options={**facts, **pool.options}) if ROOT_CAPABILITY in pool.capabilities else pool
        for pool in spec.pools
    )
    return msgspec.structs.replace(spec, pools=pools)


def _share(spec: FleetSpec, state: FleetState, host_id: str) -> dict[str, list[int]]:
    index = int(host_id.rpartition("-")[2]) - 1
    return agent_numbers(spec.pools, index=index, hosts=max(state.hosts, index + 1))


async def _host(home: Home, host_id: str) -> None:
    from amas.agents.host import Host, HostHome
    from amas.artifacts.store import ArtifactStore
    from amas.orchestration.fleet_bus import fleet_bus

    messages = message_settings(home)
    forget_message_secret()  # before an agent's module is imported
    forget_secret()
    state = fleet_state(home.folder)
    spec = fleet_facts(load_fleet(state.fleet_file, agents=True), home)
    level = OrchestrationLimits.read().log_level
    host = Host(
        host_id,
        spec.pools,
        engine=msgspec.structs.replace(EngineSettings.read(), url=state.engine_url, cell=state.cell),
        settings=HostSettings.read(),
        home=HostHome(
            home.workspaces,
            ArtifactStore(state.artifacts_url),
            open_log(home.logs / f"{host_id}.jsonl", level=level, host_id=host_id),
            ArtifactSettings.read().payload_bytes,
            messages.secret,
        ),
        rng=random.Random(),  # noqa: S311  jitter, no secret
        numbers=_share(spec, state, host_id),
        gate=fleet_gate(spec.limits),
        bus=(lambda engine, agents: fleet_bus(engine, spec, messages, agents=agents)) if messages.secret else None,
    )
    on_stop(host.drain)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(host.run(), name=host_id)
        working = group.create_task(host.working.wait(), name="until it works")
        await asyncio.wait((running, working), return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            tell_ready()
        working.cancel()
