"""Documents read by a process of their own, since their parsers are foreign, and so is what they parse.

A thread that parses can't be stopped: one page that is drawn ten thousand times would take a host's interpreter for days. So each
document has so much time and memory; beyond it the process ends, the document is named with the reason, and the next is read by
a new one. `python -m amas.agents.skills.research.apart CPU_S MEMORY_BYTES` is that process: names of files come in and documents
go out, a frame each, until its standard input ends. Called by `read.py`, in a thread.
"""

import os
import resource
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from threading import Timer
from types import TracebackType
from typing import IO, Self

import msgspec

from amas.agents.skills.research.passages import Passage, Table
from amas.secrets import HOSTS_OWN

CPU_S = 120
"""Of one document: what needs more is damaged, or made to be costly. A page of a PDF takes 14 ms in a slow moment of a machine,
so a book of 3,000 pages 42 s, and a workbook of 100,000 rows 7 s (docs/research.md)."""
WALL_S = 600.0
"""The same by the clock, for one that waits instead: a machine that is full gives it a fifth of a core."""
MEMORY_BYTES = 2 << 30
"""What the process may have of addresses, Python and the parsers among them."""
FRAME_BYTES_MAX = 512 << 20
_SIZE = 8


class Asked(msgspec.Struct, frozen=True, array_like=True):
    """A file to be read."""

    path: str
    """As it is to be cited."""
    file: str


class Document(msgspec.Struct, frozen=True, array_like=True):
    """What a file holds."""

    passages: list[Passage]
    tables: list[Table]
    trouble: str
    """Why it can't be read or was cut; empty when it was read whole."""


_asked = msgspec.msgpack.Decoder(Asked).decode
_document = msgspec.msgpack.Decoder(Document).decode


class Apart:
    """Reads documents, one after the other, in as few processes as that takes."""

    def __init__(self, *, cpu_s: int = CPU_S, memory_bytes: int = MEMORY_BYTES) -> None:
        """`cpu_s`, `memory_bytes`: what one document may take."""
        self._cpu_s, self._memory_bytes = cpu_s, memory_bytes
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end()

    def read(self, path: str, file: Path) -> tuple[list[Passage], list[Table], str]:
        """Return what `read_document` makes of a file; where its reader had to be ended, nothing but the reason. Blocks."""
        process = self._process = self._process or self._started()
        assert process.stdin and process.stdout, "both are pipes"
        late = Timer(WALL_S, process.kill)
        late.start()
        try:
            _write(process.stdin, msgspec.msgpack.encode(Asked(path, str(file))))
            said = _read(process.stdout)
        except OSError:
            said = None
        finally:
            late.cancel()
        if said is None:
            return [], [], self._why(self._end())
        found = _document(said)
        return found.passages, found.tables, found.trouble

    def _started(self) -> "subprocess.Popen[bytes]":
        return subprocess.Popen(
            [sys.executable, "-P", "-m", __name__, str(self._cpu_s), str(self._memory_bytes)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd="/",
            env={name: value for name, value in os.environ.items() if name not in HOSTS_OWN},
        )

    def _why(self, code: int) -> str:
        """Return what is said of a document whose reader ended so."""
        match -code:
            case signal.SIGXCPU:
                return f"it takes more than {self._cpu_s} s of CPU to read"
            case signal.SIGKILL:
                return f"it takes more than {WALL_S:g} s, or more memory than there is, to read"
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return f"its reader {how}"

    def _end(self) -> int:
        """End the process, if there is one, and return how it ended."""
        process, self._process = self._process, None
        if process is None:
            return 0
        assert process.stdin and process.stdout, "both are pipes"
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):
                pipe.close()
        try:
            return process.wait(1.0)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()


def _write(to: IO[bytes], said: bytes) -> None:
    to.write(len(said).to_bytes(_SIZE, "big") + said)
    to.flush()


def _read(from_: IO[bytes]) -> bytes | None:
    """Return the next frame; None at the end, or at what is none."""
    head = from_.read(_SIZE)
    size = int.from_bytes(head, "big")
    if len(head) < _SIZE or size > FRAME_BYTES_MAX:
        return None
    said = from_.read(size)
    return said if len(said) == size else None


def main() -> None:
    """Read what is asked for until nothing more is."""
    from amas.agents.skills.research.read import read_document

    cpu_s, memory_bytes = int(sys.argv[1]), int(sys.argv[2])
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a parser prints is no answer
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_AS, (memory_bytes, memory_bytes))
    while (frame := _read(sys.stdin.buffer)) is not None:
        asked = _asked(frame)
        used = resource.getrusage(resource.RUSAGE_SELF)
        limit = int(used.ru_utime + used.ru_stime) + cpu_s + 1
        resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.RLIM_INFINITY))
        try:
            found = Document(*read_document(asked.path, Path(asked.file).read_bytes()))
            said = msgspec.msgpack.encode(found)
            if len(said) > FRAME_BYTES_MAX:
                said = msgspec.msgpack.encode(Document([], [], f"it holds more than {FRAME_BYTES_MAX >> 20} MiB of text"))
        except MemoryError:
            said = msgspec.msgpack.encode(Document([], [], f"it takes more than {memory_bytes >> 20} MiB of memory to read"))
        except OSError as error:
            said = msgspec.msgpack.encode(Document([], [], f"it can't be read: {error.strerror}"))
        _write(answers, said)


if __name__ == "__main__":
    main()
