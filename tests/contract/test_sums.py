"""The sums of what was spent and done agree with the rows that they are made of, whatever happens to tasks and recorders."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from math import ceil
from operator import itemgetter
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st
from tests.contract.test_records_property import KINDS, World

from amas.clock import new_id
from amas.controllers.summing import Summing
from amas.core.report import Slots
from amas.engine.connection import Engine
from amas.engine.queue import make_submission
from amas.engine.workflows import Workflows
from amas.errors import EngineError
from amas.model.blob import to_blob
from amas.model.cost import ModelCall
from amas.model.journal import WorkflowOpening
from amas.model.limits import Usage
from amas.model.task import Claimed, Completion, FailedAttempt, Failure, JournaledStep, RetryPolicy, TaskSpec
from amas.records import sums
from amas.records.ended import FOREVER_MS, Span
from amas.records.store import Records
from amas.records.sums import DAY_MS, HOUR_MS, NOTHING_SUMMED, pool_of
from amas.records.tables import PACKED, SUMS, attempts, costs, recorder, tasks
from amas.records.views import Group

Step = tuple[str, int]
WAYS = ("day", "tenant", "workflow", "pool", "agent", "model", "task")
CALLS = (ModelCall("small", "openai", 100, 20, 60, 2000, 1500), ModelCall("spare", "anthropic", 10, 5, 0, 500, 250))
steps = st.tuples(
    st.sampled_from((*KINDS, "keep", "keep", "complete", "rerun", "hours", "hours", "flow", "flow")), st.integers(0, 1000)
)


class Spenders(World):
    """A cell whose agents use models, for two tenants and none, through the hours."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self.flows = Workflows(engine)

    def _new(self, **fields: Any) -> Any:
        tenant = ("", "acme", "zeta")[len(self.sent) % 3]
        spec = TaskSpec(capability="work", retry=RetryPolicy(retries=1), tenant=tenant, **fields)
        self.sent.append(make_submission(new_id(), spec))
        return self.sent[-1]

    async def _flow(self, number: int) -> None:
        self.workflows.append(new_id())
        batch = [self._new(workflow_id=self.workflows[-1]) for _ in range(1 + number % 3)]
        await self.queue.submit(batch, workflow=WorkflowOpening(self.workflows[-1], to_blob({"n": number})), now_ms=self.now)

    async def do(self, step: Step) -> None:
        if step[0] != "keep":
            await super().do(step)
        elif self.claimed:
            _, task = self.claimed[step[1] % len(self.claimed)]
            step_made = JournaledStep(task.id, task.attempt, f"model/{step[1] % 3}", to_blob({}), CALLS[: 1 + step[1] % 2])
            await self.queue.journal_steps([step_made], now_ms=self.now)

    async def _complete(self, host: str, task: Claimed) -> None:
        usage = Usage(2500, 150, 3) if self.now % 2 else None
        await self.queue.complete(host, [Completion(task.id, task.attempt, to_blob(1), usage)], now_ms=self.now)

    async def _fail(self, host: str, task: Claimed, *, final: bool = False) -> None:
        item = FailedAttempt(task.id, task.attempt, to_blob(Failure("boom", "it broke")), 1000, final, usage=Usage(10, 1, 1))
        await self.queue.fail(host, [item], now_ms=self.now)

    async def _rerun(self, number: int) -> None:
        in_flows = [each for each in self.sent if each.options and each.options.workflow_id]
        if in_flows:
            task = in_flows[number % len(in_flows)]
            with suppress(EngineError):
                await self.flows.rerun(task.options.workflow_id, task.id, now_ms=self.now)

    async def _hours(self, number: int) -> None:
        self.now += (number % 40) * HOUR_MS + number
        await self.join()


async def rows_of(records: Records) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Every row of costs, and every attempt that ended, by the rule of the tables: read and told apart in Python."""
    async with records._database.reading() as connection:
        found = {
            table: [dict(row._mapping) for row in await connection.execute(sa.select(table))]
            for table in (tasks, attempts, costs)
        }
    owners = {task["id"]: task for task in found[tasks]}
    tried = {each["task_id"] for each in found[attempts]}
    ended = [{**each, **_whose(owners[each["task_id"]])} for each in found[attempts] if each["task_id"] in owners]
    ended += [
        {**task, **_whose(task), "task_id": task["id"]}
        for task in found[tasks]
        if task["attempt"] == 1 and task["id"] not in tried
    ]
    return found[costs], [{**each, "at_ms": each["finished_ms"]} for each in ended if each["finished_ms"] is not None]


def _whose(task: dict[str, Any]) -> dict[str, Any]:
    return {"tenant": task["tenant"], "workflow_id": task["workflow_id"]}


def named(row: dict[str, Any], by: str) -> str:
    """The group of a row."""
    match by:
        case "day":
            return datetime.fromtimestamp(row["at_ms"] / 1000, UTC).date().isoformat()
        case "pool":
            return pool_of(row["agent_id"] or "")
        case "task" | "workflow" | "agent":
            return row[f"{by}_id"] or ""
        case _:
            return row[by] or ""


def within(row: dict[str, Any], span: Span) -> bool:
    wanted = all(not getattr(span, name) or row[name] == getattr(span, name) for name in ("tenant", "workflow_id", "agent_id"))
    return wanted and span.since_ms <= row["at_ms"] < span.until_ms


def scanned(rows: tuple[list[dict[str, Any]], list[dict[str, Any]]], by: str, span: Span) -> dict[str, tuple[int, ...]]:
    """Micro-dollars, tokens, calls and agents' milliseconds by group, by going over every row."""
    found: dict[str, Counter[str]] = {}
    for row in rows[0]:
        if within(row, span):
            group = found.setdefault(named(row, by), Counter())
            group.update(usd=row["usd_micro"], tokens=row["tokens"], calls=row["calls"], model=row["duration_ms"])
    for row in rows[1] if by != "model" else ():
        if within(row, span):
            found.setdefault(named(row, by), Counter()).update(agent=row["finished_ms"] - row["started_ms"])
    return {name: tuple(group[each] for each in ("usd", "tokens", "calls", "model", "agent")) for name, group in found.items()}


def told(cost: Any) -> tuple[int, ...]:
    whole = (round(cost.usd * 1e6), cost.tokens, cost.calls, round(cost.model_s * 1000))
    return *whole, round(cost.agent_s * 1000)


def spans(rows: tuple[list[dict[str, Any]], list[dict[str, Any]]]) -> Iterator[Span]:
    """All time, times that are and aren't whole hours, and what the filters let through."""
    yield Span()
    times = sorted({row["at_ms"] for kind in rows for row in kind}) or [0]
    first, middle, last = times[0], times[len(times) // 2], times[-1]
    yield from (
        Span(since_ms=middle),
        Span(until_ms=middle),
        Span(first + 1, last),
        Span(last - last % HOUR_MS - 50 * HOUR_MS, last + 1),
    )
    yield Span(first - first % DAY_MS, last - last % HOUR_MS)
    agents = sorted({row["agent_id"] for row in rows[1] if row["agent_id"]})
    flows = sorted({row["workflow_id"] for row in rows[1] if row["workflow_id"]})
    for more in (
        {"tenant": "acme"},
        {"agent_id": agents[-1] if agents else "nobody"},
        {"workflow_id": flows[0] if flows else "none"},
    ):
        yield Span(**more)
        yield Span(middle, last + HOUR_MS, **more)


async def agree(records: Records) -> None:
    """Each way to tell costs apart, in each span, is what the rows come to; whole, and page by page."""
    rows = await rows_of(records)
    for number, span in enumerate(spans(rows)):
        for by in WAYS if span == Span() else (WAYS[number % 7], WAYS[(number + 3) % 7], WAYS[(number + len(rows[0])) % 7]):
            wanted = scanned(rows, by, span)
            total, found = await records.costs(by, span, limit=1000)
            assert {group.name: told(group) for group in found} == wanted, f"by {by} in {span}"
            everything = scanned(rows, "tenant", span).values()
            assert told(total) == tuple(map(sum, zip(*everything, strict=True))) if everything else not any(told(total))
        spent = await records._database.look(lambda connection, span=span: sums_usd(connection, span))
        assert round(spent * 1e6) == sum(group[0] for group in scanned(rows, "model", span).values())
    for by in WAYS:
        names, after = [], None
        while page := (await records.costs(by, Span(), limit=5, after=after))[1]:
            names += [group.name for group in page]
            if (after := page[-1].name) == "" and by in {"workflow", "task"}:
                break
        assert names == sorted(scanned(rows, by, Span()), reverse=by in {"day", "workflow", "task"})


async def outcomes_agree(records: Records) -> None:
    """How tasks ended since each of some times is what their rows say: told apart in Python, one by one."""
    async with records._database.reading() as connection:
        rows = [dict(row._mapping) for row in await connection.execute(sa.select(tasks))]
    done = [row for row in rows if row["finished_ms"] is not None]
    times = sorted(row["finished_ms"] for row in done) or [0]
    for since_ms in {0, times[0] + 1, times[len(times) // 2], times[-1] - 30 * HOUR_MS, times[-1] + 1}:
        found = await records.analytics(since_ms)
        late = [row for row in done if row["finished_ms"] >= since_ms]
        assert ended_as(found.total, late)
        for groups, name in (
            (found.capabilities, itemgetter("capability")),
            (found.layers, itemgetter("layer")),
            (found.pools, pool_in),
        ):
            assert [group.name for group in groups] == sorted({name(row) for row in late if name(row)})
            for group in groups:
                assert ended_as(group, [row for row in late if name(row) == group.name])


def pool_in(row: dict[str, Any]) -> str:
    return pool_of(row["agent_id"] or "")


def ended_as(group: Group, rows: list[dict[str, Any]]) -> bool:
    """Counts and the mean to the last digit, percentiles as near as is said."""
    states = Counter(row["state"] for row in rows)
    assert (group.succeeded, group.failed, group.cancelled) == tuple(
        states[each] for each in ("succeeded", "failed", "cancelled")
    )
    took = sorted(
        row["finished_ms"] - row["started_ms"] for row in rows if row["state"] == "succeeded" and row["started_ms"] is not None
    )
    if not took:
        return (group.mean_s, group.p50_s, group.p99_s) == (None, None, None)
    assert group.mean_s == pytest.approx(sum(took) / len(took) / 1000, rel=1e-12)
    for told_s, share in ((group.p50_s, 0.5), (group.p99_s, 0.99)):
        assert told_s is not None
        assert abs(told_s * 1000 - took[ceil(share * len(took)) - 1]) <= took[ceil(share * len(took)) - 1] / 64
    return True


async def seconds_agree(records: Records) -> None:
    """What a report's window adds up to is what tasks and attempts say, each gone through slot by slot."""
    async with records._database.reading() as connection:
        rows = [dict(row._mapping) for row in await connection.execute(sa.select(tasks))]
        tried = [dict(row._mapping) for row in await connection.execute(sa.select(attempts))]
    now_ms = max([row["created_ms"] for row in rows] + [row["finished_ms"] or 0 for row in rows] or [0]) + 2500
    now_ms = max([now_ms, *((row["finished_ms"] or row["started_ms"]) + 2500 for row in tried)])
    for back_ms in (1000, 5000, 3_700_000):
        slots = Slots((now_ms - back_ms) // 1000 * 1000, now_ms, 1000)
        late = [row for row in rows if row["finished_ms"] is None or row["finished_ms"] >= slots.from_ms]
        work, wanted = await records.work_in(slots), told_apart(late, tried, slots)
        assert work.accepted == sum(row["created_ms"] >= slots.from_ms for row in late)
        for name in ("worked", "asked", "succeeded", "failed"):
            assert list(getattr(work, name)) == [wanted[name, slot] for slot in range(slots.total)], name
        for state in ("succeeded", "failed", "cancelled"):
            done = Counter(pool_of(row["agent_id"] or "") for row in late if row["state"] == state)
            told = Counter[str]()
            for each in work.ended:
                told[each.pool] += each.tasks if each.state == state else 0
            assert +told == done
        busy = Counter[str]()
        for each in work.ended:
            busy[each.pool] += each.busy_ms
        assert busy == Counter({pool: wanted["busy", pool] for pool in {row[1] for row in wanted if row[0] == "busy"} | {*busy}})


class Window:
    """Numbers by their name and slot, or pool."""

    def __init__(self, slots: Slots) -> None:
        self.slots, self.found = slots, Counter[Any]()

    def stretch(self, name: str, first_ms: int, last_ms: int, *, whole: bool = False) -> None:
        from_ms, total = self.slots.from_ms, self.slots.total
        for slot in range(max(0, (first_ms - from_ms) // 1000), min(total, (last_ms - from_ms) // 1000 + 1)):
            begin_ms = from_ms + slot * 1000
            self.found[name, slot] += not whole or (first_ms <= begin_ms and begin_ms + 1000 <= last_ms)

    def task(self, row: dict[str, Any], tried: list[dict[str, Any]]) -> None:
        slots, over_ms = self.slots, row["finished_ms"]
        end_ms = over_ms or slots.to_ms
        last_ms = over_ms or slots.from_ms + slots.total * 1000 - 1
        ready_ms = row["created_ms"] if row["queued_ms"] is None else row["queued_ms"]
        if row["state"] in {"succeeded", "failed"}:
            self.found[row["state"], (end_ms - slots.from_ms) // 1000] += 1
        if row["attempt"] == 1 and (over_ms or row["state"] == "running"):
            self.stretch("worked", row["started_ms"], last_ms)
            self.stretch("asked", ready_ms, row["started_ms"] // 1000 * 1000, whole=True)
            self.found["busy", pool_of(row["agent_id"])] += end_ms - row["started_ms"] if over_ms else 0
        if row["state"] == "queued":
            self.stretch("asked", ready_ms, last_ms + 1, whole=True)
        for each in tried if row["attempt"] > 1 else ():
            self.attempt(each, each["finished_ms"] or end_ms)
            if each["attempt"] == row["attempt"]:
                self.stretch("asked", ready_ms, each["started_ms"] // 1000 * 1000, whole=True)

    def attempt(self, row: dict[str, Any], over_ms: int) -> None:
        self.found["busy", pool_of(row["agent_id"])] += over_ms - row["started_ms"]
        if row["state"] == "lost":
            self.stretch("asked", (row["started_ms"] // 1000 + 1) * 1000, over_ms // 1000 * 1000, whole=True)
        else:
            self.stretch("worked", row["started_ms"], over_ms)


def told_apart(rows: list[dict[str, Any]], tried: list[dict[str, Any]], slots: Slots) -> Counter[Any]:
    window = Window(slots)
    for row in rows:
        window.task(row, [each for each in tried if each["task_id"] == row["id"]])
    return window.found


def sums_usd(connection: sa.Connection, span: Span) -> float:
    from amas.records.costs import usd_of

    return usd_of(connection, span)


async def forget_sums(records: Records) -> None:
    """Leave the records as an earlier version's tables are when they were brought up to date."""
    async with records._database.writing() as connection:
        for table in (*SUMS, *PACKED):
            await connection.execute(table.delete())
        await connection.execute(recorder.update().values(summed_from_ms=NOTHING_SUMMED))


AGAIN = [("submit", 0), ("claim", 0), ("keep", 0), ("give_back", 0), ("claim", 0), ("complete", 1)]
"""Recorded twice, a request of the first attempt meets a second one that its task hasn't come to again."""
FATES = ("kept", "forgotten", "recorded twice")


async def record(records: Records, entries: Any, sizes: list[int], *, repeat: int, fate: str) -> None:
    """Record entries in portions, `repeat` of each for the second time, while the sums reach further back."""
    done = turn = 0
    while done < len(entries):
        size = sizes[turn % len(sizes)]
        await records.apply(entries[max(0, done - repeat) : done + size])
        done, turn = done + size, turn + 1
        if fate == "forgotten" and turn == 2:
            await forget_sums(records)
        if turn > 3:
            await records.sum_older()


async def sum_all_up(records: Records) -> None:
    """Add all up again, from nothing."""
    await forget_sums(records)
    duty = Summing(records)
    while await records.summed_from_ms():
        await duty.run_once()


@settings(
    max_examples=8,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@example(steps=AGAIN, sizes=[2], repeat=0, fate="recorded twice")
@given(
    st.lists(steps, min_size=10, max_size=70),
    st.lists(st.integers(1, 12), min_size=1, max_size=5),
    st.integers(0, 4),
    st.sampled_from(FATES),
)
def test_sums_agree_with_the_rows(
    engine_url: str, new_records_url: Callable[[], Awaitable[str]], steps: list[Step], sizes: list[int], repeat: int, fate: str
) -> None:
    async def run() -> None:
        async with Engine(engine_url, cell=uuid4().hex) as engine, await Records.open(await new_records_url()) as records:
            world = Spenders(engine)
            await world.join()
            for step in steps:
                await world.do(step)
            entries = await world.journal.read("0-0", limit=10_000)
            await record(records, entries, sizes, repeat=repeat, fate=fate)
            await agree(records)
            await outcomes_agree(records)
            await seconds_agree(records)
            if fate == "recorded twice":  # as after an engine was restored that is older than the records
                place = await records.lost_work.place()
                assert await records.lost_work.follow("another", instead_of=place, anew_at="0-0")
                await record(records, entries, sizes, repeat=repeat, fate=fate)
                await agree(records)
                await outcomes_agree(records)
                await seconds_agree(records)
            kept = await _sums(records)
            await sum_all_up(records)
            await agree(records)
            await outcomes_agree(records)
            await seconds_agree(records)
            assert fate != "kept" or await _sums(records) == kept, "the same, added up at once or as it came"

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(sums, "OLDER_ROWS", 3)
        patched.setattr("amas.records.costs.UNITS_MAX", 3)  # so that either way is taken
        asyncio.run(run())


async def _sums(records: Records) -> list[list[tuple[Any, ...]]]:
    async with records._database.reading() as connection:
        return [sorted(map(tuple, await connection.execute(sa.select(table)))) for table in (*SUMS, *PACKED)]


async def test_nothing_is_added_to_before_it_is_reached(records: Records) -> None:
    assert await records.summed_from_ms() == 0
    await forget_sums(records)
    assert await records.summed_from_ms() == FOREVER_MS
    assert await records.sum_older() == 0
