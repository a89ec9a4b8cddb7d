"""The `amas` command in this very process: all its commands as they are declared, and calls of them on a screen or in a pipe.

A process of its own for each would cost a third of a second; what only a process can show, such as signals, has tests elsewhere.
"""

import io
import re
import sys
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from typing import Any, NamedTuple

import pytest
import typer.main

from amas.cli import main, output

STYLING = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Leaf(NamedTuple):
    """A command that is no group."""

    words: tuple[str, ...]
    options: frozenset[str]
    """Such as `--json`."""
    required: tuple[str, ...]
    """What arguments that must be given are called, such as `ID`."""


class Done(NamedTuple):
    """What came of a call."""

    code: int
    out: str
    err: str


class Screen(io.StringIO):
    """A terminal, as far as programs can tell."""

    def isatty(self) -> bool:
        return True


def leaves() -> dict[str, Leaf]:
    """Return every command by its name, a group's with a space in it."""
    return {" ".join(leaf.words): leaf for leaf in _below((), typer.main.get_command(main.app))}


def _below(words: tuple[str, ...], command: Any) -> Iterator[Leaf]:
    if hasattr(command, "commands"):
        for name, each in command.commands.items():
            yield from _below((*words, name), each)
        return
    options = {name for each in command.params for name in each.opts if name.startswith("--")}
    needed = [each for each in command.params if each.required and each.param_type_name == "argument"]
    yield Leaf(words, frozenset(options), tuple(each.metavar or each.name.upper() for each in needed))


def call(*arguments: str, columns: int = 0) -> Done:
    """Call `amas` with these arguments: in a pipe, or on a screen that is so wide."""
    out, err = Screen() if columns else io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out), redirect_stderr(err):
        patch.setattr(sys, "argv", ["amas", *arguments])
        patch.setenv("TERM", "xterm")
        patch.setenv("COLUMNS", str(columns or 80))  # which mean nothing to a pipe
        output.console.cache_clear()
        try:
            main.main()
            code: Any = 0
        except SystemExit as end:
            code = end.code or 0
        finally:
            output.console.cache_clear()
    return Done(int(code), STYLING.sub("", out.getvalue()), err.getvalue())
