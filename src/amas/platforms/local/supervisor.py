"""The process that owns a local fleet's parts: starts them in order, keeps them running, stops them in reverse.

It holds the data folder's lock and writes `fleet.json`; nobody else starts or stops a part. Its start is told as `Event`s, which
`amas up` gets from a pipe. Its children die with it, however it dies, so a killed supervisor leaves nothing behind.
"""

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

from amas import clock
from amas.errors import HomeUnusable
from amas.observe import events
from amas.observe.logging import open_log, process_log, use_log
from amas.platforms.local.children import Child, embedded_engine, host_child, load_functions, stages
from amas.platforms.local.crew import Crew
from amas.platforms.local.home import FleetState, Home
from amas.platforms.local.keeper import Keeper
from amas.platforms.local.ports import claim_ports
from amas.platforms.local.request import Event, Report, StartRequest
from amas.platforms.local.secret import make_api_key, make_message_secret
from amas.settings import MessageSettings, OrchestrationLimits, ServerSettings

_STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


class Supervisor:
    """One fleet. `run` returns when it was told to stop and everything is gone."""

    def __init__(
        self, home: Home, state: FleetState, parts: Sequence[Sequence[Child]], report: Report, *, host: Callable[[str], Child]
    ) -> None:
        """`parts`: stage after stage, the hosts last. `host`: makes the part of a host that is wanted later, by its name."""
        self._home, self._state, self._report, self._host = home, state, report, host
        self._stages = [[Keeper(child, self._write) for child in stage] for stage in parts]
        self._stop = asyncio.Event()
        self._signals = 0
        state.parts = [keeper.state for keeper in self._keepers()]

    async def run(self) -> None:
        """Start the fleet, keep it running until `stop`, and take it down; the error of a failed start is raised after that."""
        loop = asyncio.get_running_loop()
        for number in _STOP_SIGNALS:
            loop.add_signal_handler(number, self.stop)
        try:
            self._home.write_state(self._state)
            if await self._start_all():
                await self._keep_all()
        finally:
            await self._stop_all()
            self._home.clear_state()
            for number in _STOP_SIGNALS:
                loop.remove_signal_handler(number)
        process_log().info("the fleet is down", event=events.FLEET_DOWN)

    def stop(self) -> None:
        """Ask for a clean stop; a second time, for a quick one."""
        self._signals += 1
        self._stop.set()
        if self._signals > 1:
            for keeper in self._keepers():
                keeper.kill()

    def _keepers(self) -> Iterator[Keeper]:
        return (keeper for stage in self._stages for keeper in stage)

    async def _keep_all(self) -> None:
        async with asyncio.TaskGroup() as group:
            for keeper in self._keepers():
                group.create_task(keeper.keep(), name=keeper.child.name)
            crew = Crew(
                self._state, self._stages[-1], lambda name: Keeper(self._host(name), self._write), group, self._show_parts
            )
            await crew.begin()
            following = group.create_task(crew.follow(), name="desired state")
            self._state.status = "running"
            self._write()
            process_log().info("the fleet is up", event=events.FLEET_UP, parts=len(self._state.parts), api=self._state.api_url)
            self._report(Event(what="up"))
            await self._stop.wait()
            following.cancel()
            crew.hurry()
            await self._stop_all()  # ends the group's tasks too

    async def _start_all(self) -> bool:
        """Start stage after stage; return whether all is up, which it isn't when `stop` came first."""
        for stage in self._stages:
            starts = asyncio.ensure_future(asyncio.gather(*(self._start(keeper) for keeper in stage)))
            stopped = asyncio.ensure_future(self._stop.wait())
            try:
                await asyncio.wait((starts, stopped), return_when=asyncio.FIRST_COMPLETED)
                if not starts.done():
                    return False
                starts.result()
            finally:
                for wait in (starts, stopped):
                    wait.cancel()
                await asyncio.gather(starts, stopped, return_exceptions=True)
        return True

    async def _start(self, keeper: Keeper) -> None:
        began = clock.monotonic_s()
        self._report(Event(what="starting", part=keeper.child.name))
        await keeper.start()
        self._report(Event(what="ready", part=keeper.child.name, seconds=clock.monotonic_s() - began))

    async def _stop_all(self) -> None:
        self._state.status = "stopping"
        for stage in reversed(self._stages):
            await asyncio.gather(*(keeper.stop(at_once=self._signals > 1) for keeper in stage))

    def _show_parts(self) -> None:
        self._state.parts = [keeper.state for keeper in self._keepers()]
        self._write()

    def _write(self) -> None:
        """Write down what runs; a full disk must not take the fleet down with it."""
        if self._state.status in ("running", "degraded"):
            well = all(part.status == "running" for part in self._state.parts)
            self._state.status = "running" if well else "degraded"
        try:
            self._home.write_state(self._state)
        except HomeUnusable as error:
            process_log().warning("what runs can't be written down", event=events.STATE_UNWRITTEN, reason=str(error))


async def supervise(request: StartRequest, report: Report) -> None:
    """Run the fleet that `request` wants in this process until it is told to stop; AmasError when it doesn't come up."""
    home = Home(Path(request.home))
    home.prepare()
    with home.hold():
        use_log(open_log(home.logs / "supervisor.jsonl", level=OrchestrationLimits.read().log_level))
        if not MessageSettings.read().secret:
            make_message_secret(home)
        make_api_key(home)
        server = ServerSettings.read()
        wanted = {"--port": request.port} | ({"--metrics-port": request.metrics_port} if server.metrics else {})
        ports = claim_ports(request.host, wanted)
        model_port = claim_ports("127.0.0.1", {"model": 0})["model"] if request.local_model else 0
        state = FleetState(
            name=request.fleet.name if request.fleet else Path(request.fleet_file).stem,
            fleet_file=request.fleet_file,
            engine_url=request.engine_url or embedded_engine(request, home).url,
            cell=request.cell,
            artifacts_url=request.artifacts_url or str(home.artifacts),
            host=request.host,
            tls_cert=str(server.tls_cert or ""),
            port=ports["--port"],
            metrics_port=ports.get("--metrics-port", 0),
            model_port=model_port,
            hosts=request.hosts,
            supervisor_pid=os.getpid(),
            started_ms=clock.now_ms(),
        )
        if request.engine_url:
            await load_functions(request.engine_url, request.cell)
        host = partial(host_child, request, home, state)
        supervisor = Supervisor(home, state, stages(request, home, state), report, host=host)
        async with _stopped_with_starter(supervisor) if request.bound else contextlib.nullcontext():
            await supervisor.run()


@contextlib.asynccontextmanager
async def _stopped_with_starter(supervisor: Supervisor) -> AsyncIterator[None]:
    """Stop the fleet when standard input ends: the process that started us holds its other end, and is gone then."""
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)

    async def watch() -> None:
        await reader.read()
        supervisor.stop()

    watching = asyncio.create_task(watch(), name="starter")
    try:
        yield
    finally:
        watching.cancel()
        transport.close()
