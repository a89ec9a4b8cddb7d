"""A sandbox for one command, made by bubblewrap: what the command may see and take, and how it ends.

It sees the system's programs and libraries, read only, its task's folder as /work, a /tmp of its own and nothing else: no other
file of the machine, no process, no network, no variable of the host's environment. It is nobody within, with no capability and no
way to get one. However it ends, its first process is killed, and the kernel ends all others of its process namespace with it;
whoever waits for the end is told when they are gone. A command that is in no sandbox is never started.

Memory and processes are held by two hands: each process by its own limits, which the kernel keeps, and all together by a watch
that looks every `WATCH_S`. The kernel doesn't count root's processes, so with a host that runs as root the watch alone counts.
Source: https://github.com/containers/bubblewrap
"""

import asyncio
import os
import re
import shutil
import signal
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from amas.model.tools import ShellTool

PROGRAM = "bwrap"
WATCH_S = 0.05
"""A bomb forks a few hundred times in between, on a machine that does nothing else."""
PROBE_S = 10.0
TMP_SHARE = 2
"""The files in /tmp and /dev/shm lie in memory: each may have this part of what the command may take."""
WORK = "/work"
PATH = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"
SYSTEM = ("/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32")
SETTINGS = ("/etc/alternatives", "/etc/ld.so.cache", "/etc/ssl", "/etc/localtime", "/etc/mime.types")
"""Of /etc only what programs need to run at all, and nothing that says anything of the machine's users."""
NOBODY = "65534"
LIMITS = (
    "ulimit -c 0; ulimit -v $1 && ulimit -t $2 && ulimit -f $3 && { ulimit -u $4 2>/dev/null || ulimit -p $4; } || exit 125; "
    'shift 4; exec "$@"'
)
"""Set within, by the system's own shell: the number of processes is counted for each namespace of users."""

_PAGE = os.sysconf("SC_PAGE_SIZE")
_CHUNK = 1 << 16
_CHILD = re.compile(rb'"child-pid": (\d+)')


class SandboxMissing(Exception):
    """There is no sandbox on this machine; the message says why and what would help."""


class Over(Exception):
    """The command took more than it may, and was ended; the message says of what."""


class Ended(NamedTuple):
    """What came of a command."""

    exit_code: int
    """128 and more: the signal that ended it, and 128."""
    stdout: bytes
    stderr: bytes


async def reason_missing() -> str:
    """Return why there is no sandbox on this machine, and what would help; "" where there is one."""
    if shutil.which(PROGRAM) is None:
        return "bubblewrap isn't installed: install the package bubblewrap"
    probe = await asyncio.create_subprocess_exec(
        *_around(Path("/"), ShellTool(command=("true",)), writable=False),
        "true",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        async with asyncio.timeout(PROBE_S):
            _, said = await probe.communicate()
    except TimeoutError:
        with suppress(ProcessLookupError):
            probe.kill()
        return "bubblewrap hangs on this machine"
    if probe.returncode == 0:
        return ""
    last = said.decode(errors="replace").strip().rpartition("\n")[2] or f"exit code {probe.returncode}"
    return f"bubblewrap can't make one here ({last}): allow user namespaces, or in a container give the right to make them"


async def run(command: Sequence[str], workspace: Path, limits: ShellTool, *, output_bytes_max: int) -> Ended:
    """Run a command to its end and return that; Over where it took more than it may. Cancelled, nothing of it is left."""
    status_read, status_write = os.pipe()
    try:
        process = await asyncio.create_subprocess_exec(
            *_around(workspace, limits, writable=True, status=status_write),
            *_limited(command, limits),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=(status_write,),
            env={},
        )
    except BaseException:
        os.close(status_read)
        raise
    finally:
        os.close(status_write)
    running = _Running(process)
    try:
        return await running.to_the_end(status_read, limits, output_bytes_max)
    except ExceptionGroup as group:
        raise group.exceptions[0] from None  # what it took too much of first
    finally:
        await asyncio.shield(running.end())


class _Running:
    """One command in its sandbox."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process, self._first = process, 0
        self._written = 0

    async def to_the_end(self, status: int, limits: ShellTool, output_bytes_max: int) -> Ended:
        self._first = await _first_process(status)
        assert self._process.stdout is not None and self._process.stderr is not None, "both are pipes"
        async with asyncio.TaskGroup() as group:
            watch = group.create_task(self._watch(limits), name="sandbox")
            outputs = [
                group.create_task(self._read(each, output_bytes_max)) for each in (self._process.stdout, self._process.stderr)
            ]
            code = await self._process.wait()
            watch.cancel()
        stdout, stderr = (each.result() for each in outputs)
        if not self._first:
            raise SandboxMissing(stderr.decode(errors="replace").strip().rpartition("\n")[2])
        return Ended(code, stdout, stderr)

    async def end(self) -> None:
        """Kill the sandbox's first process, and with it all; return when they are gone."""
        if self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self._first or self._process.pid, signal.SIGKILL)
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None, "both are pipes"
            while await pipe.read(_CHUNK):  # what was left in it, since nobody writes any more: asyncio waits for its end, too
                pass
        await self._process.wait()

    async def _read(self, stream: asyncio.StreamReader, most: int) -> bytes:
        kept = bytearray()
        while piece := await stream.read(_CHUNK):
            self._written += len(piece)
            if self._written > most:
                raise Over(f"wrote more than {most >> 10} KiB")
            kept += piece
        return bytes(kept)

    async def _watch(self, limits: ShellTool) -> None:
        """Raise Over when all processes together have more than the command may take."""
        while True:
            count = own = 0
            for pid in _below(self._first):
                count, own = count + 1, own + _own_bytes(pid)
                if count > limits.processes:
                    raise Over(f"had more than {limits.processes} processes")
                if own > limits.memory_mb << 20:
                    raise Over(f"took more than {limits.memory_mb} MiB of memory")
            await asyncio.sleep(WATCH_S)


def _around(workspace: Path, limits: ShellTool, *, writable: bool, status: int = -1) -> Iterator[str]:
    """Yield bubblewrap's own arguments."""
    yield from (PROGRAM, "--unshare-all", "--unshare-user", "--disable-userns", "--die-with-parent", "--new-session")
    yield from ("--cap-drop", "ALL", "--uid", NOBODY, "--gid", NOBODY, "--hostname", "sandbox", "--clearenv")
    for name, value in (("PATH", PATH), ("HOME", WORK), ("LANG", "C.UTF-8"), ("TMPDIR", "/tmp")):  # noqa: S108  its own
        yield from ("--setenv", name, value)
    for path in SYSTEM:
        if Path(path).is_symlink():
            yield from ("--symlink", str(Path(path).readlink()), path)
        elif Path(path).exists():
            yield from ("--ro-bind", path, path)
    for path in SETTINGS:
        yield from ("--ro-bind-try", path, path)
    tmp_bytes = str((limits.memory_mb << 20) // TMP_SHARE)
    yield from ("--proc", "/proc", "--dev", "/dev")
    for path in ("/tmp", "/dev/shm"):  # noqa: S108  its own
        yield from ("--perms", "1777", "--size", tmp_bytes, "--tmpfs", path)
    if writable:
        yield from ("--bind", str(workspace), WORK, "--chdir", WORK)
    for path in limits.read:  # after /work, which would hide those of a machine that has a folder of that name
        yield from ("--ro-bind", path, path)
    # Of a host that runs as root the command is root to the kernel's settings, which ask for no capability.
    yield from ("--remount-ro", "/proc", "--remount-ro", "/dev", "--remount-ro", "/")
    if status >= 0:
        yield from ("--info-fd", str(status))
    yield "--"


def _limited(command: Sequence[str], limits: ShellTool) -> Iterator[str]:
    """Yield the command with what sets its limits before it."""
    blocks = limits.file_mb << 11  # of 512 bytes
    counts = (limits.memory_mb << 10, limits.cpu_s, blocks, limits.processes)
    yield from ("/bin/sh", "-c", LIMITS, "sh", *map(str, counts), *command)


async def _first_process(status: int) -> int:
    """Return the process by which the sandbox lives and dies, as the host sees it; 0 where there is none."""
    reader = asyncio.StreamReader()
    pipe, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(status, "rb", buffering=0)
    )
    try:
        said = await reader.read()  # to its end, which it writes before the command begins
    finally:
        pipe.close()
    found = _CHILD.search(said)
    return int(found[1]) if found else 0


def _below(pid: int) -> Iterator[int]:
    """Yield the processes that a process began, and those that these began."""
    waiting = [pid]
    while waiting:
        each = waiting.pop()
        with suppress(OSError, ValueError):
            for task in Path(f"/proc/{each}/task").iterdir():
                children = [int(child) for child in (task / "children").read_text().split()]
                yield from children
                waiting += children


def _own_bytes(pid: int) -> int:
    """Return the memory that a process has for itself; what it shares are programs, and files whose size is held elsewhere."""
    with suppress(OSError, ValueError):
        _, resident, shared, *_ = map(int, Path(f"/proc/{pid}/statm").read_text().split())
        return (resident - shared) * _PAGE
    return 0
