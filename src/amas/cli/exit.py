"""What a command's exit code says."""

from enum import IntEnum


class ExitCode(IntEnum):
    """Documented in `amas.cli.main` and in the README."""

    OK = 0
    FAILED = 1
    WRONG_INPUT = 2
    UNUSABLE = 3
    CANCELLED = 4
    INTERRUPTED = 130
