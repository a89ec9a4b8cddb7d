"""A program of ours as a process of a fleet: where it runs, what it is told, how it says that it is ready, what its end means."""

import asyncio
import os
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from amas.engine.child import die_with_parent, last_lines, log_size
from amas.errors import AmasError, StartFailed
from amas.platforms.local.home import FleetState, Home
from amas.platforms.local.ready import MARK, READY_FD, READY_LINE, new_mark

Process = asyncio.subprocess.Process

SAID = "amas: "
"""How a program of ours begins the sentence that it ends with."""


@dataclass(frozen=True)
class Launched:
    """One process of a program."""

    process: Process
    mark: str
    """Its own, of all processes that there ever were."""
    said: asyncio.StreamReader
    heard: asyncio.ReadTransport
    """Where it says that it is ready."""


class Program:
    """A program of ours that runs from the data folder, writes to a log there, and may say that it is ready."""

    def __init__(self, name: str, argv: Sequence[str], home: Home, fleet: FleetState | None = None) -> None:
        """`fleet`: what runs, as it is told at each start: which file declares it is known once its engine has been asked."""
        self.name, self._argv, self._home, self._fleet = name, list(argv), home, fleet
        self._log_start = 0
        self._now: Launched | None = None

    @property
    def mark(self) -> str:
        """Of the process that was started last."""
        return self._now.mark if self._now else ""

    async def spawn(self) -> Process:
        """Return the new process; its standard output and errors go to its log."""
        self._home.log(self.name)  # which puts a long one aside
        self._mark_log()
        return self._take(await self._launch())

    async def said_ready(self, process: Process) -> None:
        """Return once the program called `tell_ready`; StartFailed when it ended without."""
        assert self._now is not None, "spawn comes first"
        if await self._now.said.readline() != READY_LINE:
            raise self.failure(await process.wait())

    def failure(self, exit_code: int) -> AmasError:
        """Return the error that says how the program ended and its log's last words."""
        lines = last_lines(self._log, count=3, since=self._log_start)
        if exit_code > 0 and lines and lines[-1].startswith(SAID):  # it has said itself what is wrong
            return StartFailed(f"{self.name} can't start: {lines[-1].removeprefix(SAID)}")
        how = f"was killed by signal {-exit_code}" if exit_code < 0 else f"ended with exit code {exit_code}"
        return StartFailed(f"{self.name} {how}: {' / '.join(lines) or 'its log is empty'}")

    @property
    def _log(self) -> Path:
        return self._home.logs / f"{self.name}.log"

    def _mark_log(self) -> None:
        """Let what the log has by now be of those before."""
        self._log_start = log_size(self._log)

    def _take(self, launched: Launched) -> Process:
        """Let this process be the one that is asked about from now on."""
        if self._now is not None:
            self._now.heard.close()
        self._now = launched
        return launched.process

    async def _launch(self, told: Mapping[str, str] = MappingProxyType({}), *, handles: Sequence[int] = ()) -> Launched:
        """Start a process that inherits `handles`, with `told` in its environment."""
        mark, heard = new_mark(), None
        read_end, write_end = os.pipe()
        try:
            said, heard = await _listening(read_end)
            with self._home.usable():
                output = self._log.open("ab")
            with output:
                process = await asyncio.create_subprocess_exec(
                    *self._argv,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    cwd=self._home.folder,  # never the caller's: a `random.py` there would shadow the library's
                    env={**self._environment(), READY_FD: str(write_end), MARK: mark, **told},
                    pass_fds=(write_end, *handles),
                    start_new_session=True,  # a terminal's Ctrl-C is for the supervisor, which stops the parts in order
                    preexec_fn=die_with_parent(),
                )
        except BaseException as error:
            if heard is not None:
                heard.close()
            if isinstance(error, FileNotFoundError):
                raise StartFailed(f"{self.name} can't be started: {error.filename} isn't there") from error
            if isinstance(error, OSError):
                raise StartFailed(f"{self.name} can't be started: {error.strerror or error}") from error
            raise
        finally:
            os.close(write_end)
        return Launched(process, mark, said, heard)

    def _environment(self) -> dict[str, str]:
        beside = str(Path(self._fleet.fleet_file).parent) if self._fleet else ""
        paths = [path for path in (os.environ.get("PYTHONPATH", ""), beside) if path]  # a fleet file's agents lie beside it
        model = {"AMAS_MODEL_URL": self._fleet.model_url} if self._fleet and self._fleet.model_url else {}
        return os.environ | model | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"}


async def _listening(read_end: int) -> tuple[asyncio.StreamReader, asyncio.ReadTransport]:
    said = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(said)
    heard, _ = await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, os.fdopen(read_end, "rb"))
    return said, heard
