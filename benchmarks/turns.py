"""Whose turn it was: the lives of workflows as the journal tells them, and which of them starved.

A workflow starves if it doesn't end, if it is let in later than its tenant's turns say, or if many that were let in after it end
before it. Tenants have equal turns: while one workflow waits, no other tenant gets more of its own in than that workflow's tenant
does, and one more, whose turn it may have been when it came.
"""

from collections import Counter
from collections.abc import Iterable

import msgspec

from amas.model.journal import JournalEntry
from amas.model.states import WorkflowState


class Life(msgspec.Struct):
    """A workflow's moments: each has its place in the journal, where an entry may tell of several, and its time in ms."""

    tenant: str
    came: tuple[int, int]
    let_in: tuple[int, int] | None = None
    ended: tuple[int, int] | None = None
    succeeded: bool = False


class Lives:
    """What happened to workflows, entry by entry."""

    def __init__(self, tenants: dict[str, str]) -> None:
        self.of: dict[str, Life] = {}
        self.open = len(tenants)
        self._tenants, self._number = tenants, 0

    def take(self, entries: Iterable[JournalEntry]) -> None:
        """Go on with these entries; those of other workflows than `tenants` names say nothing here."""
        for entry in entries:
            at = self._next(), entry.at_ms
            waits = {news.workflow_id for news in entry.workflows if news.state is WorkflowState.WAITING}
            if entry.opened is not None and (tenant := self._tenants.get(entry.opened.id)) is not None:
                came_in = None if entry.opened.id in waits else at
                self.of[entry.opened.id] = Life(tenant, at, came_in)
            for news in entry.workflows:
                at = self._next(), entry.at_ms
                if (life := self.of.get(news.workflow_id)) is None:
                    continue
                if news.state is WorkflowState.RUNNING:
                    life.let_in = at
                elif news.state.terminal:
                    life.ended, life.succeeded = at, news.state is WorkflowState.SUCCEEDED
                    self.open -= 1

    def _next(self) -> int:
        self._number += 1
        return self._number


def starved(lives: dict[str, Life], *, overtakers_max: int) -> dict[str, str]:
    """Return by workflow why it starved."""
    reasons = {}
    entered = sorted((life.let_in[0], life.tenant) for life in lives.values() if life.let_in)
    for name, life in lives.items():
        if life.let_in is None or life.ended is None or not life.succeeded:
            reasons[name] = "it didn't succeed"
            continue
        turns = Counter(tenant for number, tenant in entered if life.came[0] < number <= life.let_in[0])
        own = turns.pop(life.tenant, 0)
        if turns and max(turns.values()) > own + 1:
            tenant, most = turns.most_common(1)[0]
            reasons[name] = f"while it waited, {own} of {life.tenant or 'its tenant'} were let in, and {most} of {tenant}"
        elif (ahead := _overtakers(life, lives)) > overtakers_max:
            reasons[name] = f"{ahead} that were let in after it ended before it"
    return reasons


def _overtakers(life: Life, lives: dict[str, Life]) -> int:
    assert life.let_in is not None and life.ended is not None
    return sum(
        1 for other in lives.values() if other.let_in and other.ended and other.let_in > life.let_in and other.ended < life.ended
    )
