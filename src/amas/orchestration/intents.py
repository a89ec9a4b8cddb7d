"""What a goal asks of a playbook: which phases, which of their capabilities, and what it doesn't cover.

Playbooks are compiled once: phrases become sets of stems. A clause that names something special asks for that alone ("check the
licences"); phrases with a synonym group (`{check} {code}`) count only where nothing special was named. Pure.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property

import msgspec

from amas.orchestration.playbooks import Phase, Playbook
from amas.orchestration.wording import PATH_WORD, Clause, Reading, Vocabulary, read, stem

UNDERSTOOD_MIN = 0.3
"""The share of a goal's meaningful words that a playbook must know: below it the match is an accident."""

_TOKEN = re.compile(r"\{.*?\}|<path>|[\w']+")

Selection = dict[str, frozenset[str]]
"""Capabilities by phase key."""


class Phrase(msgspec.Struct, frozen=True):
    """Words that must all stand in one clause; each may be any of several, which may be several words."""

    slots: tuple[tuple[frozenset[str], ...], ...]
    loose: bool
    """Whether it has a synonym group, and so gives way to phrases without."""

    def in_clause(self, stems: frozenset[str]) -> bool:
        """Return whether the clause says it."""
        return all(any(words <= stems for words in slot) for slot in self.slots)


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What a goal asks of one playbook."""

    selection: Selection
    uncovered: tuple[str, ...]
    """Clauses that it has no answer to, as they were written."""
    left_out: tuple[str, ...] = ()
    """Titles of what the goal said not to do."""


class Matcher:
    """A playbook made ready for reading goals."""

    def __init__(self, playbook: Playbook) -> None:
        self.playbook = playbook
        groups = playbook.synonyms
        self._general = _phrases(playbook.general, groups)
        self._report = _phrases(playbook.report, groups)
        self._phases = [(phase, _phrases(phase.asked_by, groups)) for phase in playbook.phases]
        self._work = [
            (phase.key, work.capability, _phrases(work.asked_by, groups)) for phase in playbook.phases for work in phase.work
        ]
        self._cannot = frozenset(stem(verb) for verb in playbook.cannot if " " not in verb)
        self._cannot_say = _phrases([phrase for phrase in playbook.cannot if " " in phrase], groups)
        self._subjects = _words_of(playbook.subjects)

    @cached_property
    def words(self) -> frozenset[str]:
        """Every word that the playbook knows."""
        texts = [*self.playbook.general, *self.playbook.report, *self.playbook.cannot, *self.playbook.subjects]
        for phase in self.playbook.phases:
            texts += [*phase.asked_by, *(phrase for work in phase.work for phrase in work.asked_by)]
        texts += [word for group in self.playbook.synonyms.values() for word in group]
        return frozenset(
            word for text in texts for word in re.findall(r"[a-z0-9]+", re.sub(r"\{.*?\}|<path>", " ", text.lower()))
        )

    @cached_property
    def vocabulary(self) -> Vocabulary:
        """Its words, for mending typing errors."""
        return Vocabulary(self.words)

    def reading(self, text: str, known_path: str = "") -> Reading:
        """Return a goal as this playbook's words let it be read."""
        for spelling, meant in self.playbook.spellings.items():
            text = re.sub(rf"(?<![\w/]){re.escape(spelling)}(?![\w/])", meant, text, flags=re.IGNORECASE)
        return read(text, self.vocabulary, known_path=known_path)

    def asked(self, reading: Reading, *, has_input: bool) -> Asked:
        """Return what the goal asks of this playbook; an empty selection when it isn't this playbook's kind of goal."""
        wanted = [clause for clause in reading.clauses if not clause.negated]
        if not self._about_this(wanted, has_input=has_input):
            return Asked(selection={}, uncovered=tuple(clause.text for clause in wanted))
        special = [clause for clause in wanted if clause.only and self._of_clause(clause)]
        selection: Selection = {}
        uncovered = []
        for clause in special or wanted:
            found = self._of_clause(clause)
            selection = _union(selection, found)
            if not found and not self._says_report(clause) and self._carries(clause):
                uncovered.append(clause.text)
        if not selection and not uncovered and any(map(self._says_report, wanted)):  # "write a report about PATH"
            selection = self._defaults()
        unwanted: Selection = {}
        for clause in reading.clauses:
            if clause.negated:
                unwanted = _union(unwanted, self._of_clause(clause, negated=True))
        return Asked(
            selection=self._with_needs(_without(selection, unwanted)),
            uncovered=tuple(uncovered),
            left_out=self._titles(unwanted, selection),
        )

    def _about_this(self, wanted: Sequence[Clause], *, has_input: bool) -> bool:
        stems = frozenset[str]().union(*(clause.stems for clause in wanted)) if wanted else frozenset()
        content = [each for clause in wanted for each in clause.content]
        known = sum(each in self._known for each in content)
        return (has_input or bool(stems & self._subjects)) and known >= UNDERSTOOD_MIN * max(len(content), 1)

    @cached_property
    def _known(self) -> frozenset[str]:
        return frozenset(map(stem, self.words)) | {stem(PATH_WORD)}

    def _of_clause(self, clause: Clause, *, negated: bool = False) -> Selection:
        if not negated and self._refuses(clause):
            return {}
        return self._matches(clause.stems, loose=False) or self._matches(clause.stems, loose=True) or self._broad(clause)

    def _matches(self, stems: frozenset[str], *, loose: bool) -> Selection:
        found: Selection = {}
        for key, capability, phrases in self._work:
            if any(phrase.loose is loose and phrase.in_clause(stems) for phrase in phrases):
                found = _union(found, {key: frozenset({capability})})
        for phase, phrases in self._phases:
            # A capability named alone ("API docs") is narrower than its phase ("API"), which then stays out of it.
            if phase.key not in found and any(phrase.loose is loose and phrase.in_clause(stems) for phrase in phrases):
                found = _union(found, {phase.key: _all_of(phase)})
        return found

    def _broad(self, clause: Clause) -> Selection:
        return self._defaults() if any(phrase.in_clause(clause.stems) for phrase in self._general) else {}

    def _with_needs(self, selection: Selection) -> Selection:
        """Return the selection with the capabilities that chosen ones work from."""
        for phase in self.playbook.phases:
            for work in reversed(phase.work):
                if work.capability in selection.get(phase.key, ()):
                    selection = _union(selection, {phase.key: frozenset(work.after)} if work.after else {})
        return selection

    def _defaults(self) -> Selection:
        return {phase.key: _all_of(phase) for phase in self.playbook.phases if phase.default}

    def _says_report(self, clause: Clause) -> bool:
        return not self._refuses(clause) and any(phrase.in_clause(clause.stems) for phrase in self._report)

    def _refuses(self, clause: Clause) -> bool:
        """Return whether a clause wants what no phase does: to fix the code, to write tests."""
        said = any(phrase.in_clause(clause.stems) for phrase in self._cannot_say)
        about_report = any(
            phrase.in_clause(clause.stems) for phrase in self._report
        )  # "write a report on the tests" is no such wish
        return clause.first in self._cannot or (said and not about_report)

    def _carries(self, clause: Clause) -> bool:
        """Return whether a clause asks for anything: a bare `in the library` or `thanks` doesn't."""
        return self._refuses(clause) or len([each for each in clause.content if each != PATH_WORD]) > 1

    def _titles(self, unwanted: Selection, selection: Selection) -> tuple[str, ...]:
        gone: list[str] = []
        for phase in self.playbook.phases:
            out = unwanted.get(phase.key, frozenset()) & selection.get(phase.key, frozenset())
            whole = out == _all_of(phase)
            gone += [phase.title] if whole else [work.title or work.capability for work in phase.work if work.capability in out]
        return tuple(gone)


def _all_of(phase: Phase) -> frozenset[str]:
    return frozenset(work.capability for work in phase.work)


def _union(one: Selection, other: Selection) -> Selection:
    return {key: one.get(key, frozenset()) | other.get(key, frozenset()) for key in [*one, *(k for k in other if k not in one)]}


def _without(selection: Selection, unwanted: Selection) -> Selection:
    left = {key: capabilities - unwanted.get(key, frozenset()) for key, capabilities in selection.items()}
    return {key: capabilities for key, capabilities in left.items() if capabilities}


def _words_of(words: Iterable[str]) -> frozenset[str]:
    return frozenset(stem(PATH_WORD if word == "<path>" else word) for word in words)


def _phrases(texts: Iterable[str], groups: Mapping[str, Sequence[str]]) -> tuple[Phrase, ...]:
    return tuple(Phrase(tuple(_slot(token, groups) for token in _TOKEN.findall(text.lower())), "{" in text) for text in texts)


def _slot(token: str, groups: Mapping[str, Sequence[str]]) -> tuple[frozenset[str], ...]:
    words = groups[token[1:-1]] if token.startswith("{") else (token,)
    return tuple(_words_of([word] if word == "<path>" else word.replace("-", " ").split()) for word in words)
