"""What every peer's driver shares: the task, the workers' processes, the clock. Standard library only: its packages are its own.

Told by the environment: PEER_URL of its server, PEER_SERVER_PID, PEER_TASKS in one run, PEER_RUNS, PEER_ROUND_TRIPS. `drive`
prints one line of JSON.
"""

import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

URL = os.environ.get("PEER_URL", "")
_TASKS = int(os.environ.get("PEER_TASKS", "0"))
_RUNS = int(os.environ.get("PEER_RUNS", "0"))
_ROUND_TRIPS = int(os.environ.get("PEER_ROUND_TRIPS", "0"))
_SERVER_PID = int(os.environ.get("PEER_SERVER_PID", "0"))
_TICKS = os.sysconf("SC_CLK_TCK")
WARM = 200
LIMIT_S = 300.0
LOOK_EVERY_S = 0.01

Payload = dict[str, object]


def payload(number: int) -> Payload:
    """Return the input of a task, 278 bytes of JSON."""
    task = {"number": f"{number:08}", "goal": "sum up what was said and name three causes", "room": "", "limits": {"tokens": 512}}
    return task | {"room": "x" * (278 - len(json.dumps(task)))}


def work(task: Payload) -> dict[str, bool]:
    """Do nothing, and say so."""
    return {"ok": bool(task)}


def valkey(path: str) -> str:
    """Return the server's address with the database `path`."""
    return f"{URL}/{path}"


class Valkey:
    """Just enough of a client to count keys and to empty a database, in an environment that may have none."""

    def __init__(self, database: int) -> None:
        address = urlsplit(URL)
        self._socket = socket.create_connection((address.hostname, address.port))
        self._lines = self._socket.makefile("rb")
        self.say("SELECT", str(database))

    def say(self, *words: str) -> str:
        """Return the one line that a command is answered with."""
        parts = [f"${len(word)}\r\n{word}\r\n" for word in words]
        self._socket.sendall(f"*{len(words)}\r\n{''.join(parts)}".encode())
        return self._lines.readline().decode().strip()

    def keys(self) -> int:
        """Return how many keys the database has."""
        return int(self.say("DBSIZE")[1:])

    def empty(self) -> None:
        """Remove them."""
        self.say("FLUSHDB")


def tree_cpu_s(roots: list[int]) -> float:
    """Return the CPU seconds of processes and all that they started, ended ones included."""
    took, children = {}, {}
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue  # it ended between the listing and the look
        took[int(folder.name)] = sum(map(int, fields[11:15]))
        children.setdefault(int(fields[1]), []).append(int(folder.name))
    total, todo = 0, list(roots)
    while todo:
        pid = todo.pop()
        total += took.get(pid, 0)
        todo += children.get(pid, [])
    return total / _TICKS


def beside(program: str) -> str:
    """Return a program of this environment."""
    return str(Path(sys.executable).with_name(program))


def _wait(left: Callable[[int], int], tasks: int) -> None:
    give_up_at = time.monotonic() + LIMIT_S
    while left(tasks) > 0:
        if time.monotonic() > give_up_at:
            raise TimeoutError(f"{left(tasks)} of {tasks} tasks didn't end within {LIMIT_S:g} s")
        time.sleep(LOOK_EVERY_S)


def _end(process: "subprocess.Popen[bytes]") -> None:
    """End a worker and the processes that it started, which are a group of their own."""
    process.terminate()
    with suppress(subprocess.TimeoutExpired):
        process.wait(5)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def quantiles_ms(seconds: list[float]) -> dict[str, float]:
    """Return p50 and p99 in milliseconds."""
    ordered = sorted(seconds)
    at = {name: ordered[min(len(ordered) - 1, int(len(ordered) * share))] for name, share in (("p50", 0.5), ("p99", 0.99))}
    return {name: round(value * 1000, 2) for name, value in at.items()}


def _round_trips(one: Callable[[int], object]) -> dict[str, float]:
    """Time tasks one after the other, the first tenth to warm up."""
    warm, taken = _ROUND_TRIPS // 10, []
    for number in range(warm + _ROUND_TRIPS):
        began = time.perf_counter()
        one(number)
        taken.append(time.perf_counter() - began)
    return quantiles_ms(taken[warm:])


def drive(
    workers: list[list[str]],
    submit: Callable[[int], object],
    left: Callable[[int], int],
    forget: Callable[[], object],
    *,
    one: Callable[[int], object],
    also_unsynced: bool = False,
) -> None:
    """Start the workers' commands and time runs of `submit` until none of so many tasks is `left`; `forget` follows each.

    Then `one` task after the other, from its submission until its result is seen; `also_unsynced`: once more on a Valkey that
    doesn't fsync.
    """
    quiet = {"stdin": subprocess.DEVNULL, "stdout": sys.stderr}
    started = [subprocess.Popen(command, start_new_session=True, **quiet) for command in workers]
    try:
        submit(WARM)
        _wait(left, WARM)
        forget()
        rates, costs = [], []
        for _ in range(_RUNS):
            roots = [os.getpid(), _SERVER_PID]  # the workers are ours
            cpu, began = tree_cpu_s(roots), time.perf_counter()
            submit(_TASKS)
            _wait(left, _TASKS)
            rates.append(round(_TASKS / (time.perf_counter() - began)))
            costs.append((tree_cpu_s(roots) - cpu) / _TASKS * 1e6)
            forget()
        found = {"runs": rates, "cpu_us_per_task": round(statistics.median(costs)), "round_trip_ms": _round_trips(one)}
        if also_unsynced:
            Valkey(0).say("CONFIG", "SET", "appendfsync", "no")
            found["round_trip_nofsync_ms"] = _round_trips(one)
    finally:
        for process in started:
            _end(process)
    print(json.dumps(found), flush=True)
