"""The time, and ids that carry it. The only module that reads a clock or draws chance for the engine's callers.

Engine times are integer milliseconds since the epoch; durations in settings and policies are float seconds.
"""

import os
import time
from hashlib import sha256
from uuid import UUID

SERVER_CLOCK = 0
"""Passed as `now_ms`, it makes the engine use its own server's clock: right for everyone but the simulator and tests."""

_TIME_BITS_END = 12  # hexadecimal digits of a UUIDv7 that hold its milliseconds (RFC 9562, section 5.7)


_UPTIME: int | None = getattr(time, "CLOCK_BOOTTIME", None)  # Linux


def now_ms() -> int:
    """Return the wall clock as milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def now_ns() -> int:
    """Return the wall clock as nanoseconds since the epoch, for spans."""
    return time.time_ns()


def monotonic_s() -> float:
    """Return a clock in seconds that never goes back, for durations only."""
    return time.monotonic()


def uptime_s() -> float:
    """Return a clock in seconds that never goes back or is set, and goes on while the machine sleeps where the system has one."""
    return time.clock_gettime(_UPTIME) if _UPTIME is not None else time.monotonic()


def _uuid7(milliseconds: int, tail: bytes) -> str:
    value = (milliseconds << 80) | (int.from_bytes(tail[:10], "big") & ((1 << 80) - 1))
    value = (value & ~(0xF << 76)) | (0x7 << 76)  # version 7
    value = (value & ~(0x3 << 62)) | (0x2 << 62)  # RFC 9562 variant
    return str(UUID(int=value))


_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}  # RFC 9562: the two highest bits are 10
_CHANCE = 19  # hexadecimal digits of a UUIDv7 that are drawn


def new_ids(count: int) -> list[str]:
    """Return new UUIDv7s, sortable by their time, for a seventh of what as many calls of `new_id` cost."""
    moment = f"{time.time_ns() // 1_000_000:012x}"
    head, drawn = f"{moment[:8]}-{moment[8:]}-7", os.urandom(_CHANCE * count // 2 + 1).hex()
    return [
        f"{head}{drawn[at : at + 3]}-{_VARIANT[drawn[at + 3]]}{drawn[at + 4 : at + 7]}-{drawn[at + 7 : at + 19]}"
        for at in range(0, _CHANCE * count, _CHANCE)
    ]


def new_id() -> str:
    """Return a new UUIDv7, sortable by its time."""
    return new_ids(1)[0]


def child_id(parent_id: str, key: str, generation: int = 0) -> str:
    """Return the id of `parent_id`'s sub-task `key`: the same on every attempt, so that a repeated spawn finds its first.

    A parent that was reset to start anew is of a higher `generation`, whose sub-tasks are others.
    """
    milliseconds = int(parent_id.replace("-", "")[:_TIME_BITS_END], 16)
    name = f"{parent_id}\n{key}\n{generation}" if generation else f"{parent_id}\n{key}"
    return _uuid7(milliseconds, sha256(name.encode()).digest())


def timed_id(at_ms: int, name: str) -> str:
    """Return the id of what `name` stands for at a time: always the same, so that who makes it twice finds the first."""
    return _uuid7(at_ms, sha256(f"{at_ms}\n{name}".encode()).digest())
