"""What a command's exit code says, and how it ends where something went wrong."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum


class ExitCode(IntEnum):
    """Documented in `amas.cli.main` and in the README."""

    OK = 0
    FAILED = 1
    WRONG_INPUT = 2
    UNUSABLE = 3
    CANCELLED = 4
    INTERRUPTED = 130


@contextmanager
def reported() -> Iterator[None]:
    """End the process for an error of the block: every expected one with one sentence and its exit code."""
    try:
        yield
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)
    except Exception as error:
        from amas.cli.output import complain
        from amas.errors import AmasError

        expected: Exception = error
        while isinstance(expected, ExceptionGroup) and len(expected.exceptions) == 1:  # what one of several tasks ended with
            expected = expected.exceptions[0]
        if not isinstance(expected, AmasError):
            raise
        complain(expected)
        sys.exit(ExitCode.WRONG_INPUT if expected.act == "author" else ExitCode.UNUSABLE)
