"""`research.search` and `research.extract`: the passages that say most about a goal's topic, and the sentences worth citing.

A claim is a sentence as it stands in its passage: nothing is put into other words, so nothing can be made up.
"""

from collections.abc import Sequence

import msgspec

from amas.agents.base import agent
from amas.agents.context import Context
from amas.agents.skills.findings import Analysis, Scope, Tool, specialist
from amas.agents.skills.research.found import goal_of, passages_of, results_of, stored, tables_of
from amas.agents.skills.research.passages import Claim, Passage, cite, sentences
from amas.agents.skills.research.search import Ranked, terms, topic_of
from amas.model.task import Json

HITS_MAX = 60
CLAIMS_MAX = 24
"""More than a reader takes in at once is no finding any more."""
RELEVANT_SHARE = 0.2
"""Of the best passage's score: below it only a common word is shared."""
SENTENCE_CHARS_MIN = 25
"""Shorter ones are captions and remains of lists."""


class Hit(msgspec.Struct, frozen=True):
    """A passage's id and its score."""

    id: str
    score: float


def search_passages(passages: Sequence[Passage], topic: str) -> list[Hit]:
    """Return the passages about a topic, best first."""
    found = Ranked(passages).search(topic, limit=HITS_MAX)
    return [Hit(passage.id, score) for passage, score in found if score >= RELEVANT_SHARE * found[0][1]]


def claims_of(hits: Sequence[Hit], passages: Sequence[Passage], topic: str) -> list[Claim]:
    """Return the best sentence of each passage found, the best passage's first; the same sentence once, with all its sources."""
    by_id = {passage.id: passage for passage in passages}
    wanted = frozenset(terms(topic))
    claims: dict[str, Claim] = {}
    for passage in (by_id[hit.id] for hit in hits if hit.id in by_id):
        good = [one for one in sentences(passage.text) if len(one) >= SENTENCE_CHARS_MIN]
        if not good:
            continue
        best = max(good, key=lambda one: len(wanted & frozenset(terms(one))))
        before = claims.get(best)
        sources = [*(before.citations if before else []), cite(passage, best)]
        claims[best] = Claim(text=best, citations=sources, about=passage.heading or passage.path)
    return list(claims.values())[:CLAIMS_MAX]


@agent("research.search")
async def search(ctx: Context) -> Json:
    """Rank the passages by the goal's topic."""

    async def analyse(scope: Scope) -> Analysis:
        hits = search_passages(passages_of(ctx), topic_of(goal_of(scope.options)))
        return Analysis(tool=_TOOL, figures={"hits": len(hits)}, artifacts={"hits": msgspec.to_builtins(hits)})

    return await specialist(ctx, analyse)


@agent("research.extract")
async def extract(ctx: Context) -> Json:
    """Take out of the best passages what they say about the topic."""

    async def analyse(scope: Scope) -> Analysis:
        rows = {name for table in tables_of(ctx) for name in table.row_ids}
        hits = [hit for hit in stored(results_of(ctx), "hits", Hit, ctx.artifacts) if hit.id not in rows]
        claims = claims_of(hits, passages_of(ctx), topic_of(goal_of(scope.options)))
        return Analysis(tool=_TOOL, figures={"claims": len(claims)}, artifacts={"claims": msgspec.to_builtins(claims)})

    return await specialist(ctx, analyse)


_TOOL = Tool("amas research", "1", "")
