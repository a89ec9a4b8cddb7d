"""What a server does besides its work, kept out of the work's way: what it forks gets less of the processor, and the files of its
log that it has done with are freed bit by bit.

A rewrite of the log takes a core for seconds. And a file that is deleted whole may hold up everything that goes to the same disk:
on a file system that tells its disk which blocks are free (mounted with `discard`) no write was acknowledged for up to 1.2 ms of
each MiB. So each file of the log has a second name, of ours. The server deletes its own; a file that has ours alone is one that
nobody needs, and is cut shorter until it is gone. A file with another name is never cut.

Called by `EmbeddedEngine`, for as long as its server runs.
"""

import asyncio
import os
from contextlib import suppress
from pathlib import Path

LOOK_EVERY_S = 0.2
NICE = 10
"""How far back a fork stands: beside busy processes it gets a tenth of a core."""
CUT_BYTES = 4 << 20
"""What goes at a time: some milliseconds in which other writes may wait."""
CUT_EVERY_S = 0.05


async def keep_aside(process: asyncio.subprocess.Process, log: Path, names: Path) -> None:
    """Look after a server until it ends. `log`: the folder of its log; `names`: one on the same disk for second names."""
    await asyncio.gather(_keep_forks_back(process), _keep_freeing(process, log, names))


async def _keep_forks_back(process: asyncio.subprocess.Process) -> None:
    forks = Forks(process.pid)
    while process.returncode is None:
        forks.give_way()
        await asyncio.sleep(LOOK_EVERY_S)


async def _keep_freeing(process: asyncio.subprocess.Process, log: Path, names: Path) -> None:
    while process.returncode is None:
        with suppress(OSError):  # no folder for second names: the server deletes its files itself
            for path in deleted(log, names):
                while await asyncio.to_thread(cut, path):  # noqa: ASYNC110  a pace
                    await asyncio.sleep(CUT_EVERY_S)
        await asyncio.sleep(LOOK_EVERY_S)


class Forks:
    """What a process has forked. Nothing is known of them where Linux doesn't list the children of a thread."""

    def __init__(self, pid: int) -> None:
        self._listed = Path(f"/proc/{pid}/task/{pid}/children")
        self._known: set[str] = set()

    def give_way(self) -> None:
        """Let those that are new give way to everybody else."""
        with suppress(OSError):  # it, or its fork, has just ended
            found = set(self._listed.read_text().split())
            for fork in found - self._known:
                os.setpriority(os.PRIO_PROCESS, int(fork), NICE)
            self._known = found


def deleted(log: Path, names: Path) -> list[Path]:
    """Give each file in `log` a second name in `names`, and return those there that have no other any more."""
    names.mkdir(mode=0o700, exist_ok=True)
    held = {path.name: path for path in names.iterdir()}
    for path in log.iterdir() if log.exists() else ():
        if path.name not in held and path.suffix != ".manifest":  # small, and replaced by renaming
            with suppress(OSError):  # just deleted, or no room for a name: what is there already can be freed all the same
                os.link(path, names / path.name)
    return [path for path in held.values() if path.stat().st_nlink == 1]


def free_at_once(log: Path, names: Path) -> None:
    """Free what is deleted where no server works whom that could hold up: it may be the room that the next one needs."""
    with suppress(OSError):
        for path in deleted(log, names):
            path.unlink()


def cut(path: Path) -> bool:
    """Take a piece off a file's end, or the file itself where no more is left; return whether more is."""
    left = path.stat().st_size - CUT_BYTES
    if left > 0:
        os.truncate(path, left)
    else:
        path.unlink()
    return left > 0
