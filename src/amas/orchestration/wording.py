"""Plain English goals, cut into clauses that say what is wanted, what isn't, and what alone is.

`read(text, vocabulary)` finds paths, mends typing errors against the vocabulary, cuts at conjunctions and stops, and carries a
negation as far as people mean it ("without tests, licences or security"). It knows the grammar of requests and no subject: which
words matter comes from the playbooks. Called by the rules planner. Must never guess at what the words ask for.
"""

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

import msgspec

PATH_WORD = "pathword"
"""Stands in the text where a path was; playbooks write `<path>`."""

_NOT, _ONLY = "xnotx", "xonlyx"

_STOP = frozenset(
    """
    a an the its it it's this that these those of for in on at to from into my our your their his her please can could would
    you we i me us want need like should shall will let lets also too as is are be been being was were do does have has had
    some any each every there here which what whose who if so very really then than about by my project's out up own
    more most help tell show find get put see use using new
    """.split()  # noqa: SIM905 - a list of words reads best as text
)
"""Words that carry no request; those that a playbook's phrase uses count all the same."""

_IMPERATIVES = frozenset(
    """
    run execute review check audit inspect document write create make produce generate report analyse analyze measure compute
    list find show give tell describe examine assess evaluate look go include do please deliver publish scan verify prepare
    summarise summarize test lint build draw compile
    """.split()  # noqa: SIM905 - a list of words reads best as text
)
"""Verbs with which a new request starts, so that a negation before it ends."""

_GRAMMAR = frozenset({"without", "skip", "except", "excluding", "only", "ignore", "omit", "and", "then", "everything"})

_REWRITES = tuple(
    (re.compile(pattern, re.IGNORECASE), into)
    for pattern, into in (
        (r"[’`´]", "'"),
        (r"\b(?:don'?t|do not) (?:forget|hesitate)(?: to)?\b", " "),
        (r"\bnot (?:only|just)\b", " "),
        (r"\bwrong with\b", "wrong"),
        (r"\bbut also\b", " and "),
        (r"\b(?:nothing (?:but|except|other than)|no more than)\b", f" {_ONLY} "),
        (r"\b(?:and )?nothing (?:else|more)\b", f" {_ONLY} "),
        (r"\b(?:only|just|solely|exclusively|merely)\b", f" {_ONLY} "),
        (r"\b(?:leav(?:e|ing)|rul(?:e|ing)) ((?:[\w'-]+ ){1,6}?)out\b", rf" {_NOT} \1 "),
        (r"\b(?:leav(?:e|ing)|rul(?:e|ing)) out\b", f" {_NOT} "),
        (
            r"\b(all|everything|anything) but\b"
            r"(?!\s+(?:please |do(?:n'?t| not)|not\b|never|without|no\b|skip|leav|exclud|omit|ignor|avoid))",
            rf"\1 {_NOT} ",
        ),
        (
            r"\b(?:(?:do|does|should|must|need|can|is|are|will|would)(?: not|n'?t)|cannot|dont|no need (?:to|for)"
            r"|not|never|nor|no"
            r"|without|skip(?:s|ped|ping)?|except(?:ing)?(?: for)?|exclud(?:e|ed|ing)|omit(?:ted|ting)?|ignor(?:e|ed|ing)"
            r"|avoid(?:ing)?|(?:other|rather) than|apart from|aside from|instead of|minus)\b",
            f" {_NOT} ",
        ),
    )
)
_CUT = re.compile(
    rf"({_NOT}|[;:!?()\n]|\.(?=\s|$)|,|&|\+|\b(?:and|or|then|but|plus|also|however|finally|afterwards|next|including|include"
    r"|with|as well as|along with|together with|followed by)\b)",
    re.IGNORECASE,
)
_ENDS_NEGATION = frozenset({";", ".", ":", "!", "?", "\n", "(", ")", "but", "then", "however", "finally", "afterwards", "next"})
_AFTERTHOUGHT = frozenset(
    {"be", "been", "run", "needed", "necessary", "required", "wanted", "included", "please", "done", "now", "checked", "executed"}
)
"""All that follows the negation in "the tests need not be run": it is about the words before it."""

_PATH = re.compile(
    r"""(?:https?://\S+|(?<![\w/])(?:~|\.{1,2})?/[^\s,;"'`]+|(?<![\w/])\.{1,2}(?=[\s,;]|$)|(?<![\w/])[\w.-]+(?:/[\w.-]+)+/?)"""
)
_WORD = re.compile(r"[a-z0-9]+(?:'[a-z]+)?", re.IGNORECASE)


class Clause(msgspec.Struct, frozen=True, kw_only=True):
    """One request within a goal."""

    text: str
    stems: frozenset[str]
    first: str
    """The stem of its first word that carries meaning."""
    content: tuple[str, ...]
    """Its words that carry meaning, as stems, in order."""
    negated: bool = False
    only: bool = False


class Reading(msgspec.Struct, frozen=True):
    """A goal as read."""

    clauses: tuple[Clause, ...]
    paths: tuple[str, ...]
    mended: tuple[tuple[str, str], ...]
    """Typing errors: what stood there, and what it was read as."""


class Vocabulary:
    """The words that matter, for telling typing errors from words that simply aren't known."""

    def __init__(self, words: Iterable[str]) -> None:
        self.words = frozenset(words) | _GRAMMAR | _IMPERATIVES
        self.stems = frozenset(map(stem, self.words))

    def nearest(self, word: str) -> str:
        """Return the word that `word` was meant to be, itself when it is known or like nothing."""
        if len(word) < 4 or not word.isalpha() or word in _STOP or stem(word) in self.stems:
            return word
        # One slip in a short word, two in a long one; in four letters only two swapped neighbours ("tset").
        allowed = 1 if len(word) < 8 else 2
        near = [
            (away, known)
            for known in self.words
            if abs(len(known) - len(word)) <= allowed
            and len(known) > 3
            and (away := distance(word, known)) <= allowed
            and (len(word) > 4 or sorted(word) == sorted(known))
        ]
        return min(near)[1] if near else word


@lru_cache(maxsize=8192)
def stem(word: str) -> str:
    """Return a word's stem: `tests`, `testing` and `tested` are one."""
    return str(_stemmer().stemWord(word.lower()))


@lru_cache(maxsize=1)
def _stemmer() -> Any:
    import snowballstemmer  # brings thirty languages

    return snowballstemmer.stemmer("english")


def distance(a: str, b: str) -> int:
    """Return how many letters must be put, dropped, changed or swapped with a neighbour to make `b` of `a`."""
    before: list[int] = []
    row = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        above, before, row = before, row, [i]
        for j, y in enumerate(b, 1):
            best = min(before[j] + 1, row[j - 1] + 1, before[j - 1] + (x != y))
            if i > 1 and j > 1 and x == b[j - 2] and a[i - 2] == y:
                best = min(best, above[j - 2] + 1)
            row.append(best)
    return row[-1]


def read(text: str, vocabulary: Vocabulary, *, known_path: str = "") -> Reading:
    """Return a goal's clauses, the paths that it names, and the typing errors that were mended."""
    text, paths = _without_paths(text, known_path)
    text, mended = _mend(text, vocabulary)
    for pattern, into in _REWRITES:
        text = pattern.sub(into, text)
    return Reading(tuple(_clauses(text)), tuple(paths), tuple(mended))


def _without_paths(text: str, known_path: str) -> tuple[str, list[str]]:
    paths: list[str] = []
    if known_path and known_path in text:
        paths.append(known_path)
        text = text.replace(known_path, f" {PATH_WORD} ")

    def take(match: re.Match[str]) -> str:
        found = match.group()
        path = found if set(found) <= {"."} else found.rstrip(".:!?)")
        if path.lower() in {"and/or", "or/and", "i/o", "n/a"}:
            return " and " if "and" in path.lower() else found
        paths.append(path)
        return f" {PATH_WORD} {found[len(path) :]}"

    return _PATH.sub(take, text), paths


def _mend(text: str, vocabulary: Vocabulary) -> tuple[str, list[tuple[str, str]]]:
    mended: list[tuple[str, str]] = []

    def look(match: re.Match[str]) -> str:
        word = match.group()
        meant = vocabulary.nearest(word.lower()) if word != PATH_WORD else word
        if meant == word.lower():
            return word
        mended.append((word, meant))
        return meant

    return _WORD.sub(look, text), mended


def _clauses(text: str) -> list[Clause]:
    pieces = _CUT.split(text)
    found: list[Clause] = []
    negated = only = False
    for i in range(0, len(pieces), 2):
        cut = pieces[i - 1].lower() if i else "."
        words = [word.lower() for word in _WORD.findall(pieces[i])]
        says_only = _ONLY in words
        words = [word for word in words if word != _ONLY]
        starts_anew = bool(words) and words[0] in _IMPERATIVES
        if cut == _NOT:
            negated = True
        elif cut in _ENDS_NEGATION or (starts_anew and cut not in {"or", "nor"}):
            negated = only = False
        only = only or says_only
        if cut == _NOT and set(words) <= _AFTERTHOUGHT and found:
            found[-1] = msgspec.structs.replace(found[-1], negated=True)
        elif not words and only and found:
            found = [msgspec.structs.replace(clause, only=not clause.negated) for clause in found]
        elif words:
            found.append(_clause(pieces[i], words, negated=negated, only=only and not negated))
    return found


def _clause(text: str, words: list[str], *, negated: bool, only: bool) -> Clause:
    words = [word.removesuffix("'s") for word in words]
    content = tuple(stem(word) for word in words if word not in _STOP)
    shown = " ".join(text.replace(_ONLY, "").split())
    return Clause(
        text=shown,
        stems=frozenset(map(stem, words)),
        first=content[0] if content else "",
        content=content,
        negated=negated,
        only=only,
    )
