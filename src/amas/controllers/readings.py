"""The figures that alerts and run-books look at (`model.alerts.FIGURES`), read where they are known.

What comes quickly is read at every sweep, what asks the records or many keys every `SLOW_S`. Only figures that a rule or a step
names are read from there. A source that doesn't answer leaves its figures `unread`, and a figure without a source is absent;
none is ever made up. `Memory` is what rates and durations need of earlier looks: it is kept with the alerts, so that whoever
leads next goes on from it.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Set
from pathlib import Path

import msgspec
from msgspec.structs import replace

from amas.clock import monotonic_s
from amas.controllers.figures import Figures
from amas.controllers.machine import Machine
from amas.core.healing import pools_down
from amas.engine.connection import Engine
from amas.engine.desired import DesiredState, is_session
from amas.engine.hooks import Hooks
from amas.engine.hosts import HostRegistry, HostView
from amas.engine.inbox import Inboxes
from amas.engine.limits import BudgetView, Limits
from amas.engine.queue import TaskQueue
from amas.engine.recoveries import Recoveries, UnderWay
from amas.engine.routes import Routes
from amas.errors import LimitUnknown, RecordsError
from amas.model.alerts import Reading, Readings
from amas.model.backup import BackupSpec
from amas.model.desired import FLEET_KILLED, Desired
from amas.model.fleet import VARIANT, FleetSpec, PoolSpec
from amas.model.healing import Quarantine, Recovery
from amas.model.numbers import named
from amas.records.store import Records
from amas.settings import MessageSettings

WINDOW_MS = 300_000
"""What rates, `host_lost` and `recovery_s` look back on."""
ENDED_MIN = 10
"""Fewer ended tasks make no rate."""
TRIALS_MIN = 20.0
"""What routing has learned from fewer attempts is too little to raise an alert."""
LOST_MAX = 100
"""Lost hosts that alerts can name; where more are, `hosts_missing` says it."""
RECOVERIES_MAX = 1000
"""All that the engine keeps: crashes of agents mustn't hide a lost host."""
SLOW_S = 15.0
HOUR_MS = 3_600_000
STATUSES = ("idle", "working", "error", "healing")


class HostMemory(msgspec.Struct, frozen=True, array_like=True):
    """A host as it was at the last look."""

    since_ms: int
    at_ms: int
    cpu_s: float
    busy_ms: int
    """When it was last seen at work, or with nothing to do."""
    cpu: float = -1.0
    """The share of a core that it took between the last two looks; less than 0 before there were two."""


class Memory(msgspec.Struct, frozen=True):
    """What earlier looks left."""

    ended: tuple[tuple[int, int, int], ...] = ()
    """(when, succeeded, failed) since the engine began, of the last five minutes and the one look before."""
    hosts: dict[str, HostMemory] = msgspec.field(default_factory=dict)
    backup_ms: int = 0
    """When the newest back-up was taken, or, where there is none, since when one is wanted; 0: none is."""


class Meter:
    """Reads all figures of one cell."""

    def __init__(self, engine: Engine, records: Records, figures: Figures, fleet: FleetSpec, *, home: Path | None = None) -> None:
        self._records, self._figures, self._fleet = records, figures, fleet
        self._queue, self._hosts, self._desired = TaskQueue(engine), HostRegistry(engine), DesiredState(engine)
        self._inboxes, self._limits, self._routes = Inboxes(engine, MessageSettings()), Limits(engine), Routes(engine)
        self._machine = Machine(home)
        self._slow: tuple[Reading, ...] = ()
        self._slow_unread: frozenset[str] = frozenset()
        self._slow_at, self._slow_for = float("-inf"), frozenset[str]()
        self._recoveries, self._hooks = Recoveries(engine), Hooks(engine)

    async def look(self, memory: Memory, wanted: Set[str], *, now_ms: int = 0) -> tuple[Readings, Memory, Desired]:
        """Return the figures as they are now, what the next look needs, and the desired state; `wanted`: figures that count."""
        now_ms = now_ms or self._queue.now_ms()
        hosts, desired = await self._hosts.all(), await self._desired.read()
        fleet = desired.fleet or self._fleet
        pools = desired.pools or self._fleet.pools
        totals, depths = await self._queue.totals(), await self._queue.depths()
        waiting = {pool.name: waits(pool, depths) for pool in pools}
        could = {host.id for host in hosts if could_work(host, waiting, desired)}
        memory = _remembered(memory, hosts, totals, now_ms=now_ms, could=could)
        memory = replace(memory, backup_ms=self._figures.backup_at_ms or memory.backup_ms or now_ms if fleet.backup else 0)
        found = [
            *(Reading("queue_depth", float(depth), {"pool": pool}) for pool, depth in waiting.items()),
            *self._of_tasks(memory, totals),
            *_of_agents(hosts, pools, desired.quarantines, now_ms),
            *_of_quarantine(pools, desired.quarantines),
            *_of_hosts(hosts, memory, desired.hosts or fleet.hosts, now_ms),
            *await self._of_losses(hosts, now_ms),
            *_of_backups(fleet.backup, memory, now_ms),
            *(Reading(name, value) for name, value in self._machine.look().items()),
            Reading("records_lag_s", self._figures.recorder_lag_s(now_ms)),
        ]
        if "oldest_waiting_s" in wanted:
            found += await self._oldest(pools, depths, now_ms)
        await self._look_slowly(fleet, wanted, now_ms)
        readings = Readings(at_ms=now_ms, values=(*found, *self._slow), unread=self._slow_unread)
        return readings, memory, desired

    def _of_tasks(self, memory: Memory, totals: Mapping[str, int]) -> Iterator[Reading]:
        yield Reading("dead_letters", float(totals.get("dead_letters", 0)))
        (_, first_ok, first_bad), (_, ok, bad) = memory.ended[0], memory.ended[-1]
        ended = ok - first_ok + bad - first_bad
        if ended >= ENDED_MIN:
            yield Reading("success_rate", (ok - first_ok) / ended)
            yield Reading("error_rate", (bad - first_bad) / ended)

    async def _of_losses(self, hosts: Iterable[HostView], now_ms: int) -> list[Reading]:
        """Return which hosts were lost and aren't back, and how long it took until the tasks of those lost lately went on."""
        found = await self._recoveries.newest(limit=RECOVERIES_MAX)
        made_good = [each for each in found if _of_a_host(each) and now_ms - each.at_ms <= WINDOW_MS]
        waiting = [each.subject for each in await self._recoveries.under_way() if _of_a_host(each)]
        lost = {*waiting, *(each.subject for each in made_good)} - {host.id for host in hosts}
        readings = [Reading("host_lost", 1.0, {"host": host_id}) for host_id in sorted(lost)[:LOST_MAX]]
        if made_good:
            readings.append(Reading("recovery_s", sum(each.duration_ms for each in made_good) / len(made_good) / 1000))
        return readings

    async def _oldest(self, pools: Iterable[PoolSpec], depths: Mapping[str, int], now_ms: int) -> list[Reading]:
        queues = {pool.name: [queue for queue in queues_of(pool, depths) if depths[queue]] for pool in pools}
        heads = await self._queue.heads(sorted({queue for of in queues.values() for queue in of}))
        found = []
        for pool, of in queues.items():
            ages = [now_ms - at for queue in of if (at := submitted_ms(heads.get(queue, ""))) is not None]
            found.append(Reading("oldest_waiting_s", max(0, *ages, 0) / 1000, {"pool": pool}))
        return found

    async def _look_slowly(self, fleet: FleetSpec, wanted: Set[str], now_ms: int) -> None:
        if monotonic_s() - self._slow_at < SLOW_S and wanted <= self._slow_for:
            return
        found: list[Reading] = []
        unread: set[str] = set()
        if "message_backlog" in wanted:
            found.append(Reading("message_backlog", float(max((await self._inboxes.backlog()).values(), default=0))))
        if "learned_success" in wanted:
            found += await self._learned()
        if "webhook_disabled" in wanted:
            disabled = [kept.hook.id for kept in await self._hooks.all() if kept.state.disabled_ms]
            found += [Reading("webhook_disabled", 1.0, {"webhook": hook_id}) for hook_id in disabled]
        if "budget_spent" in wanted:
            found += await self._budgets(fleet)
        for name, read in (("cost_per_hour", self._cost), ("work_lost", self._lost)):
            if name in wanted:
                try:
                    found.append(Reading(name, await read(now_ms)))
                except RecordsError:
                    unread.add(name)
        self._slow, self._slow_unread = tuple(found), frozenset(unread)
        self._slow_at, self._slow_for = monotonic_s(), frozenset(wanted)

    async def _cost(self, now_ms: int) -> float:
        return await self._records.usd_since(now_ms - HOUR_MS)

    async def _lost(self, _: int) -> float:
        return float((await self._records.lost_work.count()).tasks)

    async def _learned(self) -> list[Reading]:
        least: dict[str, float] = {}
        for route in (await self._routes.table()).routes:
            for choice in route.choices:
                if choice.trials >= TRIALS_MIN:
                    least[choice.pool] = min(least.get(choice.pool, 1.0), choice.success)
        return [Reading("learned_success", share, {"pool": pool}) for pool, share in least.items()]

    async def _budgets(self, fleet: FleetSpec) -> list[Reading]:
        """Return the budgets of pools and declared tenants; those of single workflows are their authors' care."""
        found = []
        for scope in (*(f"pool/{pool.name}" for pool in fleet.pools), *(f"tenant/{name}" for name in fleet.tenants)):
            try:
                share = spent_share(await self._limits.budget(scope))
            except LimitUnknown:
                continue
            if share is not None:
                found.append(Reading("budget_spent", share, {"budget": scope}))
        return found


def queues_of(pool: PoolSpec, depths: Mapping[str, int]) -> list[str]:
    """Return a pool's queues among those ever used: its capabilities', its own, and its branches of routed capabilities."""
    names = (*pool.queues, *(f"{capability}@{pool.name}" for capability in pool.capabilities))
    return [name for name in names if name in depths]


def waits(pool: PoolSpec, depths: Mapping[str, int]) -> int:
    """Return how many tasks wait in a pool's queues."""
    return sum(depths[queue] for queue in queues_of(pool, depths))


def submitted_ms(task_id: str) -> int | None:
    """Return when a task was submitted, which its id tells; None for ids that others made."""
    digits = task_id.replace("-", "")
    if len(digits) != 32 or digits[12] != "7":
        return None
    try:
        return int(digits[:12], 16)
    except ValueError:
        return None


def spent_share(budget: BudgetView) -> float | None:
    """Return the share that is spent of the amount nearest its end; None where nothing is limited."""
    shares = [
        (getattr(budget.spent, name) or 0) / limit if limit else 1.0
        for name, limit in msgspec.structs.asdict(budget.limit).items()
        if limit is not None
    ]
    return max(shares, default=None)


def placed(host: HostView) -> Counter[str]:
    """Return how many agents of each pool a host says that it has."""
    return Counter({card.pool: card.count for card in host.about.pools})


def _of_a_host(each: Recovery | UnderWay) -> bool:
    """Return whether a host was lost: one that agents were placed on, since sessions of others come and go as they like."""
    return each.cause == "host_lost" and not is_session(each.subject)


def _of_backups(spec: BackupSpec | None, memory: Memory, now_ms: int) -> Iterator[Reading]:
    """Yield how old the newest back-up is, where any are declared; one that is on its way at its time isn't missed."""
    if spec is not None:
        age_s = max(0, now_ms - memory.backup_ms) / 1000
        yield Reading("backup_age_s", age_s)
        yield Reading("backups_missed", float(max(0, int(age_s // spec.every_s) - 1)))


def could_work(host: HostView, waiting: Mapping[str, int], desired: Desired) -> bool:
    """Return whether tasks wait that one of the host's agents may take: it is neither quarantined, killed nor unwell."""
    order = desired.orders.get(host.id)
    if (order is not None and (order.cordoned or order.drained)) or FLEET_KILLED in desired.kills:
        return False
    barred: dict[str, set[int]] = defaultdict(set)
    for pool, number in map(named, {*host.figures.troubled, *desired.quarantines, *desired.kills}):
        barred[pool].add(number)
    return any(
        waiting.get(card.pool, 0)
        and card.pool not in desired.kills
        and card.pool.partition(VARIANT)[0] not in desired.kills
        and card.count > sum(low <= number <= high for number in barred[card.pool] for low, high in card.numbers)
        for card in host.about.pools
    )


def _remembered(
    memory: Memory,
    hosts: Iterable[HostView],
    totals: Mapping[str, int],
    *,
    now_ms: int,
    could: Set[str],
) -> Memory:
    """Return the memory after a look; `could`: hosts that have somebody for what waits."""
    now = (now_ms, totals.get("succeeded", 0), totals.get("failed", 0))
    old = [each for each in memory.ended if each[1] <= now[1] and each[2] <= now[2]]  # an engine that began anew counts anew
    recent = [each for each in old if now_ms - each[0] <= WINDOW_MS]
    before = [each for each in old if now_ms - each[0] > WINDOW_MS][-1:]
    seen: dict[str, HostMemory] = {}
    for host in hosts:
        last = memory.hosts.get(host.id)
        last = last if last is not None and last.since_ms == host.since_ms else None
        busy_ms = last.busy_ms if last is not None and host.id in could and not host.running else now_ms
        cpu_s = host.figures.cpu_s
        cpu = (cpu_s - last.cpu_s) * 1000 / (now_ms - last.at_ms) if last is not None and now_ms > last.at_ms else -1.0
        seen[host.id] = HostMemory(host.since_ms, now_ms, cpu_s, busy_ms, cpu)
    return Memory((*before, *recent, now), seen, memory.backup_ms)


def _of_agents(
    hosts: Iterable[HostView], pools: Iterable[PoolSpec], quarantines: Mapping[str, Quarantine], now_ms: int
) -> Iterator[Reading]:
    live: Counter[str] = Counter()
    status = dict.fromkeys(STATUSES, 0)
    for host in hosts:
        here, troubled = placed(host), set(host.figures.troubled)
        live.update(here)
        if host.lease_until_ms < now_ms:
            status["healing"] += here.total()
        else:
            working = len({agent for agent in host.running.values() if agent not in troubled})
            status["error"] += len(troubled)
            status["working"] += working
            status["idle"] += max(0, here.total() - working - len(troubled))
        yield Reading("agents_unhealthy", float(len(troubled - quarantines.keys())), {"host": host.id})
    for name, count in status.items():
        yield Reading("agents", float(count), {"status": name})
    for pool in pools:
        yield Reading("agents_missing", float(max(0, pool.replicas - live[pool.name])), {"pool": pool.name})


def _of_quarantine(pools: Collection[PoolSpec], quarantines: Mapping[str, Quarantine]) -> Iterator[Reading]:
    """Yield what crashes have left of each pool; whom a person or a run-book holds, those know."""
    crashed = Counter(named(agent)[0] for agent, held in quarantines.items() if held.crashed)
    down = pools_down(quarantines, pools)
    for pool in pools:
        yield Reading("agents_quarantined", float(crashed[pool.name]), {"pool": pool.name})
        yield Reading("pool_down", float(pool.name in down), {"pool": pool.name})


def _of_hosts(hosts: list[HostView], memory: Memory, wanted: int, now_ms: int) -> Iterator[Reading]:
    yield Reading("hosts", float(len(hosts)))
    yield Reading("hosts_missing", float(max(0, wanted - len(hosts))))
    for host in hosts:
        labels, seen = {"host": host.id}, memory.hosts[host.id]
        yield Reading("host_up_s", (now_ms - host.since_ms) / 1000, labels)
        yield Reading("host_lag_s", host.figures.loop_lag_s, labels)
        yield Reading("host_memory", float(host.figures.rss_bytes), labels)
        if seen.cpu >= 0:
            yield Reading("host_cpu", seen.cpu, labels)
        yield Reading("host_idle_s", (now_ms - seen.busy_ms) / 1000, labels)
