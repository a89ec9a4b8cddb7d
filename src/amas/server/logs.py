"""An agent's log, or a task's: the newest lines that name it in the files of this machine's hosts, one JSON object a line.

Reading is bounded: the last `TAIL_BYTES` of each file, since a log grows without end and a request must not.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

TAIL_BYTES = 4 << 20
"""Of each file: some ten thousand lines, read in milliseconds."""
LINES_MAX = 1000

_decode = msgspec.json.Decoder(dict[str, Any]).decode


def agent_lines(folder: Path, agent_id: str, *, limit: int) -> tuple[list[dict[str, Any]], bool]:
    """Return up to `limit` of the newest lines of one agent, oldest first, and whether older ones may exist.

    Blocking: call it in a thread.
    """
    return _lines(folder, "agent_id", agent_id, limit)


def task_lines(folder: Path, task_id: str, *, limit: int) -> tuple[list[dict[str, Any]], bool]:
    """Return the same of a task, whoever wrote it."""
    return _lines(folder, "task_id", task_id, limit)


def _lines(folder: Path, field: str, value: str, limit: int) -> tuple[list[dict[str, Any]], bool]:
    found: list[dict[str, Any]] = []
    cut = False
    mark = re.compile(b'"%s"\\s*:\\s*' % field.encode() + re.escape(msgspec.json.encode(value)))
    for path in sorted(folder.glob("*.jsonl*")):
        lines, whole = _tail(path)
        cut = cut or not whole
        found.extend(entry for line in lines if mark.search(line) for entry in _entry(line, field, value))
    found.sort(key=lambda entry: str(entry.get("at", "")))
    return found[-limit:], cut or len(found) > limit


def _tail(path: Path) -> tuple[list[bytes], bool]:
    """Return the last lines of a file, and whether they are all of it; none when it went away."""
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            start = max(size - TAIL_BYTES, 0)
            file.seek(start)
            lines = file.read(TAIL_BYTES).splitlines()
    except OSError:
        return [], True
    return (lines[1:], False) if start else (lines, True)


def _entry(line: bytes, field: str, value: str) -> Iterator[dict[str, Any]]:
    try:
        entry = _decode(line)
    except (ValueError, RecursionError):  # half a line of a process that died, plain text, or nested too deeply
        return
    if entry.get(field) == value:
        yield entry
