"""The `amas` command as a person runs it: in a process of its own, in an empty folder, with a home of its own."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen
from uuid import uuid4

SAMPLES = Path(__file__).parent
LIMIT_S = 240
"""For one command: it only ends what hangs."""
Ended = subprocess.CompletedProcess[str]


class Command:
    """Runs `amas` in `folder`, each time with `mark` in its environment."""

    def __init__(self, folder: Path, **environment: str) -> None:
        self.folder, self.home, self.mark = folder, folder / "home", uuid4().hex
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("AMAS_", "ORCHESTRATION_"))}
        own = {"AMAS_HOME": str(self.home), "AMAS_PORT": "0", "AMAS_METRICS_PORT": "0", "COLUMNS": "160"}
        self.environment = {**clean, **own, "TEST_MARK": self.mark, **environment}

    def start(self, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
        """Start a command and return its process."""
        return self._start(sys.executable, "-m", "amas", *arguments, **environment)

    def _start(self, *program: str, **environment: str) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            program,
            cwd=self.folder,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *arguments: str, **environment: str) -> Ended:
        """Run a command to its end."""
        return self.program(sys.executable, "-m", "amas", *arguments, **environment)

    def program(self, *program: str, **environment: str) -> Ended:
        """Run any program to its end where commands are run."""
        with self._start(*program, **environment) as process:
            try:
                out, err = process.communicate(timeout=LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return Ended(process.args, process.returncode, out, err)

    def json(self, *arguments: str) -> Any:
        """Return what a command that goes well says with `--json`."""
        done = self(*arguments, "--json")
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def api(self, method: str, path: str, body: object = None, *, key: str = "") -> Any:
        """Return what the API of the fleet in this command's home answers."""
        headers = {"Content-Type": "application/json", **({"Authorization": f"Bearer {key}"} if key else {})}
        url = f"http://127.0.0.1:{json.loads((self.home / 'fleet.json').read_text())['port']}{path}"
        request = Request(url, None if body is None else json.dumps(body).encode(), headers, method=method)
        with urlopen(request, timeout=LIMIT_S) as answer:
            return json.load(answer)

    @contextmanager
    def up(self, *options: str) -> Iterator["Command"]:
        """Have a fleet run for the body, which leaves nothing behind."""
        up = self("up", *options)
        assert up.returncode == 0, up.stderr
        yield self
        down = self("down")
        assert down.returncode == 0, down.stderr
        assert self.left_running() == []

    def left_running(self) -> list[str]:
        """Return the command lines of what this command's processes left behind: with its mark, or at work in its folder."""
        return [line for line in map(self._belongs, Path("/proc").glob("[0-9]*")) if line]

    def _belongs(self, process: Path) -> str:
        try:
            line = (process / "cmdline").read_text().replace("\0", " ")
            marked = f"TEST_MARK={self.mark}".encode() in (process / "environ").read_bytes().split(b"\0")
            within = (process / "cwd").readlink().is_relative_to(self.folder)  # a project's tests get an environment of their own
        except OSError:  # another user's, or gone since
            return ""
        return line if marked or within else ""


def ledger_fleet(folder: Path, *, steps: int = 1, more: str = "") -> Path:
    """Make `fleet.yaml`, whose agents write a line into `ledger` for each step that they do, and return the folder.

    `more`: what else the fleet file says.
    """
    declared = (SAMPLES / "ledger.yaml").read_text()
    (folder / "fleet.yaml").write_text(f"{declared}    options: {{ledger: {folder / 'ledger'}, steps: {steps}}}\n{more}")
    (folder / "sample_agents.py").write_text((SAMPLES / "sample_agents.py").read_text())
    return folder
