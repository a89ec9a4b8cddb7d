"""The data folder of a local fleet: where everything lies, the lock that its supervisor holds, and what runs now (`fleet.json`).

    <home>/            0700
      fleet.json       FleetState: what runs; written by the supervisor alone, read by every command and child
      closing.json     Closing: whether the history was whole when the fleet stopped last; written by its control plane
      fleet.lock       held (flock) by the supervisor for as long as it lives, and holds its process id
      message.secret   what messages between agents are signed with, 0600; see `secret.py`
      api.key          what commands on this machine show the API, 0600
      api.closed       an API key was made once: nobody is let in without one
      audit/           who changed what, and the keys that sign it
      engine/          the embedded engine's append-only file, configuration, lock and socket
      records.sqlite3  the history
      artifacts/       large results        workspaces/  agents' private folders        deliverables/  what goals produced
      logs/            one file for each process             inputs/      files that people sent with goals

A fleet runs if and only if the lock is held: a `fleet.json` that outlived its supervisor says nothing.
"""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from amas.clock import monotonic_s
from amas.errors import FleetAlreadyRunning, HomeUnusable
from amas.model.closing import Closing

LOG_BYTES_MAX = 10 << 20
"""A log that is longer when its process starts becomes `.1`, replacing the one before."""

_LOCK_S = 1.0  # somebody who only asks whether the lock is held has it for microseconds


class PartState(msgspec.Struct, kw_only=True):
    """One child process, as `amas status` shows it."""

    name: str
    """`engine`, `model`, `control-plane`, `host-1`, ..."""
    pid: int = 0
    """0 while it isn't running."""
    status: str = "waiting"
    """`waiting`, `starting`, `running`, `restarting` or `stopped`."""
    restarts: int = 0
    reason: str = ""
    """Why it ended the last time."""


class FleetState(msgspec.Struct, kw_only=True):
    """What runs: all that the child processes need to know, and all that `amas status` says without asking anybody."""

    status: str = "starting"
    """`starting`, `running`, `degraded` (a part is being restarted) or `stopping`."""
    name: str
    """As the fleet file says."""
    fleet_file: str
    """An absolute path."""
    engine_url: str
    cell: str
    artifacts_url: str
    """Where large values are: a folder's path, or s3://bucket/prefix."""
    host: str
    """Where the control plane listens."""
    port: int
    metrics_port: int
    model_port: int = 0
    """Where the fleet's own language model listens, on loopback; 0 when it has none."""
    hosts: int = 1
    """How many host processes share the fleet's agents: `host-1` to `host-N`."""
    supervisor_pid: int = 0
    started_ms: int = 0
    parts: list[PartState] = []

    tls_cert: str = ""
    """The control plane's certificate, which commands on this machine trust; empty where it speaks plain HTTP."""

    @property
    def api_url(self) -> str:
        """The control plane's address for clients on this machine."""
        host = {"0.0.0.0": "127.0.0.1", "::": "[::1]"}.get(self.host, self.host)  # noqa: S104  it is compared, not bound
        shown = f"[{host}]" if ":" in host and not host.startswith("[") else host
        return f"{'https' if self.tls_cert else 'http'}://{shown}:{self.port}"

    @property
    def model_url(self) -> str:
        """The address of the fleet's own language model; empty when it has none."""
        return f"http://127.0.0.1:{self.model_port}/v1" if self.model_port else ""


class Home:
    """A data folder; making one touches nothing."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder.expanduser().absolute()
        self.engine = self.folder / "engine"
        self.artifacts = self.folder / "artifacts"
        self.workspaces = self.folder / "workspaces"
        self.deliverables = self.folder / "deliverables"
        self.logs = self.folder / "logs"
        self.state_file = self.folder / "fleet.json"
        self.closing_file = self.folder / "closing.json"
        self.lock_file = self.folder / "fleet.lock"
        self.secret_file = self.folder / "message.secret"
        self.key_file = self.folder / "api.key"

    def prepare(self) -> None:
        """Make the folder and those in it, for this user only; HomeUnusable says why that can't be."""
        with self.usable():
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.folder.chmod(0o700)
            for folder in (self.engine, self.artifacts, self.workspaces, self.deliverables, self.logs):
                folder.mkdir(exist_ok=True, mode=0o700)

    def log(self, name: str) -> Path:
        """Return the log file of a process that is about to start; a long one is put aside first."""
        path = self.logs / f"{name}.log"
        with self.usable():
            if path.exists() and path.stat().st_size > LOG_BYTES_MAX:
                path.replace(path.with_suffix(".log.1"))
        return path

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Hold the folder's lock; FleetAlreadyRunning when another supervisor does."""
        with self.usable():
            handle = os.open(self.lock_file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            self._take(handle)
            with self.usable():
                os.ftruncate(handle, 0)
                os.pwrite(handle, str(os.getpid()).encode(), 0)
            yield
        finally:
            os.close(handle)

    def supervisor_pid(self) -> int | None:
        """Return the process id of the supervisor that runs here, or None; HomeUnusable where one mayn't look."""
        try:
            handle = os.open(self.lock_file, os.O_RDONLY | os.O_CLOEXEC)
        except PermissionError as error:
            why = f"{error.strerror}: it is somebody else's; --home or AMAS_HOME names yours"
            raise HomeUnusable(f"the data folder {self.folder} can't be read: {why}") from error
        except OSError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared: those who only ask don't disturb each other
        except BlockingIOError:
            text = os.pread(handle, 32, 0)
            return int(text) if text.isdigit() else None
        else:
            return None
        finally:
            os.close(handle)

    def read_state(self) -> FleetState:
        """Return what the supervisor last wrote; HomeUnusable when there is nothing that can be read."""
        try:
            return msgspec.json.decode(self.state_file.read_bytes(), type=FleetState)
        except (OSError, msgspec.MsgspecError) as error:
            raise HomeUnusable(f"{self.state_file} can't be read: {error}") from error

    def write_state(self, state: FleetState) -> None:
        """Replace what runs, so that a reader sees the old or the new and never half."""
        temporary = self.state_file.with_suffix(".json.new")
        with self.usable():
            temporary.write_bytes(msgspec.json.format(msgspec.json.encode(state)))
            temporary.replace(self.state_file)

    def clear_state(self) -> None:
        """Forget what ran."""
        self.state_file.unlink(missing_ok=True)

    def write_closing(self, closing: Closing | None) -> None:
        """Say how the fleet's stop ended; None: it hasn't."""
        with self.usable():
            if closing is None:
                self.closing_file.unlink(missing_ok=True)
            else:
                self.closing_file.write_bytes(msgspec.json.format(msgspec.json.encode(closing)))

    def read_closing(self) -> Closing | None:
        """Return how the last stop ended; None where nobody got to say it."""
        try:
            return msgspec.json.decode(self.closing_file.read_bytes(), type=Closing)
        except (OSError, msgspec.MsgspecError):
            return None

    @contextlib.contextmanager
    def usable(self) -> Iterator[None]:
        """Turn an operating system's error into HomeUnusable, one sentence with the mend."""
        try:
            yield
        except OSError as error:
            reason, full = error.strerror or str(error), error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
            mend = "free some space" if full else "set AMAS_HOME to a folder of your own"
            raise HomeUnusable(f"the data folder {self.folder} can't be written: {reason}: {mend}") from error

    def _take(self, handle: int) -> None:
        give_up_at = monotonic_s() + _LOCK_S
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if monotonic_s() > give_up_at:
                    pid = os.pread(handle, 32, 0).decode(errors="replace")
                    raise FleetAlreadyRunning(
                        f"a fleet runs in {self.folder} already (process {pid}): `amas status` shows it, `amas down` stops it"
                    ) from None
            else:
                return
