"""Secrets by reference, in what tools are declared with.

`env:NAME` is an environment variable of the host's, `file:/path` a file's text. They are read at each use and never kept, so that
a secret that changes is the new one at once; what a result has of them is blotted out.
"""

import os
from collections.abc import Iterable
from pathlib import Path

from amas.errors import FleetError

ENVIRONMENT, FILE = "env:", "file:"
SECRET_BYTES_MAX = 64 << 10
BLOT = "[secret]"
BLOTTED_CHARS_MIN = 4
"""What is shorter is no secret, and stands in any text."""


def refers(value: str) -> bool:
    """Return whether a value is a reference."""
    return value.startswith((ENVIRONMENT, FILE))


def resolve(value: str) -> str:
    """Return what a value stands for, itself where it is no reference; FleetError where there is no such secret."""
    if value.startswith(ENVIRONMENT):
        name = value.removeprefix(ENVIRONMENT)
        found = os.environ.get(name, "")
        if not found:
            raise FleetError(f"{value} is wanted, and the environment has no variable {name}")
        return found
    if value.startswith(FILE):
        try:
            with Path(value.removeprefix(FILE)).open(encoding="utf-8") as file:
                return file.read(SECRET_BYTES_MAX).strip()
        except (OSError, UnicodeDecodeError) as error:
            raise FleetError(f"{value} is wanted, and can't be read: {error}") from error
    return value


def mistake(value: str) -> str:
    """Return why a value can't be resolved here, in a sentence; "" when it can."""
    try:
        resolve(value)
    except FleetError as error:
        return str(error)
    return ""


def blotted(text: str, secrets: Iterable[str]) -> str:
    """Return a text without the secrets that stand in it."""
    for secret in secrets:
        if len(secret) >= BLOTTED_CHARS_MIN:
            text = text.replace(secret, BLOT)
    return text
