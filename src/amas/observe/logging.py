"""Logs: one JSON object a line. A call is a constant message, an `event` from `observe.events` where a machine may look for it,
and fields.

    log.info("replaced a silent host", event=events.HOST_REPLACED, host_id=host_id)
    {"level":"info","at":"2026-01-01T00:00:00.000000Z","message":"replaced a silent host","event":"host_replaced","host_id":"h-1"}

A host writes one file, `<home>/logs/<host_id>.jsonl` (rotated, see `logfiles.py`), with `agent_id`, `task_id` and `workflow_id`
on every line of an agent; `amas logs X` filters. No line has a secret that this process has read (`amas.secrets`).
What a log was bound to stands: an agent's line has its own `agent_id` and task, and what it says of another `agent_id_` besides.
structlog is loaded by `open_log` only: it takes longer to import than a child process to start.
"""

import importlib
import os
import sys
from collections.abc import Callable, Mapping, MutableMapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Final, Protocol, Self

import msgspec

from amas.clock import monotonic_s
from amas.imports import absent
from amas.observe import events
from amas.observe.logfiles import LogFile
from amas.secrets import scrubbed_line
from amas.settings import LogSettings

LEVELS: Final = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40, "CRITICAL": 50}

LINE_BYTES_MAX = 256 << 10
"""Of a line: whoever looks reads some megabytes of a file, which must hold more than one agent's."""
FIELD_CHARS_MAX, FIELDS_MAX, NAME_CHARS_MAX = 4096, 32, 256
"""What a line that is longer keeps of each of its fields, and how many of them."""


RATION_BYTES, RATION_BYTES_PER_S = 4 << 20, 64 << 10
"""Of lines that are rationed: at first, and then for every second. An agent that logs all day in a circle would otherwise have
the oldest files go, which hold what others said. 64 KiB are some 200 lines."""


_Tell = Callable[[str, str, dict[str, Any]], None]
"""Writes a line: its level, its message, its fields."""


class Log(Protocol):
    """What code that logs holds."""

    def debug(self, message: str, /, **fields: Any) -> None:
        """Log what only a search for a mistake needs."""

    def info(self, message: str, /, **fields: Any) -> None:
        """Log a decision about the fleet, or an agent's own word on its task."""

    def warning(self, message: str, /, **fields: Any) -> None:
        """Log what went wrong and mended itself."""

    def error(self, message: str, /, **fields: Any) -> None:
        """Log what somebody should look at."""

    def critical(self, message: str, /, **fields: Any) -> None:
        """Log what ends the process."""

    def bind(self, **fields: Any) -> Self:
        """Return a log that adds `fields` to every line."""
        ...


class HostLog(Log, Protocol):
    """What a host holds: agents' words may be rationed, its own aren't."""

    def rationed(self) -> Log:
        """Return a log that leaves lines out once they are too many, and says so."""
        ...


def open_log(path: Path | None, *, level: str = "INFO", **fields: Any) -> HostLog:
    """Return a log that appends to `path`, or to standard error for None, whatever is at least as grave as `level`."""
    _import_structlog()
    import structlog

    threshold = LEVELS[level]

    class Bound(structlog.BoundLoggerBase):
        """structlog's own methods take the message as `event`, which is a field here."""

        def _say(self, name: str, severity: int, message: str, fields: dict[str, Any]) -> None:
            if severity >= threshold:
                _tell_unless_rationed(self, name, message, fields)

        def rationed(self) -> Log:
            return type(self)(_Ration(self._logger), self._processors, self._context)

        def bind(self, **fields: Any) -> Self:
            return super().bind(**{field: value for field, value in fields.items() if field not in self._context})

        def debug(self, message: str, /, **fields: Any) -> None:
            self._say("debug", 10, message, fields)

        def info(self, message: str, /, **fields: Any) -> None:
            self._say("info", 20, message, fields)

        def warning(self, message: str, /, **fields: Any) -> None:
            self._say("warning", 30, message, fields)

        def error(self, message: str, /, **fields: Any) -> None:
            self._say("error", 40, message, fields)

        def critical(self, message: str, /, **fields: Any) -> None:
            self._say("critical", 50, message, fields)

    return Bound(
        _lines(path),
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True, key="at"),
            _render,
        ],
        context=dict(fields),
    )


def _lines(path: Path | None) -> "LogFile | _StandardError":
    """Return where lines go."""
    return LogFile(path, bytes_max=LogSettings.read().file_mb << 20) if path else _StandardError()


def _import_structlog() -> None:
    """Import structlog without rich, which it would use for people's terminals and which takes longer than all the rest of it."""
    if "structlog" not in sys.modules:
        with absent("rich"):
            importlib.import_module("structlog")


_of_process: Log | None = None


def use_log(log: Log) -> None:
    """Make `log` this process's own: what `process_log` returns from now on."""
    global _of_process  # noqa: PLW0603  a process has one
    _of_process = log


def process_log() -> Log:
    """Return this process's own log; until an entry has called `use_log`, that is standard error."""
    if _of_process is None:
        use_log(open_log(None))
    assert _of_process is not None
    return _of_process


class _StandardError:
    """Where lines go that no file was named for."""

    def __init__(self) -> None:
        self._file = os.dup(sys.stderr.fileno())

    def msg(self, line: bytes) -> None:
        with suppress(OSError):
            os.write(self._file, line + b"\n")

    def __del__(self) -> None:
        os.close(self._file)


class _Ration:
    """Where lines go that are rationed. What is left out costs next to nothing: it isn't even made a line."""

    def __init__(self, lines: Any) -> None:
        self._lines, self._left, self._at_s, self._left_out = lines, float(RATION_BYTES), monotonic_s(), 0

    def takes(self, tell: _Tell) -> bool:
        """Return whether the next line is written; `tell` is told when lines begin to be left out, and how many were."""
        if not self._left_out and self._left > 0:
            return True
        now_s = monotonic_s()
        self._left = min(RATION_BYTES, self._left + (now_s - self._at_s) * RATION_BYTES_PER_S)
        self._at_s = now_s
        if self._left < (RATION_BYTES_PER_S if self._left_out else 1):  # a second's worth at a time, not line by line
            self._left_out += 1
            if self._left_out == 1:
                tell("warning", "this logs more than is kept: lines are left out", {"event": events.LOG_FLOODED})
            return False
        if self._left_out:
            lines, self._left_out = self._left_out, 0
            tell("warning", "lines were left out here", {"event": events.LOG_FLOODED, "lines": lines})
        return True

    def msg(self, line: bytes) -> None:
        """Write a line."""
        self._left -= len(line)
        self._lines.msg(line)


def _beside(bound: Mapping[str, Any], fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return fields under names that stand beside those that a log is bound to."""
    return {f"{field}_" if field in bound else field: value for field, value in fields.items()}


def _tell(log: Any, name: str, message: str, fields: dict[str, Any]) -> None:
    """Write a line of a log of structlog's."""
    arguments, keywords = log._process_event(name, None, {"message": message, **_beside(log._context, fields)})
    log._logger.msg(*arguments, **keywords)


def _tell_unless_rationed(log: Any, name: str, message: str, fields: dict[str, Any]) -> None:
    lines = log._logger
    if not isinstance(lines, _Ration) or lines.takes(partial(_tell, log)):
        _tell(log, name, message, fields)


def _render(logger: Any, name: str, line: MutableMapping[str, Any]) -> bytes:
    try:
        told = msgspec.json.encode(line, enc_hook=str)
    except (TypeError, ValueError, RecursionError):  # a lone surrogate, a key that is no text, a value that holds itself
        told = msgspec.json.encode({_spelt(name): _spelt(value) for name, value in list(line.items())[:FIELDS_MAX]})
    if len(told) > LINE_BYTES_MAX:
        ours = {name: line[name] for name in ("at", "level", "message", "event", "agent_id", "task_id") if name in line}
        fields = list({**ours, **line}.items())[:FIELDS_MAX]
        told = msgspec.json.encode({name[:NAME_CHARS_MAX]: _shortened(value) for name, value in fields})
    return scrubbed_line(told)


def _spelt(value: Any) -> str:
    """Return what stands in a line for what JSON can't say: agents log whatever they like, and their hosts log what they said."""
    try:
        text = value if isinstance(value, str) else repr(value)
    except Exception as error:  # noqa: BLE001  foreign code, too
        text = f"({type(error).__name__})"
    return text[:FIELD_CHARS_MAX].encode("utf-8", "backslashreplace").decode()


def _shortened(value: Any) -> Any:
    """Return a field of a line that is too long; whoever wants it whole keeps it as an artifact."""
    text = value if isinstance(value, str) else msgspec.json.encode(value, enc_hook=str).decode()
    if len(text) <= FIELD_CHARS_MAX:
        return value if isinstance(value, str | int | float | None) else text
    return f"{text[:FIELD_CHARS_MAX]}... ({len(text):,} characters)"
