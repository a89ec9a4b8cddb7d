"""How commands print: tables for people, JSON for programs.

Keeps true: whatever titles, results and failures hold, which agents and their sources write, no terminal obeys it. The console
itself sees to that, so no command can forget it; what is printed past the console goes through `harmless` or is JSON. Nor is what
they write in brackets taken for our own markup: it is shown as it is.
"""

import io
import json
import re
import sys
import time
import unicodedata
from collections.abc import Callable, Iterable
from contextlib import redirect_stdout
from datetime import UTC, datetime
from functools import cache
from typing import IO, TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from rich.console import Console, ConsoleOptions, RenderableType
    from rich.segment import Segment
    from rich.text import Text

    from amas.errors import AmasError


PIPE_COLUMNS = 1_000_000
"""A pipe has no width: whoever reads it wants one line for one thing, and names that are whole."""
_PADDING = re.compile(r" +$", re.MULTILINE)
_OBEYED = re.compile("[\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")
"""What JSON lets stand as it is and a terminal may obey: the control characters above ASCII's, and what turns writing round."""
_NOT_OURS = re.compile(r"(\\*)\[(?!/?(?:bold|dim|red|green|yellow)\])(?=[a-z#/@])")
"""What rich would take for markup, but for the words that our commands use."""
WHY_CHARS = 300
"""Of a reason, in a list or a tree."""
WATCH_EVERY_S = 2.0
"""As often as hosts tell what they do."""


@cache
def console() -> "Console":
    """Return the terminal for results; errors go to stderr by themselves."""
    from rich.console import Console
    from rich.errors import MarkupError
    from rich.segment import Segment

    class Harmless(Console):
        """Lets no character through to the terminal that isn't shown, but for rich's own; only our own words are markup."""

        def render_str(self, text: str, **options: Any) -> "Text":
            try:
                return super().render_str(_NOT_OURS.sub(r"\1\1\\[", text), **options)
            except MarkupError:  # somebody's `[/red]`: then nothing in it is markup
                return super().render_str(text, **{**options, "markup": False})

        def render(self, renderable: "RenderableType", options: "ConsoleOptions | None" = None) -> "Iterable[Segment]":
            for segment in super().render(renderable, options):
                yield segment if segment.control or segment.text.isprintable() else Segment(harmless(segment.text), segment.style)

    if sys.stdout.isatty():
        return Harmless(highlight=False, emoji=False)
    return Harmless(highlight=False, emoji=False, width=PIPE_COLUMNS, file=cast("IO[str]", _Unpadded()))


class _Unpadded(io.TextIOBase):
    """Standard output without the spaces that fill tables' last columns."""

    def write(self, text: str) -> int:
        return sys.stdout.write(_PADDING.sub("", text))

    def flush(self) -> None:
        sys.stdout.flush()


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


def json_text(value: Any, *, indent: int | None = None) -> str:
    """Return JSON with letters as they are, and what a terminal might obey as `\\u009b`: the same value to whoever reads it."""
    return _OBEYED.sub(lambda found: f"\\u{ord(found[0]):04x}", json.dumps(value, indent=indent, ensure_ascii=False))


def print_json(value: Any) -> None:
    """Print a value for programs, one document."""
    print(json_text(value, indent=2))


def complain(sentence: object) -> None:
    """Say on standard error what is wrong, in one line."""
    print(f"amas: {harmless(' '.join(str(sentence).split()))}", file=sys.stderr)


def remark(sentence: str) -> None:
    """Say something about a result on standard error, where it is in no program's way."""
    print(harmless(sentence), file=sys.stderr)


class Away:
    """What a command that watches says of a fleet that doesn't answer: one line for each reason, until it answers again."""

    def __init__(self) -> None:
        self._said = ""

    def told(self, error: "AmasError") -> None:
        """Say why there is nothing to show; an error of the command's author is raised."""
        if error.act == "author":
            raise error
        if str(error) != self._said:
            self._said = str(error)
            complain(f"{error}; asked again every {WATCH_EVERY_S:g} s")

    def over(self) -> None:
        """It answered."""
        self._said = ""


class _Held(io.StringIO):
    """What is printed to be shown later, in the looks of where that is."""

    def __init__(self, *, terminal: bool) -> None:
        super().__init__()
        self._terminal = terminal

    def isatty(self) -> bool:
        return self._terminal


def watched(show: Callable[[], None], *, watch: bool) -> None:
    """Show something once, or anew every `WATCH_EVERY_S` seconds until interrupted; a terminal has it in the same place.

    A fleet that doesn't answer meanwhile, as while it starts anew, is said in a line below what was shown last, and asked again.
    """
    from amas.errors import AmasError

    show()
    away = Away()
    while watch:
        sys.stdout.flush()
        time.sleep(WATCH_EVERY_S)
        try:
            shown = _shown(show)
        except AmasError as error:
            away.told(error)
            continue
        away.over()
        if sys.stdout.isatty():
            console().clear()
        sys.stdout.write(shown)


def _shown(show: Callable[[], None]) -> str:
    """Return what a command prints, whole: one that fails on the way has shown nothing."""
    with redirect_stdout(_Held(terminal=sys.stdout.isatty())) as held:
        show()
    return held.getvalue()


def value_of(text: str, what: str) -> Any:
    """Return what was written on the command line: JSON where it is, text where it isn't, None for nothing.

    InputUnusable where it begins as JSON does and isn't, which is a slip: `what` says of which argument.
    """
    from amas.errors import InputUnusable

    if not text:
        return None
    try:
        return json.loads(text)
    except ValueError as error:
        if text.lstrip()[:1] in ("{", "[", '"'):
            why = f"{what} begins as JSON does, but isn't any: {error}; a text that begins so stands in double quotes"
            raise InputUnusable(why) from error
        return text


def counted(count: int, one: str) -> str:
    """Return `1 pool`, `3 pools`."""
    return f"{count:,} {one}{'' if count == 1 else 's'}"


def in_short(why: str) -> str:
    """Return the beginning of a reason in one line, which its agent may have made long: `amas tasks TASK` shows all of it."""
    return " ".join(why[:WHY_CHARS].split()) + (" …" if len(why) > WHY_CHARS else "")


def moment(ms: int | None) -> str:
    """Return a time as people read it, in their zone; empty for none."""
    return datetime.fromtimestamp(ms / 1000, tz=UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S") if ms else ""


def seconds(start_ms: int | None, end_ms: int | None) -> str:
    """Return how long something took; empty where it hasn't begun or ended."""
    return f"{(end_ms - start_ms) / 1000:.1f} s" if start_ms and end_ms else ""


def short(an_id: str | None) -> str:
    """Return the end of an id, which is what tells ids of one moment apart; commands take it in an id's place."""
    return (an_id or "")[-12:]
