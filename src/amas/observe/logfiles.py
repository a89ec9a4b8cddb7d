"""Log files on disk: written by several processes, rotated by size and day, followed across that, and removed when they are old.

`NAME.jsonl` is written; what is full or of an earlier day becomes `NAME.jsonl.<when it was closed>`, by a rename. Whoever still
has it open writes its line there and goes over to the new file with the next, so no line is lost; whoever follows knows files by
their inodes, so none is read twice. Of two processes that would rotate the same file one does: the file's own lock and a second
look say which.
"""

import fcntl
import os
import re
from collections.abc import Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO, NamedTuple

from amas.clock import now_ms
from amas.settings import LogSettings

DAY_MS = 86_400_000
LINES_BYTES_MAX = 8 << 20
"""What one look of a follower reads of a file; the rest comes with the next. A line that is longer is passed over."""
_NEAR_BYTES = 64 << 10
"""How near a search for a time comes to it."""
_AT = re.compile(rb'"at":"([^"]+)"')


class LogFile:
    """Where lines go: each with one write, so that they stay whole also when several processes write.

    A line that can't be written, as on a full disk, is lost: nobody's work must end for want of a log.
    """

    def __init__(self, path: Path, *, bytes_max: int) -> None:
        """`bytes_max`: how long the file gets before another takes its place."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path, self._bytes_max = path, bytes_max
        self._file = _opened(path)
        self._torn = False
        """Whether the disk had room for a part of the last line only."""

    def msg(self, line: bytes) -> None:
        """Append a line."""
        with suppress(OSError):
            self._turn(len(line) + 1)
            whole = b"\n" * self._torn + line + b"\n"
            self._torn = 0 < os.write(self._file, whole) < len(whole)

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            os.close(self._file)

    def _turn(self, more: int) -> None:
        """Have the file open that lines of today go to, with room for `more` bytes."""
        mine = os.fstat(self._file)
        today = now_ms() // DAY_MS
        if mine.st_size and (mine.st_size + more > self._bytes_max or int(mine.st_mtime) // 86_400 < today):
            fcntl.flock(self._file, fcntl.LOCK_EX)
            try:
                if self._is(mine.st_ino):
                    self._path.rename(_closed(self._path))
            finally:
                fcntl.flock(self._file, fcntl.LOCK_UN)
        if not self._is(mine.st_ino):
            new = _opened(self._path)
            os.close(self._file)
            self._file = new

    def _is(self, inode: int) -> bool:
        try:
            return self._path.stat().st_ino == inode
        except FileNotFoundError:
            return False


def _opened(path: Path) -> int:
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)


def _closed(path: Path) -> Path:
    """Return a name that no file has, sorted by time."""
    at = now_ms()
    while (name := path.with_name(f"{path.name}.{at:013d}")).exists():
        at += 1
    return name


class Follower:
    """Reads what is new in a folder's log files, whichever of them it is written to."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._read: dict[int, int] = {}
        """Inode -> bytes that were read."""
        self._missed: dict[int, int] = {}
        """The same of files that the last look didn't come across: one that was renamed meanwhile is there with the next."""

    def new_lines(self) -> Iterator[bytes]:
        """Yield whole lines that weren't there at the last look, file by file; blocking."""
        known, seen = {**self._missed, **self._read}, dict[int, int]()
        for path in sorted(self._folder.glob("*.jsonl*")):
            with suppress(OSError), path.open("rb") as file:  # it was removed meanwhile
                of = os.fstat(file.fileno())
                inode, start = of.st_ino, seen.get(of.st_ino, known.get(of.st_ino, 0))
                if start > of.st_size:  # a new file that has a removed one's inode, or one that somebody emptied
                    start = 0
                file.seek(start)
                found = file.read(LINES_BYTES_MAX)
                whole, end, _ = found.rpartition(b"\n")  # what isn't whole is being written
                seen[inode] = start + (len(whole) + len(end) if end or len(found) < LINES_BYTES_MAX else len(found))
                yield from whole.splitlines()
        self._missed = {inode: end for inode, end in self._read.items() if inode not in seen}
        self._read = seen

    def begin(self, *, since: str) -> None:
        """Begin each file at its last lines, or where lines are as new as `since`, a time as lines have it; "" for the former."""
        for path in self._folder.glob("*.jsonl*"):
            with suppress(OSError), path.open("rb") as file:
                found = os.fstat(file.fileno())
                start = _from(file, found.st_size, since.encode()) if since else found.st_size - LINES_BYTES_MAX
                file.seek(max(start, 0))
                if start > 0:
                    file.readline()
                self._read[found.st_ino] = file.tell()

    def skip(self) -> None:
        """Take all that is there now for read."""
        files = list(self._folder.glob("*.jsonl*"))
        with suppress(OSError):
            self._read = {found.st_ino: found.st_size for found in (path.stat() for path in files)}


def _from(file: BinaryIO, size: int, since: bytes) -> int:
    """Return a place shortly before the first line that is as new as `since`, of a file whose lines stand in order."""
    low, high = 0, size
    while high - low > _NEAR_BYTES:
        middle = (low + high) // 2
        file.seek(middle)
        file.readline()
        times = _AT.findall(file.readline())
        low, high = (middle, high) if times and times[-1] < since else (low, middle)
    return low


class Closed(NamedTuple):
    """A file that nobody writes to any more."""

    path: Path
    closed_ms: int
    size: int


def kept_days(name: str, settings: LogSettings) -> int:
    """Return for how long a file is kept: hosts write what agents say, the others belong to the system."""
    return settings.agent_days if name.startswith("host") else settings.system_days


def expired(files: Iterable[Closed], settings: LogSettings, *, now_ms: int) -> list[Path]:
    """Return the files that are too old, and the oldest of those that are too much together."""
    left: list[Closed] = []
    gone: list[Closed] = []
    for file in sorted(files, key=lambda file: file.closed_ms, reverse=True):
        old = now_ms - file.closed_ms > kept_days(file.path.name, settings) * DAY_MS
        (gone if old else left).append(file)
    room = settings.total_mb << 20
    for file in left:
        room -= file.size
        if room < 0:
            gone.append(file)
    return [file.path for file in gone]


def closed_files(folder: Path) -> Iterator[Closed]:
    """Yield a folder's files that nobody writes to any more."""
    for path in folder.glob("*.jsonl.*"):
        at = path.suffix[1:]
        with suppress(OSError):
            if at.isdecimal():
                yield Closed(path, int(at), path.stat().st_size)


def prune(folder: Path, settings: LogSettings, *, now_ms: int) -> int:
    """Remove what has expired and return how many files that were; blocking."""
    gone = expired(closed_files(folder), settings, now_ms=now_ms)
    for path in gone:
        path.unlink(missing_ok=True)
    return len(gone)
