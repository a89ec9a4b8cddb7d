"""Running a program that may hang, flood its output or leave children behind: `run_program(argv, ...) -> Ended`.

The program gets its own session, no input, no shell, and only the environment it is given. When it ends, when its time is over
or when the caller is cancelled, all that it started is killed: its process group, and (on Linux) whatever still carries the mark
that was put into its environment, which finds daemons that left the group. Called by the specialists; must never raise for what
the program does, but `tool_output` does: a tool of ours that fails is a failed task.
"""

import asyncio
import os
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

MARK = "AMAS_PROGRAM"
"""The environment variable whose value tells a program's descendants from all other processes."""

TOOL_TIMEOUT_S = 300.0
"""Seconds for one of our own tools; radon, the slowest, reads 5,000 lines a second."""

TOOL_OUTPUT_BYTES = 256 << 20
"""More than any tool prints about a million lines of source; output that is cut can't be decoded and fails the task."""

PIPES_CLOSE_S = 2.0
"""Seconds that the pipes may stay open after everything was killed; only a process that wiped its environment can hold them."""


class Ended(msgspec.Struct, frozen=True, kw_only=True):
    """How a program ended."""

    exit_code: int
    """Negative: the signal that ended it."""
    timed_out: bool
    stdout: str
    """The last `keep_bytes` of it."""
    stderr: str
    seconds: float


class _Tail(asyncio.SubprocessProtocol):
    """Keeps the end of each stream and says when the program has ended and when its pipes are closed."""

    def __init__(self, keep_bytes: int) -> None:
        self.keep_bytes = keep_bytes
        self.kept = {1: bytearray(), 2: bytearray()}
        self.exited, self.closed = asyncio.Event(), asyncio.Event()

    def pipe_data_received(self, fd: int, data: bytes) -> None:
        kept = self.kept[fd]
        kept += data
        if len(kept) > 2 * self.keep_bytes:
            del kept[: -self.keep_bytes]

    def process_exited(self) -> None:
        self.exited.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed.set()

    def text(self, fd: int) -> str:
        return bytes(self.kept[fd][-self.keep_bytes :]).decode("utf-8", "replace")


def minimal_environment(home: Path, *, path_first: Path | None = None) -> dict[str, str]:
    """Return an environment that carries nothing of ours but PATH: no secrets, no settings, UTF-8, no bytecode files."""
    path = os.environ.get("PATH", os.defpath)
    return {
        "PATH": f"{path_first}{os.pathsep}{path}" if path_first else path,
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PYTHONDONTWRITEBYTECODE": "1",
    }


async def run_program(
    argv: Sequence[str], *, cwd: Path, env: Mapping[str, str], timeout_s: float, keep_bytes: int = 1 << 20
) -> Ended:
    """Run a program to its end or its time limit and return how it ended; OSError when it can't be started at all."""
    mark = secrets.token_hex(16)
    started = time.monotonic()
    transport, tail = await asyncio.get_running_loop().subprocess_exec(
        lambda: _Tail(keep_bytes),
        *argv,
        cwd=cwd,
        env={**env, MARK: mark},
        stdin=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )
    timed_out = False
    try:
        async with asyncio.timeout(timeout_s):
            await tail.exited.wait()
    except TimeoutError:
        timed_out = True
    finally:
        kill_all(transport.get_pid(), mark)
        try:
            await _settled(tail)
        finally:
            transport.close()
    return Ended(
        exit_code=transport.get_returncode() or 0,
        timed_out=timed_out,
        stdout=tail.text(1),
        stderr=tail.text(2),
        seconds=time.monotonic() - started,
    )


async def tool_output(module: str, *arguments: str, cwd: Path, codes: tuple[int, ...] = (0,)) -> str:
    """Run `python -m module` of our own interpreter and return what it printed; RuntimeError when it fails."""
    with tempfile.TemporaryDirectory(prefix="amas-tool-") as home:
        argv = [sys.executable, "-m", module, *arguments]
        env = minimal_environment(Path(home))
        ended = await run_program(argv, cwd=cwd, env=env, timeout_s=TOOL_TIMEOUT_S, keep_bytes=TOOL_OUTPUT_BYTES)
    if ended.timed_out:
        raise RuntimeError(f"{module} didn't end within {TOOL_TIMEOUT_S:.0f} s")
    if ended.exit_code not in codes:
        raise RuntimeError(f"{module} failed with exit code {ended.exit_code}: {ended.stderr.strip()[-500:]}")
    return ended.stdout


async def _settled(tail: _Tail) -> None:
    """Wait until the killed program is reaped and its pipes are read to the end, or for `PIPES_CLOSE_S`."""
    with suppress(TimeoutError):
        async with asyncio.timeout(PIPES_CLOSE_S):
            await tail.exited.wait()
            await tail.closed.wait()


def kill_all(group: int, mark: str) -> None:
    """Kill a process group and every process that carries `mark` in its environment."""
    with suppress(ProcessLookupError):
        os.killpg(group, signal.SIGKILL)
    for pid in marked(mark):
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)


def marked(mark: str) -> list[int]:
    """Return the processes that carry `mark`; none where there is no /proc."""
    wanted = f"{MARK}={mark}".encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            if wanted in (folder / "environ").read_bytes():
                found.append(int(folder.name))
    return found
