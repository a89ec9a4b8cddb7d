"""Large inputs and results on their whole way: client, engine, host, store and back."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from host_bench import Bench, pool
from s3_server import s3_server
from tests.fault.fault_bench import duties

from amas.artifacts.store import ArtifactStore
from amas.client import Fleet, NewTask
from amas.engine.payload import INLINE_BYTES_MAX
from amas.engine.queue import make_submission
from amas.errors import ArtifactDamaged, ArtifactMissing, ArtifactStoreUnknown, PayloadTooLarge, TaskFailed
from amas.model.artifact import MEDIA_TYPE, Reference, is_reference, to_extension, to_reference
from amas.model.schedule import Schedule, ScheduledTask
from amas.model.task import RetryPolicy, TaskSpec

LIMIT_S = 60.0
LARGE = "x" * INLINE_BYTES_MAX
HUGE = "y" * (5 << 20)


@pytest.fixture
async def fleet(bench: Bench) -> AsyncIterator[Fleet]:
    artifacts_url = str(bench.folder / "artifacts")
    async with (
        bench.host(
            [
                pool("echo", replicas=2),
                pool("echo_of_echo"),
                pool("swell"),
                pool("large_step"),
                pool("waits", agent="flow_samples:waits", capabilities=("flow.waits",)),
            ]
        ),
        Fleet.connect(bench.url, cell=bench.cell, artifacts_url=artifacts_url) as connected,
    ):
        yield connected


def _files(bench: Bench) -> list[Path]:
    return sorted((bench.folder / "artifacts").glob("??/*"))


async def _engine_bytes(bench: Bench) -> int:
    """Return the size of the largest value that the cell holds, its journal left out."""
    client, largest = bench.engine.client, 0
    async for name in client.scan_iter(f"{bench.engine.prefix}:t:*"):
        largest = max(largest, *(len(value) for value in (await client.hgetall(name)).values()))
    return largest


async def test_a_large_input_and_result_go_through_the_store_and_only_there(bench: Bench, fleet: Fleet) -> None:
    task = await fleet.submit("test.echo", {"text": HUGE})
    assert (await task.result(timeout_s=LIMIT_S))["echo"] == {"text": HUGE}
    assert len(_files(bench)) == 2  # the input and the result
    assert await _engine_bytes(bench) < 1024
    view = await bench.queue.task(task.id)
    assert view is not None
    assert is_reference(view.input)
    found = to_reference(view.result)
    assert found.size > len(HUGE)
    assert found.media_type == MEDIA_TYPE


async def test_what_just_fits_never_touches_the_store(bench: Bench, fleet: Fleet) -> None:
    fitting = "x" * (INLINE_BYTES_MAX - 200)
    results = await fleet.results(await fleet.submit_batch([NewTask(capability="test.swell", input=fitting)]), timeout_s=LIMIT_S)
    assert results == [fitting]
    assert _files(bench) == []


async def test_the_same_input_a_hundred_times_is_stored_once(bench: Bench, fleet: Fleet) -> None:
    tasks = await fleet.submit_batch(NewTask(capability="test.swell", input=LARGE) for _ in range(100))
    assert set(await fleet.results(tasks, timeout_s=LIMIT_S)) == {LARGE}
    assert len(_files(bench)) == 1  # the result is the input


async def test_results_reach_the_tasks_that_need_them_and_the_parents_that_spawned(bench: Bench, fleet: Fleet) -> None:
    first = await fleet.submit("test.swell", LARGE)
    second = await fleet.submit("test.echo", None, needs=(first.id,))
    assert (await second.result(timeout_s=LIMIT_S))["results"] == {first.id: LARGE}
    parent = await fleet.submit("test.echo_of_echo", LARGE)
    assert (await parent.result(timeout_s=LIMIT_S)) == LARGE


async def test_a_large_step_is_journaled_and_recalled(bench: Bench, fleet: Fleet) -> None:
    task = await fleet.submit("test.large_step", len(HUGE), retry=RetryPolicy(retries=1, backoff_s=0.0))
    await bench.ended(task.id)
    assert await task.result(timeout_s=LIMIT_S) == [2, len(HUGE)]


async def test_an_isolated_agent_gets_and_gives_large_values(bench: Bench) -> None:
    artifacts_url = str(bench.folder / "artifacts")
    async with (
        bench.host([pool("swell", isolation="process")]),
        Fleet.connect(bench.url, cell=bench.cell, artifacts_url=artifacts_url) as fleet,
    ):
        task = await fleet.submit("test.swell", HUGE)
        assert await task.result(timeout_s=LIMIT_S) == HUGE


@pytest.mark.parametrize("what", ["missing", "damaged"])
async def test_an_input_that_is_lost_fails_its_task_once_and_for_all(bench: Bench, what: str) -> None:
    store = bench.folder / "artifacts"
    async with Fleet.connect(bench.url, cell=bench.cell, artifacts_url=str(store)) as fleet:
        task = await fleet.submit("test.echo", LARGE)
        (path,) = _files(bench)
        path.unlink() if what == "missing" else path.write_bytes(b"something else")
        async with bench.host([pool("echo")]):
            with pytest.raises(TaskFailed, match=r"isn't in the store|is damaged") as caught:
                await task.result(timeout_s=LIMIT_S)
        view = await bench.queue.task(task.id)
    assert caught.value.error_code == f"artifact_{what}"
    assert view is not None
    assert view.attempt == 1


async def test_a_result_that_is_lost_is_told_to_who_asks(bench: Bench, fleet: Fleet) -> None:
    task = await fleet.submit("test.swell", LARGE)
    await task.outcome(timeout_s=LIMIT_S)
    (path,) = _files(bench)
    path.write_bytes(b"something else")
    with pytest.raises(ArtifactDamaged):
        await task.result(timeout_s=LIMIT_S)
    path.unlink()
    with pytest.raises(ArtifactMissing):
        await task.result(timeout_s=LIMIT_S)


async def test_a_client_that_knows_only_the_engine_says_what_it_lacks(bench: Bench) -> None:
    async with bench.host([pool("grow")]), Fleet.connect(bench.url, cell=bench.cell) as fleet:
        with pytest.raises(PayloadTooLarge, match="set AMAS_ARTIFACTS_URL to the fleet's, or connect with artifacts_url="):
            await fleet.submit("test.grow", LARGE)
        task = await fleet.submit("test.grow", INLINE_BYTES_MAX)
        with pytest.raises(ArtifactStoreUnknown, match="set AMAS_ARTIFACTS_URL"):
            await task.result(timeout_s=LIMIT_S)


async def test_what_even_the_store_wont_carry_is_refused_with_the_limit(
    bench: Bench, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AMAS_PAYLOAD_MB", "1")
    async with Fleet.connect(bench.url, cell=bench.cell, artifacts_url=str(bench.folder / "artifacts")) as small:
        with pytest.raises(PayloadTooLarge, match=r"the input of task test.echo is 5242\d+ bytes; at most 1048576 are carried"):
            await small.submit("test.echo", HUGE)
    assert _files(bench) == []


@pytest.mark.parametrize("reference", ["sha256:" + "../" * 21 + "x", "sha256:" + "0" * 64, "/etc/passwd"])
async def test_a_crafted_reference_reads_nothing(bench: Bench, reference: str) -> None:
    crafted = to_extension(Reference(reference, 5))
    async with bench.host([pool("echo")]):
        task_id = "crafted"
        await bench.queue.submit([make_submission(task_id, TaskSpec(capability="test.echo", input=crafted))])
        view = await bench.ended(task_id)
    assert view.failure is not None
    assert view.failure.code == "artifact_missing"


async def test_the_store_never_holds_up_the_event_loop(bench: Bench, fleet: Fleet) -> None:
    """While a value goes to a store that doesn't answer, the client's other work goes on."""
    (bench.folder / "artifacts").mkdir(exist_ok=True)
    blocked = asyncio.Event()
    loop = asyncio.get_running_loop()
    release = _block(fleet, lambda: loop.call_soon_threadsafe(blocked.set))
    slow = asyncio.create_task(fleet.submit("test.swell", LARGE))
    async with asyncio.timeout(LIMIT_S):
        await blocked.wait()
        quick = await fleet.submit("test.swell", "small")
        assert await quick.result() == "small"
        assert not slow.done()
        release()
        assert await (await slow).result() == LARGE


def _block(fleet: Fleet, began: Any) -> Any:
    """Make the fleet's store wait until the returned function is called."""
    import threading

    go_on, store = threading.Event(), fleet._values._store
    assert store is not None
    put = store.put_value

    def put_slowly(encoded: bytes) -> str:
        began()
        assert go_on.wait(LIMIT_S)
        return put(encoded)

    store.put_value = put_slowly  # type: ignore[method-assign]
    return go_on.set


async def test_a_large_signal_reaches_who_waits_for_it_and_again_is_the_same_one(bench: Bench, fleet: Fleet) -> None:
    task = await fleet.submit("flow.waits", 0)
    for _ in range(2):
        await fleet.signal(task, "go", LARGE)
    async with duties(bench.url, bench.cell):  # it sleeps first
        assert (await task.result(timeout_s=LIMIT_S))["said"] == LARGE
    assert await _engine_bytes(bench) < 2048


async def test_a_large_signal_or_schedule_without_a_store_is_refused_at_once(bench: Bench) -> None:
    async with Fleet.connect(bench.url, cell=bench.cell) as fleet:
        task = await fleet.submit("flow.waits", 0)
        with pytest.raises(PayloadTooLarge, match=r"the signal's payload is .* AMAS_ARTIFACTS_URL"):
            await fleet.signal(task, "go", LARGE)
        nightly = Schedule(name="nightly", cron="0 3 * * *", task=ScheduledTask(capability="test.swell", input=LARGE))
        with pytest.raises(PayloadTooLarge, match="the input of schedule 'nightly' is"):
            await fleet.schedules.add(nightly)
        assert await fleet.schedules.all() == []


async def test_over_s3(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    with s3_server() as address:
        for name, value in address.environ.items():
            monkeypatch.setenv(name, value)
        httpx.put(f"{address.endpoint}/large", timeout=60).raise_for_status()
        url = "s3://large/fleet"
        bench.artifacts = ArtifactStore(url)
        async with (
            bench.host([pool("echo"), pool("swell", isolation="process")]),
            Fleet.connect(bench.url, cell=bench.cell, artifacts_url=url) as fleet,
        ):
            tasks = [await fleet.submit("test.echo", HUGE), await fleet.submit("test.swell", LARGE)]
            first, second = await fleet.results(tasks, timeout_s=LIMIT_S)
        assert (first["echo"], second) == (HUGE, LARGE)
        assert len(list(ArtifactStore(url).list())) == 3
        assert not (bench.folder / "artifacts").exists()


async def test_large_inputs_of_a_batch_keep_their_places(bench: Bench, fleet: Fleet) -> None:
    inputs = [f"{number} {LARGE}" if number % 3 else number for number in range(30)]
    tasks = await fleet.submit_batch(NewTask(capability="test.swell", input=each) for each in inputs)
    assert await fleet.results(tasks, timeout_s=LIMIT_S) == inputs
    joined = await fleet.submit("test.echo", None, needs=tuple(task.id for task in tasks))
    assert list((await joined.result(timeout_s=LIMIT_S))["results"].values()) == inputs
