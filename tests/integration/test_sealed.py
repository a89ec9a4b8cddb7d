"""Payloads sealed on their whole way: client, engine, host, children, messages, re-runs, and whoever lacks the key."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from host_bench import Bench, pool
from tests.fault.fault_bench import duties

from amas.artifacts.reseal import reseal
from amas.artifacts.store import ArtifactStore
from amas.artifacts.values import LargeValues
from amas.cli.seal import Rotated
from amas.cli.seal import _rotate as rotate
from amas.client import Fleet
from amas.controllers.figures import Figures
from amas.controllers.recorder import Recorder
from amas.engine import sealed
from amas.engine.connection import Engine
from amas.engine.journal import Journal
from amas.engine.sealed import SealKeys
from amas.errors import EngineUnconfirmed, SealKeyMissing
from amas.messages.bus import AgentCommunicationBus
from amas.model.fleet import FleetSpec
from amas.model.message import MessageType
from amas.model.states import WorkflowState
from amas.platforms.local.home import FleetState, Home
from amas.records import reseal as records_reseal
from amas.records.database import Database
from amas.records.reseal import Resealed
from amas.records.store import Records
from amas.records.tables import tasks
from amas.sealing import Seal
from amas.settings import MessageSettings, RecordsSettings

LIMIT_S = 60.0
OLD, NEW = bytes(range(32)), bytes(range(1, 33))
MARKER = "the-plain-text"


@pytest.fixture
def bench(engine: Engine, engine_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Bench:
    made = Bench(engine, engine_url, tmp_path)
    use(made, NEW)
    monkeypatch.setenv("SEALED_TEST_KEY", NEW.hex())
    monkeypatch.setenv("AMAS_SEAL_KEY", "env:SEALED_TEST_KEY")
    return made


def use(bench: Bench, *keys: bytes) -> None:
    """Have the hosts that are started from now on use these keys."""
    bench.seal = Seal(keys) if keys else None
    bench.artifacts = ArtifactStore(bench.folder / "artifacts", seal=bench.seal.artifacts if bench.seal else None)


async def connected(bench: Bench) -> AsyncIterator[Fleet]:
    async with Fleet.connect(bench.url, cell=bench.cell, artifacts_url=str(bench.folder / "artifacts")) as fleet:
        yield fleet


@pytest.fixture
async def fleet(bench: Bench) -> AsyncIterator[Fleet]:
    async for each in connected(bench):
        yield each


async def engine_holds(bench: Bench, text: str) -> list[str]:
    """Return the names of all the cell's keys whose dump holds a text."""
    client, found = bench.engine.client, []
    async for name in client.scan_iter(f"{bench.engine.prefix}:*"):
        kind = (await client.type(name)).decode()
        held: Any = await {
            "hash": client.hgetall,
            "string": client.get,
            "set": client.smembers,
            "zset": lambda key: client.zrange(key, 0, -1),
            "list": lambda key: client.lrange(key, 0, -1),
            "stream": client.xrange,
        }[kind](name)
        if text.encode() in repr(held).encode():
            found.append(name.decode())
    return found


async def test_inputs_results_steps_and_children_are_sealed_in_the_engine(bench: Bench, fleet: Fleet) -> None:
    pools = [pool("echo"), pool("large_step"), pool("echo", name="apart", isolation="process", capabilities=("test.apart",))]
    async with bench.host(pools):
        for value in (MARKER, {"deep": [MARKER]}, MARKER * 10_000):
            assert (await (await fleet.submit("test.echo", value)).result(timeout_s=LIMIT_S))["echo"] == value
        assert (await (await fleet.submit("test.apart", MARKER)).result(timeout_s=LIMIT_S))["echo"] == MARKER
    assert await engine_holds(bench, MARKER) == []
    assert await engine_holds(bench, "test.echo")  # what is looked for is found where it isn't sealed
    files = [path for path in (bench.folder / "artifacts").glob("??/*") if path.is_file()]
    assert len(files) == 2
    assert not any(MARKER.encode() in path.read_bytes() for path in files)


async def test_a_workflow_of_sealed_and_large_tasks_can_be_run_again(bench: Bench, fleet: Fleet) -> None:
    from amas.orchestration.workflow import Workflow

    flow = Workflow("again")
    flow.task("small", "test.echo", {"text": MARKER})
    flow.task("large", "test.echo", {"text": MARKER * 10_000}, needs=["small"])
    async with bench.host([pool("echo")]), duties(bench.url, bench.cell):
        handle = await fleet.start(flow)
        first = await handle.result(timeout_s=LIMIT_S)
        assert await fleet.workflows.rerun(handle.id, handle.task_id("small")) == 2
        assert await handle.result(timeout_s=LIMIT_S) == first
    assert await engine_holds(bench, MARKER) == []


async def test_who_lacks_the_key_is_told_before_it_takes_work_and_none_is_lost(
    bench: Bench, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    task = await fleet.submit("test.echo", MARKER)
    use(bench)
    with pytest.raises(ExceptionGroup) as refused:
        async with asyncio.timeout(LIMIT_S), bench.host([pool("echo")], "without"):
            pass
    assert refused.group_contains(SealKeyMissing, match="AMAS_SEAL_KEY doesn't name here")
    monkeypatch.delenv("AMAS_SEAL_KEY")
    with pytest.raises(SealKeyMissing):
        async for _ in connected(bench):
            pass
    use(bench, NEW)
    async with bench.host([pool("echo")]):
        assert (await task.result(timeout_s=LIMIT_S))["echo"] == MARKER


async def test_a_host_that_a_rotation_left_behind_gives_tasks_back_without_blame(
    bench: Bench, fleet: Fleet, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with duties(bench.url, bench.cell), bench.host([pool("echo")], "left-behind"):
        monkeypatch.setenv("OTHER_TEST_KEY", OLD.hex())
        monkeypatch.setenv("AMAS_SEAL_KEY", "env:OTHER_TEST_KEY env:SEALED_TEST_KEY")
        async for rotated in connected(bench):
            task = await rotated.submit("test.echo", MARKER)

            async def came_back(task_id: str = task.id) -> bool:
                view = await bench.queue.task(task_id)
                return view is not None and view.attempt > 0 and view.state == "delayed"

            await bench.until(came_back)
            use(bench, OLD, NEW)
            async with bench.host([pool("echo", replicas=4)], "up-to-date"):
                assert (await task.result(timeout_s=LIMIT_S))["echo"] == MARKER
            view = await bench.queue.task(task.id)
            assert view is not None
            assert view.failures == 0


async def test_messages_are_sealed_in_their_inboxes(bench: Bench, engine: Engine) -> None:
    spec = FleetSpec(name="f", pools=(pool("echo", replicas=2),))
    settings = MessageSettings(secret="a-secret-of-the-fleet-for-tests")
    bus = AgentCommunicationBus(engine, spec, settings, agents=["echo-2"], seal=bench.seal)
    said = {"findings": MARKER}
    message = {"sender_id": "echo-1", "recipient_id": "echo-2", "message_type": MessageType.SHARE_FINDINGS, "payload": said}
    await bus.send_message(**message)
    assert await engine_holds(bench, MARKER) == []
    (got,) = await bus.receive("echo-2", wait_s=LIMIT_S)
    assert got.payload == said


async def test_keys_are_agreed_on_and_retired(engine: Engine) -> None:
    keys = SealKeys(engine)
    await keys.agree(None)
    assert await keys.since() == {}
    await keys.agree(Seal([OLD]))
    with pytest.raises(SealKeyMissing):
        await keys.agree(None)
    with pytest.raises(SealKeyMissing):
        await keys.agree(Seal([NEW]))
    await keys.agree(Seal([OLD, NEW]))  # known before it seals
    await keys.agree(Seal([NEW, OLD]))
    assert set(await keys.since()) == {*Seal([OLD, NEW]).key_ids}
    await keys.retire(Seal([OLD]).key_ids[0])
    await keys.agree(Seal([NEW]))


async def test_a_rotation_gives_no_key_up_while_a_host_still_seals_with_it(
    bench: Bench, engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys, old, rotated, home = SealKeys(engine), Seal([NEW]).key_ids[0], Seal([OLD, NEW]), Home(tmp_path / "home")
    home.prepare()
    here = {"engine_url": bench.url, "cell": bench.cell, "artifacts_url": str(bench.folder / "artifacts")}

    async def rotated_once() -> Rotated:
        async with await Records.open(RecordsSettings.read().url_for(home.folder), cell=bench.cell) as records:
            recorder, journal = Recorder(Journal(engine), records, Figures()), Journal(engine)
            while await records.position() != await journal.last_id():
                await recorder.run_once(wait_ms=0)
        return await rotate(home, rotated)

    with home.hold():
        home.write_state(FleetState(name="f", fleet_file="", host="127.0.0.1", port=1, metrics_port=2, **here))
        async with bench.host([pool("echo")], "left-behind"):
            await bench.until(keys.users)
            found = await rotated_once()
            assert (found.behind, found.retired, set(await keys.since())) == (["left-behind"], [], {*rotated.key_ids})
        await keys.tell(rotated, "up-to-date")
        with monkeypatch.context() as asked:
            asked.setenv("AMAS_ACK_REPLICAS", "1")
            asked.setenv("AMAS_ACK_TIMEOUT_S", "0.05")
            with pytest.raises(EngineUnconfirmed):
                await rotated_once()
        found = await rotated_once()
        assert (found.behind, found.retired) == ([], [old])
    await keys.tell(Seal([NEW]), "late")
    assert old in await keys.since(), "whoever seals with it all the same makes it needed again"
    monkeypatch.setattr(sealed, "KNOWN_S", 0.0)
    await keys.tell(Seal([NEW]), "late")
    assert await keys.users() == {"up-to-date": rotated.key_ids[0]}, "one that was killed isn't waited for without end"


async def test_a_rotation_seals_the_history_and_artifacts_anew_and_leaves_what_the_engine_holds(
    bench: Bench, fleet: Fleet, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    goal = await fleet.run(f"do the {MARKER}", preferences={"mine": MARKER})
    async with bench.host([pool("echo")]):
        for value in (MARKER, MARKER * 10_000):
            await (await fleet.submit("test.echo", value)).result(timeout_s=LIMIT_S)
    assert await bench.queue.end_workflow(goal.id, WorkflowState.CANCELLED)
    async with await Records.open(f"sqlite:///{tmp_path}/records.sqlite3", cell=bench.cell) as records:
        recorder, journal = Recorder(Journal(bench.engine), records, Figures()), Journal(bench.engine)
        while await records.position() != await journal.last_id():
            await recorder.run_once(wait_ms=0)
        assert MARKER.encode() not in (tmp_path / "records.sqlite3").read_bytes()
        rotated, later_ms = Seal([OLD, NEW]), bench.queue.now_ms() + 60_000
        assert await records.reseal(rotated, held_since_ms=0) == Resealed(
            0, 3
        )  # a goal, its root task, the small one; the large values lie in the store
        assert await records.reseal(rotated, held_since_ms=later_ms) == Resealed(3, 0)
        assert await records.reseal(rotated, held_since_ms=later_ms) == Resealed(0, 0)
        folder = bench.folder / "artifacts"
        assert reseal(ArtifactStore(folder, seal=rotated.artifacts)) == 2
        assert reseal(ArtifactStore(folder, seal=rotated.artifacts)) == 0
        only = Seal([OLD])
        values = LargeValues(ArtifactStore(folder, seal=only.artifacts), seal=only)
        found = [await records.task(task.id) for task in await records.tasks()]
        told = [await values.get(task.input) for task in found if task]
        assert {str(one).count(MARKER) for one in told} == {1, 2, 10_000}
        kept = await records.workflow(goal.id)
        assert kept is not None
        assert MARKER not in repr(kept.goal)
        assert values.goal(kept.goal)["text"] == f"do the {MARKER}"

        async def later(database: Database, changes: Any) -> int:
            async with database.writing() as connection:
                await connection.execute(tasks.update().values(finished_ms=None))
            return await write(database, changes)

        write = records_reseal._write
        monkeypatch.setattr(records_reseal, "_write", later)
        again = await records.reseal(Seal([NEW, OLD]), held_since_ms=later_ms)
        assert again.values == 1, "tasks that run again since they were read are left to the recorder"
