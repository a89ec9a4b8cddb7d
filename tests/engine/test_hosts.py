"""Hosts, their leases and deaths; who leads."""

import msgspec
import pytest
from tests.engine.cell import LEASE_S, Cell, task

from amas.engine.hosts import HostAbout, HostFigures, Leadership, PoolCard
from amas.engine.recoveries import Recoveries
from amas.model.journal import EntryKind

HOSTS_LOST_MAX = 8


@pytest.mark.requirement("A5", "T6")
async def test_a_dead_hosts_tasks_go_back_at_once(cell: Cell) -> None:
    await cell.submit(*(task(f"t{n}") for n in range(2500)))
    lost_tasks = await cell.claim(2000, host="dead")
    marker = await cell.journal.last_id()
    lost = await cell.reap()
    assert lost is not None and (lost.id, lost.tasks, lost.late_ms) == ("dead", 2000, 1)
    assert await cell.queue.depths() == {"work": 2500}
    (entry,) = await cell.entries(marker)
    assert (entry.kind, entry.host_id, len(entry.effects)) == (EntryKind.LOST, "dead", 2000)
    assert await cell.complete(*lost_tasks[:2]) == {0: "stale", 1: "stale"}
    assert {got.attempt for got in await cell.claim(2000, host="h2")} == {2}  # begun work first
    assert (await cell.queue.totals())["hosts_lost"] == 1
    assert await cell.hosts.reap(now_ms=cell.now) is None
    assert {"r:dead", "h:dead"} & await cell.keys() == set()


async def test_a_host_that_comes_back_under_its_name_has_died(cell: Cell) -> None:
    """What it ran goes back at once, before the lease of its earlier life ends."""
    await cell.submit(task("t1"), task("t2"))
    before = await cell.claim(2)
    about = HostAbout(2, "machine", "1", ())
    assert await cell.hosts.register("h1", about, lease_s=LEASE_S, now_ms=cell.now) == 2
    assert await cell.states("t1", "t2") == {"t1": "queued", "t2": "queued"}
    assert await cell.complete(*before) == {0: "stale", 1: "stale"}
    assert {got.attempt for got in await cell.claim(2)} == {2}
    assert (await cell.queue.totals())["hosts_lost"] == 1
    (host,) = await cell.hosts.all()
    assert (host.about.pid, set(host.running)) == (2, {"t1", "t2"})


async def test_a_host_that_died_idle_has_died_too(cell: Cell) -> None:
    """A registration made again, because its answer was lost, is no death."""
    first, second = HostAbout(2, "machine", "1", ()), HostAbout(3, "machine", "1", ())
    for about, lost in ((first, 0), (first, 0), (second, 1)):
        assert await cell.hosts.register("h1", about, lease_s=LEASE_S, now_ms=cell.now) == 0
        assert (await cell.queue.totals()).get("hosts_lost", 0) == lost
    (recovery,) = await Recoveries(cell.engine).made_good()
    assert (recovery.cause, recovery.subject, recovery.task_ids) == ("host_lost", "h1", [])


async def test_one_sweep_takes_one_host_the_longest_silent(cell: Cell) -> None:
    await cell.host("first")
    cell.now += 10
    await cell.host("second")
    first, second = await cell.reap(), await cell.hosts.reap(now_ms=cell.now)
    assert first is not None and second is not None
    assert (first.id, first.late_ms, second.id, second.late_ms) == ("first", 11, "second", 1)


async def test_a_task_that_takes_its_hosts_down_fails_in_the_end(cell: Cell) -> None:
    await cell.submit(task("killer", workflow_id="w"), task("after", workflow_id="w", needs=["killer"]), workflow="w")
    for lost in range(HOSTS_LOST_MAX):
        assert (await cell.run("killer", host=f"h{lost}")).failures == 0
        await cell.reap()
    assert await cell.states("killer") == {"killer": "queued"}
    await cell.run("killer")
    await cell.reap()
    failure = (await cell.queue.outcomes(["killer"]))["killer"].failure
    assert failure is not None and failure.code == "host_lost"
    assert await cell.states("killer", "after") == {"killer": "failed", "after": "failed"}
    assert (await cell.queue.totals())["dead_letters"] == 1
    assert await cell.workflow_state("w") == "failed"


async def test_a_drained_host_is_not_blamed_for_its_tasks(cell: Cell) -> None:
    await cell.submit(task("t"))
    for n in range(HOSTS_LOST_MAX + 2):
        assert (await cell.run("t", host=f"h{n}")).attempt == n + 1
        assert await cell.hosts.leave(f"h{n}", now_ms=cell.now) == 1
    assert await cell.hosts.all() == []


async def test_a_renewed_lease_holds_and_a_lost_one_stays_lost(cell: Cell) -> None:
    await cell.host()
    marker = await cell.journal.last_id()
    for _ in range(5):
        cell.now += round(LEASE_S * 1000) - 1
        assert await cell.hosts.renew("h1", HostFigures(), lease_s=LEASE_S, now_ms=cell.now)
        assert await cell.hosts.reap(now_ms=cell.now) is None
    assert await cell.entries(marker) == []
    await cell.reap()
    assert not await cell.hosts.renew("h1", HostFigures(), lease_s=LEASE_S, now_ms=cell.now)
    assert await cell.queue.claim("h1", [], now_ms=cell.now) is None
    await cell.host()
    assert await cell.hosts.renew("h1", HostFigures(), lease_s=LEASE_S, now_ms=cell.now)


async def test_a_late_host_that_nobody_swept_keeps_its_tasks(cell: Cell) -> None:
    await cell.submit(task("t"))
    attempt = await cell.run("t")
    cell.now += 10 * round(LEASE_S * 1000)
    assert await cell.hosts.renew("h1", HostFigures(), lease_s=LEASE_S, now_ms=cell.now)
    assert await cell.hosts.reap(now_ms=cell.now) is None
    assert await cell.complete(attempt) == {}


async def test_a_view_of_the_hosts(cell: Cell) -> None:
    card = PoolCard("worker", "execution", "lead", "Worker", "1", 2, ((1, 1),))
    await cell.hosts.register("h2", HostAbout(7, "box", "1", (card,)), lease_s=LEASE_S, now_ms=cell.now)
    await cell.host("h1")
    await cell.hosts.renew("h2", HostFigures(cpu_s=1.5), lease_s=2 * LEASE_S, now_ms=cell.now)
    await cell.submit(task("t"))
    await cell.run("t", host="h2")
    first, second = await cell.hosts.all()
    assert (first.id, first.running, first.figures) == ("h1", {}, HostFigures())
    assert (second.id, second.running, second.about.pools) == ("h2", {"t": "agent-0"}, (card,))
    assert (second.figures.cpu_s, second.since_ms, second.lease_until_ms) == (1.5, cell.now, cell.now + 12_000)


async def test_one_leads_until_its_lease_ends_or_it_resigns(cell: Cell) -> None:
    one, two = Leadership(cell.engine, "one"), Leadership(cell.engine, "two")

    async def acquire(who: Leadership) -> int:
        return await who.acquire("reaper", lease_s=LEASE_S, now_ms=cell.now)

    assert (await acquire(one), await acquire(two), await acquire(one)) == (1, 0, 1)
    cell.now += round(LEASE_S * 1000)
    assert (await acquire(two), await acquire(one)) == (2, 0)
    await one.resign("reaper", now_ms=cell.now)  # it doesn't lead: nothing happens
    assert await acquire(one) == 0
    await two.resign("reaper", now_ms=cell.now)
    assert (await acquire(one), await acquire(two)) == (3, 0)
    assert await two.acquire("recorder", lease_s=LEASE_S, now_ms=cell.now) == 1


async def test_a_leader_that_was_seen_to_die_is_succeeded_at_once_and_that_counts_as_a_recovery(cell: Cell) -> None:
    one, two = Leadership(cell.engine, "one"), Leadership(cell.engine, "two")
    began = cell.now
    assert await one.acquire("reaper", lease_s=LEASE_S, now_ms=began) == 1
    assert not await two.depose("reaper", lease_s=LEASE_S, now_ms=began), "it doesn't lead"
    cell.now += 1000
    assert await two.acquire("reaper", lease_s=LEASE_S, now_ms=cell.now) == 0
    assert await one.depose("reaper", lease_s=LEASE_S, now_ms=cell.now)
    assert not await one.depose("reaper", lease_s=LEASE_S, now_ms=cell.now), "the word comes twice"
    assert await two.acquire("reaper", lease_s=LEASE_S, now_ms=cell.now) == 2
    (lost,) = await Recoveries(cell.engine).made_good()
    assert (lost.cause, lost.subject, lost.since_ms) == ("leader_lost", "one", began)
    assert not await one.depose("reaper", lease_s=LEASE_S, now_ms=cell.now), "its successor leads by now"


async def test_a_live_host_says_anew_what_it_has_and_nothing_else_changes(cell: Cell) -> None:
    await cell.submit(task("t"))
    await cell.run("t")
    before = {view.id: view for view in await cell.hosts.all()}["h1"]
    card = PoolCard(
        "worker", "execution", "lead", "Worker", "1", 2, ((1, 15_000), (20_001, 35_000)), ("x.y",), {"family": "x"}, "none"
    )
    about = HostAbout(7, "box", "1", (card,), 12)
    assert await cell.hosts.announce("h1", about, now_ms=cell.now + 1000)
    after = {view.id: view for view in await cell.hosts.all()}["h1"]
    assert (after.about, after.about.agents) == (about, 30_000)
    assert (after.running, after.lease_until_ms, after.since_ms) == (before.running, before.lease_until_ms, before.since_ms)
    assert about.card_of("worker-20001") is card and about.card_of("worker-15001") is None
    assert len(msgspec.msgpack.encode(about)) < 300
    await cell.hosts.leave("h1", now_ms=cell.now)
    assert not await cell.hosts.announce("h1", about, now_ms=cell.now)
    assert "h1" not in {view.id for view in await cell.hosts.all()}
