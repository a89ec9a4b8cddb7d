"""Where a host's attempts are that have run for long: what its beats say, so that who looks for what is stuck sees the line.

Called in the lease's thread, also while the host's loop stands still: it reads, and changes nothing.
"""

import heapq
from collections.abc import Iterable

from amas.agents.attempt import Attempt
from amas.clock import monotonic_s
from amas.engine.hosts import LongAttempt

LONG_S = 5.0
"""What ends sooner nobody asks about."""
LONGEST_MAX = 5
"""Of a host, in each beat."""


def longest(attempts: Iterable[Attempt], loop_thread: int) -> tuple[LongAttempt, ...]:
    """Return the attempts that have run for longest, the first first."""
    now_s = monotonic_s()
    begun = [(each.started_s, each.claimed.id, each) for each in attempts if 0 < each.started_s < now_s - LONG_S]
    return tuple(
        LongAttempt(task_id, each.claimed.agent_id, round(now_s - started_s, 1), each.place(loop_thread))
        for started_s, task_id, each in heapq.nsmallest(LONGEST_MAX, begun)
    )
