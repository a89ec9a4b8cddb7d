"""The parts of a local fleet as child processes: how each is started, when it counts as ready, and what its end means.

`Child` is all that the supervisor knows of a part. `stages` puts the real ones in their order: the engine, with the local model
where the fleet has one; the control plane; the hosts. A later stage starts when every part of the earlier one is verified ready.
"""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from amas.engine.embedded import STOP_S, EmbeddedEngine
from amas.errors import AmasError, EngineError
from amas.model.fleet import FleetSpec
from amas.platforms.local.control import engine_settings, settings_at
from amas.platforms.local.home import FleetState, Home
from amas.platforms.local.program import Process, Program
from amas.platforms.local.ready import marked
from amas.platforms.local.request import StartRequest
from amas.platforms.local.standby import Relieved

CONTROL_PLANE_STOP_S = 10.0
"""Open requests and live event streams get this long after SIGTERM, before the records are closed."""
MODEL_STOP_S = 5.0
"""The local model keeps nothing; an answer that is under way is asked for again."""
DEPOSE_S = 3.0
"""A leader's lease: after that its word isn't needed any more."""
DRAIN_MARGIN_S = 5.0
"""Beyond a host's own drain, to give back what it couldn't finish."""


@dataclass(frozen=True)
class Child:
    """One part: three functions and a bound. `ready` raises when the process it is given ends first."""

    name: str
    spawn: Callable[[], Awaitable[Process]]
    ready: Callable[[Process], Awaitable[None]]
    failure: Callable[[int], AmasError]
    stop_s: float
    """Seconds from SIGTERM to SIGKILL."""
    start_s: float
    died: Callable[[Process], Coroutine[None, None, None]] | None = None
    """Told of each process that ended unasked, while the next one starts; it raises nothing."""
    beside: Callable[[], Coroutine[None, None, None]] | None = None
    """Runs, until it is cancelled, for as long as the part is kept."""


def stages(request: StartRequest, home: Home, state: FleetState) -> list[list[Child]]:
    """Return the parts that `request` wants, in the order in which they start; they stop in reverse."""
    control_plane = _control_plane(request, home, state)
    hosts = [host_child(request, home, state, host_name(number + 1)) for number in range(request.hosts)]
    engine = [] if request.engine_url else [_engine(request, home)]
    model = [_model(request, home, state)] if request.local_model else []
    return [stage for stage in ([*engine, *model], [control_plane], hosts) if stage]


def _engine(request: StartRequest, home: Home) -> Child:
    server = embedded_engine(request, home)

    async def ready(process: Process) -> None:
        await server.wait_ready(process)
        await load_functions(server.url, request.cell)

    return Child("engine", server.spawn, ready, server.failure, stop_s=STOP_S, start_s=request.engine_start_s)


async def load_functions(url: str, cell: str) -> None:
    """Put our functions into an engine that answers; EngineUnsupported when it is too old for them."""
    from amas.engine.connection import Engine  # the driver takes 100 ms to import; only the supervisor needs it

    async with Engine.of(settings_at(url, cell)) as engine:
        await engine.check(load=True)


async def declare_fleet(url: str, request: StartRequest) -> FleetSpec:
    """Let what the request's file declares be what is wanted, unless what was goes on; return what is wanted.

    StartFailed when that has no such stage as is asked for.
    """
    from amas.engine.connection import Engine
    from amas.engine.desired import DesiredState, Wish
    from amas.platforms.local.opening import last_stage

    assert request.fleet is not None
    async with Engine.of(settings_at(url, request.cell)) as engine:
        state = DesiredState(engine)
        found = await state.read()
        fleet = found.fleet if request.keeps and found.fleet is not None else request.fleet
        last_stage(fleet, request.phase)  # a wrong word is refused before anything is changed
        if found.fleet != fleet:
            await state.apply(fleet, by="amas up", why=f"started with {request.fleet_file}")
        first = [Wish("closed", None), Wish("stage", 0 if len(fleet.stages) > 1 else None)]
        await state.change(first, by="amas up", why="a start from the first stage")
        return fleet


def file_of(fleet: FleetSpec, shipped: str) -> str:
    """Return the path of the file that declares a fleet; `shipped`: of one that ships with amas, whose kin go by bare names."""
    if not fleet.file:  # it came over the API
        return shipped
    return fleet.file if "/" in fleet.file else str(Path(shipped).with_name(f"{fleet.file}.yaml"))


def embedded_engine(request: StartRequest, home: Home) -> EmbeddedEngine:
    """Return the engine of a fleet that has its own."""
    binary = Path(request.engine_binary) if request.engine_binary else None
    return EmbeddedEngine(home.engine, binary=binary, log=home.log("engine"), start_s=request.engine_start_s)


def _control_plane(request: StartRequest, home: Home, state: FleetState) -> Child:
    command = [*request.program, "serve", str(home.folder)]
    program = Relieved("control-plane", command, home, state)
    told = False

    async def spawn() -> Process:
        """Start it; before its first start the engine is told what this fleet is, and never again: others may change it."""
        nonlocal told
        if request.fleet is not None and not told:
            fleet = await declare_fleet(state.engine_url, request)
            told = True
            if request.keeps:
                state.name, state.fleet_file = fleet.name, file_of(fleet, request.fleet_file)
        return await program.spawn()

    async def died(process: Process) -> None:
        """Give up in its name what it led: its parent has seen its end, so nobody needs to wait for its lease to end."""
        from amas.controllers.leading import DUTY, LEASE_S
        from amas.engine.connection import Engine
        from amas.engine.hosts import Leadership

        with suppress(EngineError, TimeoutError):
            async with asyncio.timeout(DEPOSE_S), Engine.of(engine_settings(state)) as engine:
                await Leadership(engine, marked(program.name, process.pid, program.mark)).depose(DUTY, lease_s=LEASE_S)

    stop_s = CONTROL_PLANE_STOP_S + request.catch_up_s
    return Child(
        program.name,
        spawn,
        program.said_ready,
        program.failure,
        stop_s=stop_s,
        start_s=request.start_s,
        died=died,
        beside=program.keep_relief,
    )


def host_name(number: int) -> str:
    """Return what the local platform calls its hosts; `number` from 1."""
    return f"host-{number}"


def host_child(request: StartRequest, home: Home, state: FleetState, name: str) -> Child:
    """Return the part that is the host called `name`."""
    command = [*request.program, "host", str(home.folder), name]
    program = Program(name, command, home, state)
    return Child(
        name, program.spawn, program.said_ready, program.failure, stop_s=request.drain_s + DRAIN_MARGIN_S, start_s=request.start_s
    )


def _model(request: StartRequest, home: Home, state: FleetState) -> Child:
    program = Program("model", [*request.program, "model", str(state.model_port)], home)
    return Child(program.name, program.spawn, program.said_ready, program.failure, stop_s=MODEL_STOP_S, start_s=request.start_s)
