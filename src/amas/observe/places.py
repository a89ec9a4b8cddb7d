"""Where code is that waits or works: of an agent the innermost function of its author, of our own duties the innermost of ours.

What Python and libraries do below them is left out, unless there is nothing else. Called by diagnostics and by hosts, from any
thread: what moves on meanwhile is told as it was a moment ago.
"""

import asyncio
import sysconfig
from pathlib import Path
from types import FrameType
from typing import Any

PLACE_CHARS_MAX = 300
_DEPTH_MAX = 200
_AMAS = str(Path(__file__).parents[1])
_LIBRARIES = tuple(sysconfig.get_path(name) for name in ("stdlib", "platstdlib", "purelib", "platlib"))


def of_task(task: "asyncio.Task[Any]") -> str:
    """Return where a task waits: `function (file:line)`, "" for one that is over."""
    return of_frames(_awaited(task.get_coro()))


def of_thread(frame: FrameType | None) -> str:
    """Return where a thread is, by its innermost frame."""
    frames = list[FrameType]()
    while frame is not None and len(frames) < _DEPTH_MAX:
        frames.append(frame)
        frame = frame.f_back
    return of_frames(frames[::-1])


def of_frames(frames: list[FrameType]) -> str:
    """Return the innermost of some frames, outermost first, that an agent's author wrote, else of ours, else of all."""
    frame = next((frame for rank in (_of_author, _of_amas, bool) for frame in reversed(frames) if rank(frame)), None)
    return f"{frame.f_code.co_qualname} ({frame.f_code.co_filename}:{frame.f_lineno})"[:PLACE_CHARS_MAX] if frame else ""


def _of_amas(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(_AMAS)


def _of_author(frame: FrameType) -> bool:
    return not frame.f_code.co_filename.startswith((_AMAS, *_LIBRARIES, "<"))


def _awaited(coroutine: Any) -> list[FrameType]:
    """Return the frames of a coroutine and of what it awaits, outermost first."""
    found = list[FrameType]()
    while coroutine is not None and len(found) < _DEPTH_MAX:
        for kind in ("cr", "gi", "ag"):
            if (frame := getattr(coroutine, f"{kind}_frame", None)) is not None:
                found.append(frame)
                coroutine = getattr(coroutine, "gi_yieldfrom" if kind == "gi" else f"{kind}_await", None)
                break
        else:
            break
    return found
