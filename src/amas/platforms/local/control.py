"""Start, look at and stop a local fleet from outside it: what the commands `up`, `run`, `status` and `down` call.

`start_fleet` runs a supervisor in the background and returns once the fleet is up; `run_fleet` is one, in this process.
"""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from amas.engine.child import last_lines, log_size
from amas.errors import AmasError, FleetNotRunning, PlatformError, StartFailed
from amas.platforms.local.home import FleetState, Home
from amas.platforms.local.request import Event, Report, StartRequest
from amas.settings import EngineSettings, HomeSettings

START_MARGIN_S = 30.0
"""Beyond what the parts may take: the supervisor's own start, and stopping again what came up before something didn't."""
STOP_MARGIN_S = 45.0
"""Beyond the hosts' drain: the control plane's, the engine's and the supervisor's own end."""

ENDED_LOOK_S = 0.02
"""Seconds between looks at whether the supervisor, which has stopped its fleet, has ended."""
_KILLED_S = 10.0  # a killed process that is still there after this hangs in the kernel


class RunningFleet:
    """A fleet that this process started in the background; keep it when the fleet is `bound`, for it ends with it."""

    def __init__(self, home: Home, process: "subprocess.Popen[bytes]") -> None:
        self.home, self._process = home, process

    @property
    def state(self) -> FleetState:
        """What runs now; FleetNotRunning when it ended."""
        return fleet_state(self.home.folder)

    async def stop(self, *, timeout_s: float = 120.0) -> None:
        """Stop the fleet and return once everything is gone, also when it ended by itself."""
        with contextlib.suppress(FleetNotRunning):
            await stop_fleet(self.home.folder, timeout_s=timeout_s)
        while self._process.poll() is None:  # noqa: ASYNC110  no thread waits for it: a program that ends can start none any more
            await asyncio.sleep(ENDED_LOOK_S)
        if self._process.stdin:
            self._process.stdin.close()


async def start_fleet(request: StartRequest, *, on_event: Report | None = None) -> RunningFleet:
    """Start a fleet in the background and return once it is up; the error that kept it from that is raised here."""
    home = Home(Path(request.home))
    home.prepare()
    log = home.log("supervisor")
    since = log_size(log)
    read_end, write_end = os.pipe()
    argv = [sys.executable, "-P", "-m", "amas.platforms.local", str(write_end)]
    try:
        with home.usable(), log.open("ab") as output:
            process = subprocess.Popen(  # noqa: ASYNC220  a fork, and this process waits for its report anyway
                argv,
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=(write_end,),
                start_new_session=True,
            )
    finally:
        os.close(write_end)
    _hand_over(process, request)
    try:
        await _until_up(read_end, request, on_event or (lambda _: None), lambda: last_lines(log, count=3, since=since))
    except BaseException:
        await _ended(process, request)
        raise
    return RunningFleet(home, process)


def _hand_over(process: "subprocess.Popen[bytes]", request: StartRequest) -> None:
    """Write the request to the supervisor's standard input: an engine's URL may hold a password, and everybody sees arguments."""
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # it ended already, and its log says why
        process.stdin.write(msgspec.json.encode(request) + b"\n")
        process.stdin.flush()
        if not request.bound:
            process.stdin.close()


async def run_fleet(request: StartRequest, *, on_event: Report | None = None) -> None:
    """Run a fleet in this process until SIGINT or SIGTERM; the error that keeps it from coming up is raised here."""
    from amas.platforms.local.supervisor import supervise

    await supervise(request, on_event or (lambda _: None))


def fleet_state(home: Path) -> FleetState:
    """Return what runs in this data folder; FleetNotRunning when nothing does."""
    folder = Home(home)
    if folder.supervisor_pid() is None or not folder.state_file.exists():
        raise FleetNotRunning(f"no fleet runs in {folder.folder}: start one with `amas up`")
    return folder.read_state()


def engine_settings(state: FleetState) -> EngineSettings:
    """Return the environment's settings for the engine, of which a running fleet says where it is."""
    return settings_at(state.engine_url, state.cell)


def settings_at(engine_url: str, cell: str) -> EngineSettings:
    """Return the environment's settings for an engine: when a write counts as done there, and how long an answer may take."""
    return msgspec.structs.replace(EngineSettings.read(), url=engine_url, cell=cell)


def running_fleet(home: Path | None = None) -> FleetState:
    """Return what runs in `home`, by default AMAS_HOME; FleetNotRunning when nothing does."""
    return fleet_state(home or HomeSettings.read().folder())


async def stop_fleet(home: Path, *, timeout_s: float = 120.0) -> bool:
    """Stop the fleet in this data folder and return whether it ended cleanly; FleetNotRunning when none runs.

    After `timeout_s` seconds it is killed, which loses nothing: what the hosts ran is given back at the next start.
    """
    folder = Home(home)
    pid = folder.supervisor_pid()
    if pid is None:
        raise FleetNotRunning(f"no fleet runs in {folder.folder}")
    try:
        process = os.pidfd_open(pid)  # stays this process, whoever gets its number next
    except ProcessLookupError:
        return True
    try:
        for number, patience_s in ((signal.SIGTERM, timeout_s), (signal.SIGKILL, _KILLED_S)):
            with contextlib.suppress(ProcessLookupError):
                signal.pidfd_send_signal(process, number)
            if await _gone(process, patience_s):
                return number == signal.SIGTERM
    finally:
        os.close(process)
    raise PlatformError(f"the supervisor (process {pid}) can't be ended: it hangs in the kernel")


async def _gone(process: int, patience_s: float) -> bool:
    """Return whether a process, by its descriptor, ended within `patience_s` seconds."""
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    loop.add_reader(process, ended.set)
    try:
        await asyncio.wait_for(ended.wait(), patience_s)
    except TimeoutError:
        return False
    finally:
        loop.remove_reader(process)
    return True


async def _until_up(read_end: int, request: StartRequest, on_event: Report, log_lines: Callable[[], list[str]]) -> None:
    """Hand on the report's events; raise when it says that the fleet failed, or ends without saying anything."""
    reader = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(reader)
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(read_end, "rb"))
    limit_s = request.engine_start_s + 2 * request.start_s + START_MARGIN_S
    try:
        async with asyncio.timeout(limit_s):
            async for line in reader:
                event = msgspec.json.decode(line, type=Event)
                on_event(event)
                if event.what == "failed":
                    raise error_of(event.code, event.message)
                if event.what == "up":
                    return
    except TimeoutError:
        raise StartFailed(f"the fleet wasn't up after {limit_s:g} s") from None
    finally:
        transport.close()
    raise StartFailed(f"the supervisor ended: {' / '.join(log_lines()) or 'its log is empty'}")


async def _ended(process: "subprocess.Popen[bytes]", request: StartRequest) -> None:
    """Return once a supervisor whose fleet we don't want any more has taken it down."""
    process.terminate()
    try:
        await asyncio.to_thread(process.wait, request.drain_s + request.catch_up_s + STOP_MARGIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        await asyncio.to_thread(process.wait)
    if process.stdin:
        process.stdin.close()


def error_of(code: str, message: str) -> AmasError:
    """Return the error that another process raised, told by its code."""
    open_classes: list[type[AmasError]] = [AmasError]
    while open_classes:
        each = open_classes.pop()
        if each.code == code and "__init__" not in vars(each):
            return each(message)
        open_classes += each.__subclasses__()
    return StartFailed(message)
