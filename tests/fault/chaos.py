"""A fleet under attack: work goes in while processes are killed and frozen and connections are cut, as a seed says.

    python -m tests.fault.chaos --minutes 30 [--seed N] [--records postgresql]

At the end nothing may be lost, doubled, out of order or done again: the submitter's outcomes, the records, the journal and the
ledger that the agents wrote must tell the same story.
"""

import argparse
import asyncio
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import msgspec
from tests.fault.auditor import Auditor, audited, follow
from tests.fault.chaos_proxy import ChaosProxy
from tests.samples.postgres_server import MISSING, PostgresServer, find_postgres

from amas.client import Fleet, NewTask, TaskHandle
from amas.engine.embedded import EmbeddedEngine
from amas.errors import EngineError, RecordsError
from amas.model.limits import Amounts
from amas.model.states import TaskState
from amas.model.task import RetryPolicy
from amas.platforms.local.control import RunningFleet, start_fleet
from amas.platforms.local.request import StartRequest
from amas.records.history import PAGE_MAX
from amas.records.store import Records

SAMPLES = Path(__file__).parent.parent / "samples"
OPEN_MAX = 1200
"""Tasks under way at a time: enough that every attack hits hundreds."""
LIMIT_S = 240.0
"""What the fleet gets to finish when the attacks are over."""
POOR, POOR_CALLS = "poor", 150
"""The tenant whose budget `chaos.yaml` says, and how many calls that is."""
S = TaskState


class Expected(msgspec.Struct):
    """A task that was accepted, and how it may end."""

    handle: TaskHandle
    steps: int
    ends: set[TaskState]
    needs: tuple[str, ...] = ()
    own_ledger: bool = True


class Load:
    """Work of every kind: plain, failing, giving up, splitting, in layers, limited, paid for, cancelled on the way."""

    def __init__(self, client: Fleet, chance: random.Random) -> None:
        self._client, self._chance = client, chance
        self.tasks: dict[str, Expected] = {}

    @property
    def open(self) -> int:
        """Return how many tasks have not ended yet."""
        return sum(not each.handle.done for each in self.tasks.values())

    async def wave(self) -> None:
        """Submit a few dozen tasks."""
        layers = self._chance.randrange(1, 5)
        above: list[str] = []
        for _ in range(layers):
            above = await self._layer(above)
        if self._chance.random() < 0.5:
            chosen = self._chance.sample(sorted(self.tasks), min(5, len(self.tasks)))
            for task_id in chosen:
                self.tasks[task_id].ends |= {S.CANCELLED}
                self._doom(task_id)
            with suppress(EngineError):
                await self._client.cancel(*(self.tasks[task_id].handle for task_id in chosen))

    async def _layer(self, above: list[str]) -> list[str]:
        made = [self._one(above) for _ in range(self._chance.randrange(8, 24))]
        handles = await self._client.submit_batch(new for new, _, _ in made)
        for handle, (new, steps, ends) in zip(handles, made, strict=True):
            doomed = any(self.tasks[need].ends - {S.SUCCEEDED} for need in new.needs)
            certain = any(self.tasks[need].ends == {S.FAILED} for need in new.needs)
            wanted = {S.FAILED} if certain else ends | ({S.FAILED} if doomed else set())
            self.tasks[handle.id] = Expected(handle, steps, wanted, new.needs, own_ledger=new.capability == "chaos.work")
        return [handle.id for handle in handles]

    def _one(self, above: list[str]) -> tuple[NewTask, int, set[TaskState]]:
        chance = self._chance
        needs = tuple(chance.sample(above, min(len(above), chance.randrange(3))))
        options = {"needs": needs, "priority": chance.randrange(4), "tenant": chance.choice(["", "gold", "plain"])}
        retry = RetryPolicy(retries=5, backoff_s=0.1, backoff_max_s=1.0)
        if chance.random() < 0.15:
            parts = [self._work(fails=0) for _ in range(chance.randrange(4))]
            return NewTask(capability="chaos.split", input=parts, retry=retry, **options), 0, {S.SUCCEEDED}
        gives_up = chance.random() < 0.03
        work = self._work(fails=chance.choice([0, 0, 0, 1, 2]), gives_up=gives_up)
        ends = {S.FAILED} if gives_up else {S.SUCCEEDED}
        if chance.random() < 0.1:
            options["concurrency"] = {"chaos": 5}
        elif chance.random() < 0.1:
            options |= {"tenant": POOR, "estimate": Amounts(calls=1)}
            work["calls"] = 1
            ends = ends | {S.FAILED}  # what it may spend comes to its end
        return NewTask(capability="chaos.work", input=work, retry=retry, **options), work["steps"], ends

    def _work(self, *, fails: int, gives_up: bool = False) -> dict[str, int | float | bool]:
        chance = self._chance
        steps, hold_s = chance.randrange(4), chance.choice([0.0, 0.01, 0.2])
        return {"steps": steps, "hold_s": hold_s, "fails": fails, "gives_up": gives_up, "calls": 0}

    def _doom(self, task_id: str) -> None:
        """Note that whatever needs this task may fail."""
        for other_id, other in self.tasks.items():
            if task_id in other.needs and S.FAILED not in other.ends:
                other.ends |= {S.FAILED}
                self._doom(other_id)


class Site:
    """The fleet and all that it stands on, in a folder of its own, with what can be done to it."""

    def __init__(self, folder: Path, chance: random.Random, postgres: PostgresServer | None) -> None:
        self.folder, self._chance, self._postgres = folder, chance, postgres
        self.ledger = folder / "ledger"
        self.engine = EmbeddedEngine(folder / "engine")
        self.proxy = ChaosProxy(self.engine.socket)
        self.records_url = f"sqlite:///{folder / 'home' / 'records.sqlite3'}"
        self.fleet: RunningFleet
        self.done: Counter[str] = Counter()
        self.attacks: dict[str, Callable[[], Awaitable[None]]] = {
            "kill host-1": lambda: self._kill("host-1"),
            "kill host-2": lambda: self._kill("host-2"),
            "kill control-plane": lambda: self._kill("control-plane"),
            "kill engine": self._kill_engine,
            "freeze host-1": lambda: self._freeze("host-1", 9.0),
            "freeze control-plane": lambda: self._freeze("control-plane", 6.0),
            "freeze engine": self._freeze_engine,
            "reset connections": self._reset,
            "half-open connections": self._half_open,
            "slow connections": self._slow,
            **({"kill postgresql": self._kill_postgres} if postgres else {}),
        }

    @asynccontextmanager
    async def running(self) -> AsyncIterator["Site"]:
        """Start everything; stop it at the end."""
        declared = (SAMPLES / "chaos.yaml").read_text()
        (self.folder / "fleet.yaml").write_text(f"{declared}    options: {{ledger: {self.ledger}}}\n")
        (self.folder / "chaos_agents.py").write_text((SAMPLES / "chaos_agents.py").read_text())
        if self._postgres:
            self.records_url = await self._postgres.new_database()
        await self.engine.start()
        async with self.proxy.running():
            environ = {"AMAS_ENGINE_URL": self.proxy.url, "AMAS_RECORDS_URL": self.records_url}
            os.environ.update(environ)  # what the fleet's processes inherit
            try:
                self.fleet = await start_fleet(
                    StartRequest(
                        home=str(self.folder / "home"),
                        fleet_file=str(self.folder / "fleet.yaml"),
                        hosts=2,
                        engine_url=self.proxy.url,
                        port=0,
                        metrics_port=0,
                        bound=True,
                    )
                )
                try:
                    yield self
                finally:
                    await self.fleet.stop()
            finally:
                for name in environ:
                    del os.environ[name]
        await self.engine.stop()

    async def attack(self, name: str) -> None:
        """Do one thing to it, and undo what has to be undone."""
        print(f"  {name}", file=sys.stderr, flush=True)
        await self.attacks[name]()
        self.done[name] += 1

    def _pid(self, part: str) -> int:
        return next((each.pid for each in self.fleet.state.parts if each.name == part), 0)

    async def _kill(self, part: str) -> None:
        if pid := self._pid(part):  # 0 while the supervisor starts it again
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    async def _freeze(self, part: str, most_s: float) -> None:
        if pid := self._pid(part):
            await self._stopped(pid, self._chance.uniform(0.5, most_s))

    async def _stopped(self, pid: int, seconds: float) -> None:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGSTOP)
            await asyncio.sleep(seconds)
            os.kill(pid, signal.SIGCONT)

    async def _kill_engine(self) -> None:
        assert self.engine.pid is not None
        os.kill(self.engine.pid, signal.SIGKILL)
        await self.engine.stop()
        await asyncio.sleep(self._chance.uniform(0, 2))
        await self.engine.start()

    async def _freeze_engine(self) -> None:
        assert self.engine.pid is not None
        await self._stopped(self.engine.pid, self._chance.uniform(0.2, 5))

    async def _reset(self) -> None:
        self.proxy.reset()

    async def _half_open(self) -> None:
        self.proxy.swallow()
        self.proxy.silent = True
        await asyncio.sleep(self._chance.uniform(0.5, 4))
        self.proxy.silent = False
        self.proxy.reset()

    async def _slow(self) -> None:
        self.proxy.delay_s = self._chance.uniform(0.005, 0.05)
        await asyncio.sleep(self._chance.uniform(1, 4))
        self.proxy.delay_s = 0.0

    async def _kill_postgres(self) -> None:
        assert self._postgres is not None
        self._postgres.kill()
        await asyncio.sleep(self._chance.uniform(0.5, 3))
        await asyncio.to_thread(self._postgres.start)


async def attack(
    folder: Path,
    *,
    seed: int,
    seconds: float,
    postgres: PostgresServer | None = None,
    each_once: bool = False,
) -> str:
    """Attack a fleet for so many seconds, or with each attack once, and check what came of it; return what was done, in a line.

    AssertionError tells the first faults.
    """
    chance = random.Random(seed)
    site, auditor = Site(folder, chance, postgres), Auditor()
    async with site.running():
        follower = asyncio.create_task(follow(site.engine.url, "local", auditor), name="auditor")
        async with Fleet.connect(site.proxy.url) as client:
            load = Load(client, chance)
            until = time.monotonic() + seconds
            feeding = asyncio.create_task(_feed(load), name="load")
            plan = chance.sample(sorted(site.attacks), len(site.attacks))
            while plan if each_once else time.monotonic() < until:
                await asyncio.sleep(chance.uniform(0.3, 2.5))
                await site.attack(plan.pop() if each_once else chance.choice(sorted(site.attacks)))
                assert not feeding.done() or feeding.result() is None
            feeding.cancel()
            await asyncio.gather(feeding, return_exceptions=True)
            async with asyncio.timeout(LIMIT_S):
                outcomes = {task_id: (await each.handle.outcome()).state for task_id, each in load.tasks.items()}
                await audited(auditor, load.tasks)
            spent = (await client.limits.budget(f"tenant/{POOR}")).spent.calls or 0
        follower.cancel()
        recorded = await _recorded(site, load)
    faults = [] if spent <= POOR_CALLS else [f"{spent} calls were spent of {POOR_CALLS}"]
    faults += auditor.faults + _faults(site, load, auditor, outcomes, recorded)
    assert not faults, f"seed {seed}: {len(faults)} faults, the first: " + "\n".join(faults[:20])
    ends = Counter(str(state) for state in outcomes.values())
    return (
        f"seed {seed}: {len(load.tasks)} tasks accepted, {dict(ends)}; "
        f"{len(auditor.tasks)} with sub-tasks in {auditor.entries} entries; "
        f"{spent} of {POOR_CALLS} calls spent; {sum(site.done.values())} attacks: {dict(site.done)}; nothing lost, nothing twice"
    )


async def _feed(load: Load) -> None:
    while True:
        if load.open < OPEN_MAX:
            with suppress(EngineError):  # an outage longer than the client's patience; nothing of it counts as accepted
                await load.wave()
        await asyncio.sleep(0.05)


async def _recorded(site: Site, load: Load) -> dict[str, TaskState]:
    """Return what the records say of every task, once they say that it has ended."""
    async with asyncio.timeout(LIMIT_S), await Records.open(site.records_url) as records:
        while True:
            with suppress(RecordsError):
                states = await _states(records)
                if load.tasks.keys() <= states.keys():
                    return states
            await asyncio.sleep(0.1)


async def _states(records: Records) -> dict[str, TaskState]:
    """Return the states of all tasks that ended, read by pages: there are hundreds of thousands."""
    states: dict[str, TaskState] = {}
    cursor = ""
    while page := await records.tasks(limit=PAGE_MAX, cursor=cursor):
        states.update((view.id, view.state) for view in page if view.state.terminal)
        cursor = page[-1].id
    return states


def _faults(
    site: Site, load: Load, auditor: Auditor, outcomes: dict[str, TaskState], recorded: dict[str, TaskState]
) -> list[str]:
    """Compare what the submitter, the records, the journal and the ledger say."""
    faults = []
    for task_id, each in load.tasks.items():
        state, seen = outcomes[task_id], auditor.tasks[task_id]
        if state not in each.ends:
            faults.append(f"task {task_id} ended {state}, not {each.ends}")
        if not state == seen.state == recorded[task_id]:
            faults.append(
                f"task {task_id} is {state} to its submitter, {seen.state} in the journal, {recorded[task_id]} in the records"
            )
        if seen.ends != 1:
            faults.append(f"task {task_id} ended {seen.ends} times")
    done = set()
    for line in site.ledger.read_text().splitlines():
        task_id, step, attempt, _ = line.split()
        done.add((task_id, step))
        stands = auditor.steps.get((task_id, step))
        if stands is not None and int(attempt) > stands:
            faults.append(f"step {step} of task {task_id} ran again in attempt {attempt}; attempt {stands} had journaled it")
    for task_id, each in load.tasks.items():
        if outcomes[task_id] is S.SUCCEEDED and each.own_ledger:
            missing = [step for step in range(each.steps) if (task_id, f"s{step}") not in done]
            faults += [f"task {task_id} succeeded without step s{step}" for step in missing]
    return faults


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=1.0)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--records", choices=["sqlite", "postgresql"], default="sqlite")
    asked = parser.parse_args()
    print(f"seed {asked.seed}", flush=True)
    postgres = None
    if asked.records == "postgresql":
        binaries = find_postgres()
        if binaries is None:
            sys.exit(MISSING)
        postgres = PostgresServer(binaries)
        postgres.start()
    try:
        with tempfile.TemporaryDirectory() as folder:
            print(asyncio.run(attack(Path(folder), seed=asked.seed, seconds=asked.minutes * 60, postgres=postgres)))
    finally:
        if postgres:
            postgres.close()


if __name__ == "__main__":
    main()
