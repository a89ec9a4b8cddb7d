"""Free capacity: which agents may take how many tasks, and which pools have reason to ask.

A pool asks when a bell rang for one of its queues, and goes on asking while it gets all that it asked for. A claim that returned
less has emptied its queues: the pool is silent until the next bell or the slow safety net. While one is under way another follows
only when a bell has rung since. A blocking agent's slot counts only while there is a thread for it. Agents come and go while
claims are under way: one that goes is offered no more, and has left when the last slot that was taken is given back. Used by the
host and its pump, on the event loop only; no I/O.
"""

from collections import Counter, deque
from collections.abc import Callable, Collection, Iterable, Sequence

from amas.engine.queue import Slots


class PoolSlots:
    """The free slots of one pool: each agent's id once for each task that it may take."""

    __slots__ = ("asked", "blocking", "each", "free", "queues", "rings")

    def __init__(self, queues: tuple[str, ...], *, each: int, blocking: bool) -> None:
        """`each` agent takes that many tasks at a time; a `blocking` one needs a thread for each."""
        self.queues, self.each, self.blocking = queues, each, blocking
        self.free: deque[str] = deque()
        self.rings = 0
        self.asked = -1
        """The count of rings at the last claim that is under way; -1 for none. Until the next ring another would find nothing."""


class Ask:
    """Slots that a claim under way has taken out."""

    __slots__ = ("groups", "pools")

    def __init__(self) -> None:
        self.groups: list[Slots] = []
        self.pools: list[tuple[PoolSlots, int]] = []
        """Each group's pool, and its count of rings when it was asked."""


class _Leaving:
    """An agent that goes once the slots that it has given out are back."""

    __slots__ = ("out", "to")

    def __init__(self, out: int, to: PoolSlots | None) -> None:
        self.out, self.to = out, to


class FreeSlots:
    """All pools of a host."""

    def __init__(self, *, batch_max: int, threads: int, left: Callable[[str], None] = lambda _: None) -> None:
        """`left` hears of each agent that has left its pool, once it isn't there any more or stands in another."""
        self._batch_max, self._threads, self._left = batch_max, threads, left
        self._pool_of: dict[str, PoolSlots] = {}
        self._by_queue: dict[str, list[PoolSlots]] = {}
        self._wanted: dict[PoolSlots, None] = {}
        self._withheld: dict[str, int] = {}
        self._leaving: dict[str, _Leaving] = {}

    def add_pool(self, queues: tuple[str, ...], agent_ids: Sequence[str], *, each: int, blocking: bool) -> PoolSlots:
        """Make a pool known, all of it free; `each` agent takes that many tasks at a time."""
        pool = PoolSlots(queues, each=each, blocking=blocking)
        for queue in queues:
            self._by_queue.setdefault(queue, []).append(pool)
        self._join(pool, agent_ids)
        return pool

    def drop_pool(self, pool: PoolSlots) -> None:
        """Ask no more for a pool that all agents have left, or leave."""
        for queue in pool.queues:
            pools = self._by_queue[queue]
            pools.remove(pool)
            if not pools:
                del self._by_queue[queue]
        self._wanted.pop(pool, None)

    def pool_of(self, agent_id: str) -> PoolSlots | None:
        """Return the pool that an agent belongs to, also while it leaves; None for one that isn't here."""
        return self._pool_of.get(agent_id)

    @property
    def left_soon(self) -> set[PoolSlots]:
        """The pools of agents that have been told to go and still work."""
        return {self._pool_of[agent_id] for agent_id in self._leaving}

    def move(self, agent_ids: Collection[str], to: PoolSlots | None) -> None:
        """Have agents stand in the pool `to`, or nowhere, from when they have done what they do; new ones at once."""
        taken: dict[PoolSlots, dict[str, None]] = {}
        ready: list[str] = []
        for agent_id in agent_ids:
            if agent_id in self._leaving:
                self._leaving[agent_id].to = to
            elif (pool := self._pool_of.get(agent_id)) is None:
                ready.append(agent_id)
            else:
                taken.setdefault(pool, {})[agent_id] = None
        gone: list[str] = []
        for pool, ids in taken.items():
            free = Counter(agent_id for agent_id in pool.free if agent_id in ids)
            pool.free = deque(agent_id for agent_id in pool.free if agent_id not in ids)
            for agent_id in ids:
                out = pool.each - free[agent_id] - self._withheld.pop(agent_id, 0)
                if out:
                    self._leaving[agent_id] = _Leaving(out, to)
                else:
                    del self._pool_of[agent_id]
                    gone.append(agent_id)
        if to is not None:
            self._join(to, [*ready, *gone])
        for agent_id in gone:
            self._left(agent_id)

    def _join(self, pool: PoolSlots, agent_ids: Sequence[str]) -> None:
        for _ in range(pool.each):  # round by round, so that tasks spread over agents before any gets its second
            pool.free.extend(agent_ids)
        for agent_id in agent_ids:
            self._pool_of[agent_id] = pool
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
        pools = [
            pool for pool in self._wanted if pool.free and pool.asked != pool.rings and (self._threads > 0 or not pool.blocking)
        ]
        if not pools:
            return None
        ask, left = Ask(), self._batch_max
        for position, pool in enumerate(pools):
            share = -(-left // (len(pools) - position))
            count = min(len(pool.free), share, self._threads if pool.blocking else share)
            if count:
                ask.groups.append(Slots(pool.queues, [pool.free.popleft() for _ in range(count)]))
                ask.pools.append((pool, pool.rings))
                pool.asked = pool.rings
                left -= count
                if pool.blocking:
                    self._threads -= count
                del self._wanted[pool]  # to the end of the line
                self._wanted[pool] = None
        return ask if ask.groups else None

    def answered(self, ask: Ask, agent_ids: Iterable[str]) -> None:
        """Put back what a claim left over; `agent_ids` are those that got a task, once for each."""
        for pool, rings in ask.pools:
            if pool.asked == rings:
                pool.asked = -1
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
        if pool.blocking or self._withheld or self._leaving:
            self._put_back(pool, (agent_id,))
        else:
            pool.free.append(agent_id)

    def withhold(self, agent_ids: Iterable[str]) -> None:
        """Give agents no tasks until they are restored, each by itself."""
        new: dict[PoolSlots, set[str]] = {}
        for agent_id in agent_ids:
            if agent_id not in self._withheld and agent_id not in self._leaving:
                new.setdefault(self._pool_of[agent_id], set()).add(agent_id)
        for pool, ids in new.items():
            free = Counter(agent_id for agent_id in pool.free if agent_id in ids)
            self._withheld.update((agent_id, free[agent_id]) for agent_id in ids)
            pool.free = deque(agent_id for agent_id in pool.free if agent_id not in ids)

    def restore(self, agent_id: str) -> None:
        """Let an agent have tasks again."""
        if count := self._withheld.pop(agent_id, 0):
            self._pool_of[agent_id].free.extend([agent_id] * count)

    def _put_back(self, pool: PoolSlots, agent_ids: Sequence[str]) -> None:
        if pool.blocking:
            self._threads += len(agent_ids)
        if not (self._withheld or self._leaving):
            pool.free.extend(agent_ids)
            return
        for agent_id in agent_ids:
            if agent_id in self._leaving:
                self._back(agent_id)
            elif agent_id in self._withheld:
                self._withheld[agent_id] += 1
            else:
                pool.free.append(agent_id)

    def _back(self, agent_id: str) -> None:
        """Take back a slot of an agent that leaves."""
        leaving = self._leaving[agent_id]
        leaving.out -= 1
        if not leaving.out:
            del self._leaving[agent_id], self._pool_of[agent_id]
            if leaving.to is not None:
                self._join(leaving.to, (agent_id,))
            self._left(agent_id)
