"""Ranked search by BM25 over passages: Okapi's formula with a positive inverse document frequency (Robertson and Zaragoza 2009).

`topic_of` takes the subject out of a goal: "Research AI market trends and create presentation" is about AI market trends. Pure.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from heapq import nsmallest
from typing import Any

from amas.agents.skills.research.passages import Passage

K1, B = 1.5, 0.75
"""How soon a repeated word stops counting, and how much a passage's length matters: the customary values."""

_FORM = r"(?:presentations?|reports?|slide decks?|slides?|decks?|summary|briefing|overview|paper|powerpoint|pptx)"
_ASKS = re.compile(
    r"\b(?:and|then|to|,)?\s*(?:please\s+)?"
    r"(?:create|make|write|produce|prepare|build|generate|compile|draw up|deliver|give|present)\b"
    rf"[^.;]*?\b{_FORM}\b(?:\s*(?:,|and|or|with|as)\s+(?:an?\s+|as\s+|the\s+)?{_FORM}\b)*",
    re.IGNORECASE,
)
_STOP = frozenset(
    """
    a an the and or of for in on at to from into by with without as is are be been was were do does did have has had it its this
    that these those what which who whose how why when where we you i me us our your their his her my can could would should
    will shall may might not no nor than then so if but about between over under please research investigate explore study
    study find findings look analyse analyze compare report presentation slides deck summary
    """.split()  # noqa: SIM905 - a list of words reads best as text
)


def topic_of(goal: str) -> str:
    """Return what a goal is about, without the wish for a report; the goal itself when nothing else is left."""
    text = re.sub(r"(?<![\w/])(?:~|\.{1,2})?/\S+", " ", goal)
    text = _ASKS.sub(" ", text)
    text = re.sub(
        r"^\W*(?:please\s+)?(?:do\s+)?(?:research|investigate|explore)\b(?:\s+(?:on|about|into))?", " ", text, flags=re.IGNORECASE
    )
    return " ".join(text.split()).strip(" ,.;:") or " ".join(goal.split())


def terms(text: str) -> list[str]:
    """Return the stems of the words that carry meaning, in order."""
    return [_stem(word) for word in re.findall(r"\w+", text.lower()) if word not in _STOP]


class Ranked:
    """An index of passages, made once and asked often."""

    def __init__(self, passages: Sequence[Passage]) -> None:
        self.passages = passages
        self._counts = [Counter(terms(f"{each.heading} {each.text}")) for each in passages]
        self._lengths = [sum(counts.values()) for counts in self._counts]
        self._mean = sum(self._lengths) / max(len(passages), 1) or 1.0
        self._holders: dict[str, list[int]] = {}
        for number, counts in enumerate(self._counts):
            for term in counts:
                self._holders.setdefault(term, []).append(number)

    def search(self, query: str, *, limit: int) -> list[tuple[Passage, float]]:
        """Return the passages that say most about `query`, best first, with their scores; none that holds no word of it."""
        scores: dict[int, float] = {}
        for term in dict.fromkeys(terms(query)):
            holders = self._holders.get(term, [])
            weight = math.log(1 + (len(self.passages) - len(holders) + 0.5) / (len(holders) + 0.5))
            for number in holders:
                scores[number] = scores.get(number, 0.0) + weight * self._share(number, term)
        best = nsmallest(limit, scores, key=lambda number: (-scores[number], number))
        return [(self.passages[number], round(scores[number], 4)) for number in best]

    def _share(self, number: int, term: str) -> float:
        count = self._counts[number][term]
        return count * (K1 + 1) / (count + K1 * (1 - B + B * self._lengths[number] / self._mean))


@lru_cache(maxsize=1)
def _stemmer() -> Any:
    import snowballstemmer  # brings thirty languages

    return snowballstemmer.stemmer("english")


@lru_cache(maxsize=65_536)
def _stem(word: str) -> str:
    return str(_stemmer().stemWord(word))
