"""Two files of the engine's functions share a key only where their headers say so: each key has one file that keeps it true."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import amas.engine

FOLDER = Path(amas.engine.__file__).parent / "functions"
FILES = {path.name: path.read_text() for path in sorted(FOLDER.glob("*.lua"))}
BASE = "00_base.lua"
SHARES_BASE = {name for name in FILES if name < "51"}  # the transitions of tasks: one program over the keys that the base lists
MADE = re.compile(r"(?:\bP|keys\[1\]) \.\. ':([\w:]*)'( \.\.)?|\bkey\('([\w:]+)'")
SEVERAL = re.compile(r"for _, kind in ipairs\(\{([^}]*)\}\)")
UNNAMED = re.compile(r"(?:\bP|keys\[1\]) \.\. (?:[^']|':')|\bkey\((?!')(?!kind\b)")
NAMED = re.compile(r"\bP:([a-z][\w:]*)")


def code_of(text: str) -> str:
    return re.sub(r"--.*", "", text)


def header_of(text: str) -> list[str]:
    """Return the comment at a file's head, by lines."""
    return re.match(r"(?:--.*\n)*", text)[0].splitlines()


def used(text: str) -> set[str]:
    """Return the names of the keys and channels that a file makes; a family's, of which there is one for each task, say, end with
    ':' or '*'."""
    found = MADE.findall(code_of(text))
    made = {f"{kind}:" if kind else name + "*" * (bool(more) and not name.endswith(":")) for name, more, kind in found} - {""}
    return made | {f"{kind}:" for kinds in SEVERAL.findall(text) for kind in re.findall(r"\w+", kinds)}


def named(text: str) -> Iterator[tuple[str, str]]:
    """Return the names that a header has, and the file that the same line says each is of ('' for its own)."""
    for line in header_of(text):
        of = re.search(r"\b\d\d_\w+\.lua", line)
        for name in NAMED.findall(line):
            yield name, of[0] if of else ""


def meet(one: str, other: str) -> bool:
    """Return whether two names, or a family and a name, can be one key."""
    families = [name.rstrip("*") for name in (one, other) if name[-1] in ":*"]
    return one == other or any(one.startswith(family) and other.startswith(family) for family in families)


@pytest.mark.parametrize("file", FILES)
def test_a_file_s_header_names_the_keys_that_it_uses(file: str) -> None:
    headers = SHARES_BASE if file in SHARES_BASE else {file}
    known = {name for header in headers for name, _ in named(FILES[header])}
    assert sorted(name for name in used(FILES[file]) if not any(meet(name, each) for each in known)) == []


def test_a_key_that_two_headers_name_is_one_file_s_and_the_other_says_whose() -> None:
    all_named = [(file, name, of) for file, text in FILES.items() for name, of in named(text)]
    owned = [(file, name) for file, name, of in all_named if not of or of == file]
    twice = {
        (name, file, other)
        for file, name in owned
        for other, its in owned
        if file < other and meet(name, its) and not (file == BASE and other in SHARES_BASE)
    }
    assert sorted(twice) == []
    unknown = [(file, name, of) for file, name, of in all_named if of and not any(meet(name, its) for its in used(FILES[of]))]
    assert unknown == []


def test_every_key_s_name_is_written_out_where_it_is_made() -> None:
    """So that the other tests see it, and whoever searches for it, too."""
    found = {file: UNNAMED.findall(code_of(text)) for file, text in FILES.items()}
    assert {file: lines for file, lines in found.items() if lines and file != BASE} == {}
