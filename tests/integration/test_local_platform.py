"""The local platform with a real engine and real child programs: order, readiness, restarts, stops, and what is left behind."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec
import pytest

from amas.controllers.leading import DUTY
from amas.engine.connection import Engine
from amas.engine.hosts import Leadership
from amas.errors import AmasError, EngineStartFailed, FleetAlreadyRunning, FleetNotRunning, HomeUnusable, PortInUse, StartFailed
from amas.platforms.local import control
from amas.platforms.local.home import FleetState, Home, PartState
from amas.platforms.local.ready import MARK, marked
from amas.platforms.local.request import StartRequest

TINY = (sys.executable, str(Path(__file__).with_name("tiny_amas.py")))


def wanted(home: Path, **changes: object) -> StartRequest:
    request = {
        "fleet_file": str(home / "fleet.yaml"),
        "hosts": 2,
        "port": 0,
        "metrics_port": 0,
        "start_s": 20.0,
        "drain_s": 5.0,
        "program": TINY,
    }
    return StartRequest(home=str(home), **(request | changes))


@asynccontextmanager
async def fleet(home: Path, **changes: object) -> AsyncIterator[control.RunningFleet]:
    running = await control.start_fleet(wanted(home, **changes))
    try:
        yield running
    finally:
        await running.stop()


async def until(condition: Callable[[], bool]) -> None:
    """Return once another process made `condition` true."""
    async with asyncio.timeout(60):
        while not condition():
            await asyncio.sleep(0.02)


def part(state: FleetState, name: str) -> PartState:
    return next(part for part in state.parts if part.name == name)


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def life(home: Path) -> list[list[str]]:
    return [line.split() for line in (home / "life.txt").read_text().splitlines()]


async def test_parts_start_in_order_and_stop_in_reverse(tmp_path: Path) -> None:
    events = []
    running = await control.start_fleet(wanted(tmp_path), on_event=events.append)
    state = control.fleet_state(tmp_path)
    assert [event.part for event in events if event.what == "ready"][:2] == ["engine", "control-plane"]
    assert {event.part for event in events if event.what == "ready"} == {"engine", "control-plane", "host-1", "host-2"}
    assert events[-1].what == "up"
    assert state.status == "running"
    assert [part.status for part in state.parts] == ["running"] * 4
    assert state.supervisor_pid == Home(tmp_path).supervisor_pid()
    assert tmp_path.stat().st_mode & 0o777 == 0o700
    async with Engine(state.engine_url, cell=state.cell) as engine:
        await engine.check()
    assert control.running_fleet(tmp_path).engine_url == state.engine_url
    await running.stop()
    stopped = [name for name, what, _ in life(tmp_path) if what == "stopped"]
    assert sorted(stopped[:2]) == ["host-1", "host-2"]
    assert stopped[2:] == ["control-plane"]
    assert not any(alive(part.pid) for part in state.parts)
    with pytest.raises(FleetNotRunning, match="start one with `amas up`"):
        control.fleet_state(tmp_path)
    with pytest.raises(FleetNotRunning):
        await control.stop_fleet(tmp_path)


@pytest.mark.requirement("A5")
async def test_what_a_killed_control_plane_led_is_free_before_its_lease_ends(tmp_path: Path) -> None:
    async with fleet(tmp_path) as running, Engine(running.state.engine_url, cell=running.state.cell) as engine:
        pid = part(running.state, "control-plane").pid
        told = dict(each.split("=", 1) for each in Path(f"/proc/{pid}/environ").read_text().split("\0") if "=" in each)
        dead, next_one = (Leadership(engine, name) for name in (marked("control-plane", pid, told[MARK]), "next"))
        assert await dead.acquire(DUTY, lease_s=3600) == 1
        assert await next_one.acquire(DUTY, lease_s=3600) == 0
        os.kill(pid, signal.SIGKILL)
        async with asyncio.timeout(60):
            while not await next_one.acquire(DUTY, lease_s=3600):
                await asyncio.sleep(0.02)


@pytest.mark.requirement("A5")
@pytest.mark.parametrize("name", ["engine", "control-plane", "host-2"])
async def test_a_killed_part_is_started_again(tmp_path: Path, name: str) -> None:
    async with fleet(tmp_path) as running:
        before = part(running.state, name).pid
        os.kill(before, signal.SIGKILL)
        await until(lambda: part(running.state, name).restarts == 1 and running.state.status == "running")
        after = part(running.state, name)
        assert after.pid not in (0, before)
        assert "signal 9" in after.reason
        async with Engine(running.state.engine_url) as engine:
            await engine.check()


async def test_a_part_that_keeps_failing_is_reported_and_tried_again(tmp_path: Path) -> None:
    async with fleet(tmp_path) as running:
        (tmp_path / "host-1.mode").write_text("crash")
        os.kill(part(running.state, "host-1").pid, signal.SIGKILL)
        await until(lambda: part(running.state, "host-1").restarts >= 2)
        assert running.state.status == "degraded"
        assert part(running.state, "host-1").reason == "host-1 ended with exit code 1: it won't"
        (tmp_path / "host-1.mode").unlink()
        await until(lambda: running.state.status == "running")


async def test_a_killed_supervisor_leaves_nothing_behind_and_the_next_start_goes_on(tmp_path: Path) -> None:
    running = await control.start_fleet(wanted(tmp_path))
    state = running.state
    async with Engine(state.engine_url) as engine:
        await engine.client.set("kept", "yes")
    os.kill(state.supervisor_pid, signal.SIGKILL)
    await running.stop()
    await until(lambda: not any(alive(part.pid) for part in state.parts))
    with pytest.raises(FleetNotRunning):
        control.fleet_state(tmp_path)
    async with fleet(tmp_path) as again, Engine(again.state.engine_url) as engine:
        assert await engine.client.get("kept") == b"yes"


async def test_one_folder_takes_one_fleet(tmp_path: Path) -> None:
    async with fleet(tmp_path) as running:
        with pytest.raises(
            FleetAlreadyRunning, match=rf"a fleet runs in {tmp_path} already \(process {running.state.supervisor_pid}\)"
        ):
            await control.start_fleet(wanted(tmp_path))
        assert running.state.status == "running"


async def test_a_taken_port_is_named_with_its_holder_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(
            PortInUse, match=rf"port {port} is taken by \S.* \(process {os.getpid()}\): stop that, or choose another with --port"
        ):
            await control.start_fleet(wanted(tmp_path, port=port))
        with pytest.raises(PortInUse, match="with --metrics-port"):
            await control.start_fleet(wanted(tmp_path, metrics_port=port))
    assert not (tmp_path / "life.txt").exists()


async def test_a_host_that_crashes_at_the_start_fails_it_and_nothing_stays(tmp_path: Path) -> None:
    (tmp_path / "host-2.mode").write_text("crash")
    with pytest.raises(StartFailed, match="host-2 ended with exit code 1: it won't"):
        await control.start_fleet(wanted(tmp_path))
    assert not any(alive(int(pid)) for _, _, pid in life(tmp_path))
    assert Home(tmp_path).supervisor_pid() is None


async def test_a_control_plane_that_never_gets_ready_fails_the_start(tmp_path: Path) -> None:
    (tmp_path / "control-plane.mode").write_text("mute")
    with pytest.raises(StartFailed, match="control-plane wasn't ready after 1 s"):
        await control.start_fleet(wanted(tmp_path, start_s=1.0))
    assert [name for name, _, _ in life(tmp_path)] == ["control-plane"]


async def test_a_host_that_will_not_stop_is_killed_after_its_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "host-1.mode").write_text("deaf")
    async with fleet(tmp_path, drain_s=-4.5) as running:  # with the margin, half a second
        pid = part(running.state, "host-1").pid
    assert not alive(pid)
    assert "killed" in (tmp_path / "logs" / "supervisor.jsonl").read_text()


async def test_a_frozen_supervisor_is_killed_and_its_parts_with_it(tmp_path: Path) -> None:
    running = await control.start_fleet(wanted(tmp_path))
    state = running.state
    os.kill(state.supervisor_pid, signal.SIGSTOP)
    assert not await control.stop_fleet(tmp_path, timeout_s=0.2)
    await until(lambda: not any(alive(part.pid) for part in state.parts))
    await running.stop()


async def test_a_bound_fleet_stops_with_the_process_that_started_it(tmp_path: Path) -> None:
    code = (
        "import asyncio, sys, msgspec\n"
        "from amas.platforms.local import control\n"
        "from amas.platforms.local.request import StartRequest\n"
        "async def main():\n"
        "    fleet = await control.start_fleet(msgspec.json.decode(sys.argv[1], type=StartRequest))\n"
        "    print('up', flush=True)\n"
        "    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    request = msgspec.json.encode(wanted(tmp_path, bound=True)).decode()
    starter = await asyncio.create_subprocess_exec(sys.executable, "-c", code, request, stdout=subprocess.PIPE)
    assert starter.stdout is not None
    assert await asyncio.wait_for(starter.stdout.readline(), 30) == b"up\n"
    state = control.fleet_state(tmp_path)
    starter.kill()
    await starter.wait()
    await until(lambda: Home(tmp_path).supervisor_pid() is None)
    assert not any(alive(part.pid) for part in state.parts)
    assert [what for _, what, _ in life(tmp_path)].count("stopped") == 3


async def test_an_engine_that_cannot_start_is_the_error(tmp_path: Path) -> None:
    with pytest.raises(EngineStartFailed, match="isn't a program"):
        await control.start_fleet(wanted(tmp_path, engine_binary="/nonexistent"))


async def test_a_data_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(
        HomeUnusable, match=r"the data folder .*/file/x can't be written: Not a directory: set AMAS_HOME to a folder of your own"
    ):
        await control.start_fleet(wanted(tmp_path / "file" / "x"))


async def test_a_full_disk_is_one_sentence(tmp_path: Path) -> None:
    tmp_path = tmp_path / "disk"
    tmp_path.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(tmp_path)], check=False, capture_output=True
    ).returncode:
        pytest.skip("a tiny file system needs root and the right to mount tmpfs")
    try:
        with pytest.raises(AmasError, match=r"^the disk under .* is full: free at least 16 MiB$"):
            await control.start_fleet(wanted(tmp_path))
        (tmp_path / "filler").write_bytes(bytes((1 << 20) - (32 << 10)))
        with pytest.raises(HomeUnusable, match=r"can't be written: No space left on device: free some space$"):
            with (tmp_path / "rest").open("wb", buffering=0) as rest, pytest.raises(OSError):
                while True:
                    rest.write(bytes(4096))
            await control.start_fleet(wanted(tmp_path))
    finally:
        subprocess.run(["umount", "--lazy", str(tmp_path)], check=True)
