"""Running programs: bounded output, time limits, and nothing left behind."""

import asyncio
import os
import sys
from pathlib import Path

import pytest

from amas.agents.skills.programs import minimal_environment, run_program

STARTS_A_DAEMON = """
import os, subprocess, sys, threading
child = subprocess.Popen([sys.executable, "-c", "import threading; threading.Event().wait()"], start_new_session=True)
open("pid.tmp", "w").write(str(child.pid)); os.rename("pid.tmp", "pid")
if sys.argv[1] == "wait": threading.Event().wait()
"""


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] in "ZX"
    except FileNotFoundError:
        return True


async def until_gone(pid: int) -> None:
    async with asyncio.timeout(60):
        while not gone(pid):
            await asyncio.sleep(0.01)  # there is no event for the end of somebody else's child


async def test_what_it_printed_and_how_it_ended(tmp_path: Path) -> None:
    code = "import sys; print('out'); print('err', file=sys.stderr); print(sys.stdin.read() == ''); sys.exit(3)"
    ended = await run_program([sys.executable, "-c", code], cwd=tmp_path, env=minimal_environment(tmp_path), timeout_s=60)
    assert (ended.exit_code, ended.timed_out, ended.stdout, ended.stderr) == (3, False, "out\nTrue\n", "err\n")


async def test_a_flood_is_kept_to_its_end(tmp_path: Path) -> None:
    code = "print('x' * 5_000_000); print('last')"
    ended = await run_program([sys.executable, "-c", code], cwd=tmp_path, env={}, timeout_s=60, keep_bytes=1000)
    assert len(ended.stdout) == 1000
    assert ended.stdout.endswith("x\nlast\n")


async def test_the_time_limit_ends_it_and_its_daemons(tmp_path: Path) -> None:
    ended = await run_program([sys.executable, "-c", STARTS_A_DAEMON, "wait"], cwd=tmp_path, env={}, timeout_s=20)
    assert ended.timed_out
    assert ended.exit_code == -9
    await until_gone(int((tmp_path / "pid").read_text()))


async def test_a_normal_end_leaves_no_daemon(tmp_path: Path) -> None:
    ended = await run_program([sys.executable, "-c", STARTS_A_DAEMON, "end"], cwd=tmp_path, env={}, timeout_s=60)
    assert (ended.exit_code, ended.timed_out) == (0, False)
    await until_gone(int((tmp_path / "pid").read_text()))


async def test_cancelling_the_caller_kills_it_whole(tmp_path: Path) -> None:
    running = asyncio.create_task(
        run_program([sys.executable, "-c", STARTS_A_DAEMON, "wait"], cwd=tmp_path, env=dict(os.environ), timeout_s=60)
    )
    async with asyncio.timeout(60):
        while not (tmp_path / "pid").exists():
            await asyncio.sleep(0.01)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    await until_gone(int((tmp_path / "pid").read_text()))


async def test_a_program_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        await run_program(["/no/such/program"], cwd=tmp_path, env={}, timeout_s=1)
