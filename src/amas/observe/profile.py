"""Where a process's CPU time goes, by looking at all threads' stacks again and again from a thread of its own.

What a thread used of the processor since the last look counts for the stack that it is found with, so waiting weighs nothing. It
costs the process about one per cent while it runs, and nothing when it doesn't.
"""

import sys
import threading
import time
from types import CodeType, FrameType
from typing import Any

from amas.clock import monotonic_s

LOOK_EVERY_S = 0.01
SECONDS_MAX = 20.0
"""Less than clients wait for an answer."""
DEPTH_MAX = 100
STACKS_MAX = 20_000
"""Different ones; what comes beyond counts as `(others)`."""

Stack = tuple[tuple[CodeType, int], ...]
"""Outermost first: the code and the line that it is at."""


def profile(seconds: float) -> tuple[dict[Stack, float], float]:
    """Return CPU seconds by stack, and how long was looked; blocking: call it in a thread, which isn't looked at itself."""
    me, found = threading.get_ident(), dict[Stack, float]()
    used: dict[int, float] = {}
    began_s = monotonic_s()
    while (elapsed_s := monotonic_s() - began_s) < seconds:
        for ident, frame in sys._current_frames().items():
            if ident == me:
                continue
            now_s = _cpu_s(ident)
            more_s = now_s - used.get(ident, now_s)
            used[ident] = now_s
            if more_s > 0:
                stack = _stack(frame)
                key = stack if stack in found or len(found) < STACKS_MAX else ()
                found[key] = found.get(key, 0.0) + more_s
        time.sleep(LOOK_EVERY_S)
    return found, elapsed_s


def _cpu_s(ident: int) -> float:
    try:
        return time.clock_gettime(time.pthread_getcpuclockid(ident))
    except OSError:  # it ended meanwhile
        return 0.0


def _stack(frame: FrameType | None) -> Stack:
    found: list[tuple[CodeType, int]] = []
    while frame is not None and len(found) < DEPTH_MAX:
        found.append((frame.f_code, frame.f_lineno))
        frame = frame.f_back
    return tuple(reversed(found))


def speedscope(found: dict[Stack, float], elapsed_s: float, *, name: str) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """Return `shared` and `profiles` of speedscope's file format."""
    places: dict[tuple[str, str, int], int] = {}
    samples, weights = [], []
    for stack, weight in sorted(found.items(), key=lambda each: -each[1]):
        keys = [(code.co_qualname, code.co_filename, code.co_firstlineno) for code, _ in stack] or [("(others)", "", 0)]
        samples.append([places.setdefault(key, len(places)) for key in keys])
        weights.append(weight)
    frames = [{"name": function, "file": file, "line": line} for function, file, line in places]
    about = {
        "type": "sampled",
        "name": f"{name}, {elapsed_s:.1f} s",
        "unit": "seconds",
        "startValue": 0,
        "endValue": sum(weights),
    }
    return {"frames": frames}, [{**about, "samples": samples, "weights": weights}]
