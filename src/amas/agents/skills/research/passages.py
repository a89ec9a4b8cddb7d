"""What research works on: passages of documents, tables, and citations that name a passage and quote it.

A passage's id is `<path>#<number>`, its number counting from 1 within the file; `place` says to a person where it is: `page 3`,
`heading Pricing`, `sheet Prices, row 5`. A citation is true when its quote stands in its passage, white space aside.
Pure. Called by every module of this package.
"""

import re

import msgspec


class Passage(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a document that can be cited."""

    id: str
    path: str
    place: str
    text: str
    heading: str = ""
    """The nearest heading above it: searched like its text, quoted never."""


class Table(msgspec.Struct, frozen=True, kw_only=True):
    """A table of a document; row `i` is the passage `row_ids[i]`."""

    path: str
    place: str
    title: str
    columns: list[str]
    rows: list[list[str]]
    row_ids: list[str]


class Citation(msgspec.Struct, frozen=True, kw_only=True):
    """Where a statement comes from."""

    id: str
    """The passage's."""
    path: str
    place: str
    quote: str


class Claim(msgspec.Struct, frozen=True, kw_only=True):
    """A statement of the deliverable and its sources, of which it has one at least."""

    text: str
    citations: list[Citation]
    about: str = ""
    """What groups it with others: a file, or a table."""


def one_line(text: str) -> str:
    """Return the text with every run of white space as one blank."""
    return " ".join(text.split())


def cite(passage: Passage, quote: str) -> Citation:
    """Return a citation of words that stand in a passage."""
    return Citation(id=passage.id, path=passage.path, place=passage.place, quote=one_line(quote))


def sentences(text: str) -> list[str]:
    """Return a text's sentences, each as it stands there but for white space."""
    return [one for one in re.split(r"(?<=[.!?])\s+(?=[\"'(]?[A-Z0-9])", one_line(text)) if one]
