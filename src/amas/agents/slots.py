"""Free capacity: which agents may take how many tasks, and which pools have reason to ask.

A pool asks when a bell rang for one of its queues, and goes on asking while it gets all that it asked for. A claim that returned
less has emptied its queues: the pool is silent until the next bell or the slow safety net. A blocking agent's slot counts only
while there is a thread for it. Used by the host's pump, on the event loop only; no I/O.
"""

from collections import Counter, deque
from collections.abc import Iterable, Sequence

from amas.engine.queue import Slots


class PoolSlots:
    """The free slots of one pool: each agent's id once for each task that it may take."""

    __slots__ = ("blocking", "free", "queues", "rings")

    def __init__(self, queues: tuple[str, ...], *, blocking: bool) -> None:
        self.queues, self.blocking = queues, blocking
        self.free: deque[str] = deque()
        self.rings = 0


class Ask:
    """Slots that a claim under way has taken out."""

    __slots__ = ("groups", "pools")

    def __init__(self) -> None:
        self.groups: list[Slots] = []
        self.pools: list[tuple[PoolSlots, int]] = []
        """Each group's pool, and its count of rings when it was asked."""


class FreeSlots:
    """All pools of a host."""

    def __init__(self, *, batch_max: int, threads: int) -> None:
        self._batch_max, self._threads = batch_max, threads
        self._pool_of: dict[str, PoolSlots] = {}
        self._by_queue: dict[str, list[PoolSlots]] = {}
        self._wanted: dict[PoolSlots, None] = {}
        self._withheld: dict[str, int] = {}

    def add_pool(self, queues: tuple[str, ...], agent_ids: Sequence[str], *, each: int, blocking: bool) -> None:
        """Make a pool known, all of it free; `each` agent takes that many tasks at a time."""
        pool = PoolSlots(queues, blocking=blocking)
        for _ in range(each):  # round by round, so that tasks spread over agents before any gets its second
            pool.free.extend(agent_ids)
        for agent_id in agent_ids:
            self._pool_of[agent_id] = pool
        for queue in queues:
            self._by_queue.setdefault(queue, []).append(pool)
        self._wanted[pool] = None

    def ring(self, queues: Iterable[str]) -> bool:
        """Note that there is work in `queues`; return whether some pool of this host serves one."""
        served = False
        for queue in queues:
            for pool in self._by_queue.get(queue, ()):
                pool.rings += 1
                self._wanted[pool] = None
                served = True
        return served

    def ring_all(self) -> None:
        """Note that there may be work anywhere."""
        self.ring(self._by_queue)

    def ask(self) -> Ask | None:
        """Take out slots for the next claim, fairly over the pools that have reason to ask; None when none has."""
        pools = [pool for pool in self._wanted if pool.free and (self._threads > 0 or not pool.blocking)]
        if not pools:
            return None
        ask, left = Ask(), self._batch_max
        for position, pool in enumerate(pools):
            share = -(-left // (len(pools) - position))
            count = min(len(pool.free), share, self._threads if pool.blocking else share)
            if count:
                ask.groups.append(Slots(pool.queues, [pool.free.popleft() for _ in range(count)]))
                ask.pools.append((pool, pool.rings))
                left -= count
                if pool.blocking:
                    self._threads -= count
                del self._wanted[pool]  # to the end of the line
                self._wanted[pool] = None
        return ask if ask.groups else None

    def answered(self, ask: Ask, agent_ids: Iterable[str]) -> None:
        """Put back what a claim left over; `agent_ids` are those that got a task, once for each."""
        used = Counter(agent_ids)
        if used.total() == sum(len(slots.agent_ids) for slots in ask.groups):
            return  # nothing is left over, and there may be more
        for slots, (pool, rings) in zip(ask.groups, ask.pools, strict=True):
            if used:
                left = []
                for agent_id in slots.agent_ids:
                    if used.get(agent_id):
                        used[agent_id] -= 1
                    else:
                        left.append(agent_id)
            else:
                left = slots.agent_ids
            if left and pool.rings == rings:
                self._wanted.pop(pool, None)
            self._put_back(pool, left)

    def give(self, agent_id: str) -> None:
        """Free one slot of an agent."""
        pool = self._pool_of[agent_id]
        if pool.blocking or self._withheld:
            self._put_back(pool, (agent_id,))
        else:
            pool.free.append(agent_id)

    def withhold(self, agent_id: str) -> None:
        """Give an agent no tasks until it is restored."""
        if agent_id not in self._withheld:
            free = self._pool_of[agent_id].free
            self._withheld[agent_id] = free.count(agent_id)
            self._pool_of[agent_id].free = deque(other for other in free if other != agent_id)

    def restore(self, agent_id: str) -> None:
        """Let an agent have tasks again."""
        pool = self._pool_of[agent_id]
        pool.free.extend([agent_id] * self._withheld.pop(agent_id, 0))

    def _put_back(self, pool: PoolSlots, agent_ids: Sequence[str]) -> None:
        if pool.blocking:
            self._threads += len(agent_ids)
        if not self._withheld:
            pool.free.extend(agent_ids)
            return
        for agent_id in agent_ids:
            if agent_id in self._withheld:
                self._withheld[agent_id] += 1
            else:
                pool.free.append(agent_id)
