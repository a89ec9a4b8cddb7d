"""The `amas` command as a person runs it: in a process of its own, in an empty folder, with a home of its own."""

import os
import subprocess
import sys
from pathlib import Path
from uuid import uuid4

LIMIT_S = 100
Ended = subprocess.CompletedProcess[str]


class Command:
    """Runs `amas` in `folder`, each time with `mark` in its environment."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.mark = folder, uuid4().hex
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("AMAS_", "ORCHESTRATION_"))}
        own = {"AMAS_HOME": str(folder / "home"), "AMAS_PORT": "0", "AMAS_METRICS_PORT": "0", "COLUMNS": "160"}
        self.environment = {**clean, **own, "TEST_MARK": self.mark}

    def start(self, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
        """Start a command and return its process."""
        return subprocess.Popen(
            [sys.executable, "-m", "amas", *arguments],
            cwd=self.folder,
            env={**self.environment, **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def __call__(self, *arguments: str, **environment: str) -> Ended:
        """Run a command to its end."""
        with self.start(*arguments, **environment) as process:
            try:
                out, err = process.communicate(timeout=LIMIT_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
        return Ended(process.args, process.returncode, out, err)

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
