"""The duties of a control plane that have to do with roll-outs, as a process: `python duties_process.py URL CELL FLEET-JSON`."""

import asyncio
import sys

import msgspec

from amas.controllers.rollouts import Rollouts
from amas.controllers.router import Router
from amas.engine.connection import Engine
from amas.engine.desired import DesiredState
from amas.engine.routes import Routes
from amas.model.fleet import FleetSpec
from amas.settings import EngineSettings

PAUSE_S = 0.02


async def main(url: str, cell: str, fleet: FleetSpec) -> None:
    async with Engine.of(EngineSettings(url=url, cell=cell)) as engine:
        await engine.check()
        desired, routes = DesiredState(engine), Routes(engine)
        duties = [Rollouts(desired, routes, fleet), Router(routes, fleet, desired)]
        print("working", flush=True)
        while True:
            for duty in duties:
                await duty.run_once()
            await asyncio.sleep(PAUSE_S)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], msgspec.json.decode(sys.argv[3], type=FleetSpec)))
