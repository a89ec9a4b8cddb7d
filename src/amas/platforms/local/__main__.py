"""`python -m amas.platforms.local FD`: a supervisor in the background.

FD is an inherited pipe that takes the report; the first line of standard input is a `StartRequest` as JSON. Its output is
`logs/supervisor.log`. `control.start_fleet` starts it, nobody else.
"""

import asyncio
import contextlib
import io
import os
import sys
from typing import Any

import msgspec

from amas.errors import AmasError
from amas.platforms.local.request import Event, StartRequest
from amas.platforms.local.supervisor import supervise


class LossyLog(io.FileIO):
    """Standard output on a file that may be on a full disk: what can't be written is lost, and the fleet goes on."""

    def write(self, text: Any) -> int:
        """Write what can be written, and take the rest for written."""
        with contextlib.suppress(OSError):
            super().write(text)
        return len(text)


def print_to(descriptor: int) -> None:
    """Send anything printed to `descriptor`."""
    sys.stdout = sys.stderr = io.TextIOWrapper(LossyLog(descriptor, "w", closefd=False), write_through=True)


class ReportPipe:
    """The other end is read by `control.start_fleet` until the fleet is up; that it may be gone is no concern of the fleet's."""

    def __init__(self, descriptor: int) -> None:
        os.set_inheritable(descriptor, False)
        self._descriptor: int | None = descriptor

    def __call__(self, event: Event) -> None:
        """Write one line; the last event closes the pipe."""
        if self._descriptor is None:
            return
        with contextlib.suppress(OSError):
            os.write(self._descriptor, msgspec.json.encode(event) + b"\n")
        if event.what in ("up", "failed"):
            os.close(self._descriptor)
            self._descriptor = None


def main(descriptor: str) -> int:
    """Run the fleet and return the exit code."""
    print_to(sys.stderr.fileno())
    report = ReportPipe(int(descriptor))
    request = sys.stdin.buffer.readline()
    if not request:  # who wanted the fleet ended before saying which
        return 1
    try:
        asyncio.run(supervise(msgspec.json.decode(request, type=StartRequest), report))
    except AmasError as error:
        report(Event(what="failed", code=error.code, message=str(error)))
        print(f"the fleet didn't come up: {error}", file=sys.stderr)  # noqa: T201  standard error is the log
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
