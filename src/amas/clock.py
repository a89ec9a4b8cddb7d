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


def now_ms() -> int:
    """Return the wall clock as milliseconds since the epoch."""
    return time.time_ns() // 1_000_000


def monotonic_s() -> float:
    """Return a clock in seconds that never goes back, for durations only."""
    return time.monotonic()


def _uuid7(milliseconds: int, tail: bytes) -> str:
    value = (milliseconds << 80) | (int.from_bytes(tail[:10], "big") & ((1 << 80) - 1))
    value = (value & ~(0xF << 76)) | (0x7 << 76)  # version 7
    value = (value & ~(0x3 << 62)) | (0x2 << 62)  # RFC 9562 variant
    return str(UUID(int=value))


def new_id() -> str:
    """Return a new UUIDv7, sortable by its time."""
    return _uuid7(time.time_ns() // 1_000_000, os.urandom(10))


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
