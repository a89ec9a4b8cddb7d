"""The fleet that runs, as it is wanted now: its file at the start is not what counts after an `amas apply`."""

from contextlib import suppress

from amas.engine.connection import Engine
from amas.engine.desired import DesiredState
from amas.errors import EngineError
from amas.fleet.load import load_fleet
from amas.model.fleet import FleetSpec
from amas.platforms.local.control import engine_settings
from amas.platforms.local.home import FleetState


async def applied_fleet(state: FleetState) -> FleetSpec:
    """Return what was applied last; what the file of the start says where the engine doesn't answer, or was told of no fleet."""
    with suppress(EngineError):
        async with Engine.of(engine_settings(state)) as engine:
            if (wanted := (await DesiredState(engine).read()).fleet) is not None:
                return wanted
    return load_fleet(state.fleet_file)
