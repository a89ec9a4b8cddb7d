"""How commands print: tables for people, JSON for programs."""

import json
import os
import sys
import unicodedata
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console


PIPE_COLUMNS = 200


@cache
def console() -> "Console":
    """Return the terminal for results; errors go to stderr by themselves."""
    from rich.console import Console

    # A pipe has no width: whoever reads it wants whole lines.
    width = None if sys.stdout.isatty() or "COLUMNS" in os.environ else PIPE_COLUMNS
    return Console(highlight=False, width=width)


def harmless(value: object) -> str:
    """Return a text that others wrote so that a terminal shows it and obeys nothing in it: `\\x1b` for an escape character.

    Line ends stay, as in tracebacks. Besides control characters, those that turn the direction of writing are shown, since a line
    can be made to look like another with them.
    """
    return "".join(one if one in {"\n", "\t"} or _shows(one) else _spelt(one) for one in str(value))


def _shows(character: str) -> bool:
    return unicodedata.category(character) not in {"Cc", "Cf", "Cs", "Zl", "Zp"}


def _spelt(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def print_json(value: Any) -> None:
    """Print a value for programs, one document."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def complain(sentence: str) -> None:
    """Say on standard error what is wrong, in one line."""
    print(f"amas: {' '.join(sentence.split())}", file=sys.stderr)


def moment(ms: int | None) -> str:
    """Return a time as people read it, in their zone; empty for none."""
    return datetime.fromtimestamp(ms / 1000, tz=UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S") if ms else ""


def seconds(start_ms: int | None, end_ms: int | None) -> str:
    """Return how long something took; empty where it hasn't begun or ended."""
    return f"{(end_ms - start_ms) / 1000:.1f} s" if start_ms and end_ms else ""


def short(an_id: str | None) -> str:
    """Return the end of an id, which is what tells ids of one moment apart; commands take it in an id's place."""
    return (an_id or "")[-12:]
