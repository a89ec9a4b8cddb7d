"""What a command's exit code says, and how it ends where something went wrong."""

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import NoReturn

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO})
"""What a write fails with where there is no room, or the disk is broken."""


class ExitCode(IntEnum):
    """Documented in `amas.cli.main` and in the README."""

    OK = 0
    FAILED = 1
    WRONG_INPUT = 2
    UNUSABLE = 3
    CANCELLED = 4
    INTERRUPTED = 130
    UNREAD = 141
    """As shells have it for programs that a closed pipe ends."""


@contextmanager
def reported() -> Iterator[None]:
    """End the process for an error of the block: every expected one with one sentence and its exit code."""
    try:
        with _printed():
            yield
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        _end_unread(ExitCode.UNREAD)
    except OSError as error:
        if error.errno not in FULL or error.filename is not None:
            raise
        _complain(f"what was asked for can't be written: {error.strerror}")
        _end_unread(ExitCode.UNUSABLE)
    except Exception as error:
        from amas.errors import AmasError

        expected: Exception = error
        while isinstance(expected, ExceptionGroup) and len(expected.exceptions) == 1:  # what one of several tasks ended with
            expected = expected.exceptions[0]
        if not isinstance(expected, AmasError):
            raise
        _complain(expected)
        sys.exit(ExitCode.WRONG_INPUT if expected.act == "author" else ExitCode.UNUSABLE)


@contextmanager
def _printed() -> Iterator[None]:
    """Have all that the block prints written at its end, where what goes wrong with that can still be said.

    A process that was started without outputs (`>&-`) prints to nowhere.
    """
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open("w"))  # noqa: SIM115  it is the process's own from now on
    try:
        yield
    except SystemExit as ended:
        if isinstance(ended.__context__, BrokenPipeError):  # typer has made an exit of it
            raise ended.__context__ from None
        sys.stdout.flush()
        raise


def _complain(sentence: object) -> None:
    from amas.cli.output import complain

    complain(sentence)


def _end_unread(code: ExitCode) -> NoReturn:
    """End without what couldn't be printed: Python would try to, and complain, once more at its end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)
    sys.exit(code)
