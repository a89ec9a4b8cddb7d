"""What deciding the sizes of 100 pools costs, and one sweep of the autoscaler over them while 30,000 agents work.

The sweep's cost is the CPU of this process and the engine's; the rest of its time it waits.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

from amas.clock import new_ids
from amas.controllers.autoscaler import PAUSE_S, Autoscaler
from amas.core.scaling import decide
from amas.core.scaling_history import INTERVAL_MS, MARKS_KEPT, ScalingMemory
from amas.engine.connection import Engine
from amas.engine.desired import DesiredState, Wish
from amas.engine.hosts import HostAbout, HostRegistry
from amas.engine.inbox import Inboxes
from amas.engine.queue import Slots, TaskQueue, make_submission
from amas.engine.scaling import ScalingState
from amas.model.desired import Seats
from amas.model.fleet import FleetLimits, FleetSpec, PoolSpec
from amas.model.scaling import Observation, ScalingSpec, ScalingTargets
from amas.model.task import TaskSpec
from amas.records.store import Records
from amas.settings import MessageSettings
from benchmarks.fleet import engine_alone, engine_cpu_us
from benchmarks.results import Measured

POOLS, HOSTS = 100, 3
START_MS = 1_800_000_000_000
TARGETS = ScalingTargets(queue_depth=5, oldest_s=30, utilisation=0.7, cpu=0.8, memory_mb=1000)


def _fleet(agents: int) -> FleetSpec:
    size = agents // POOLS
    spec = ScalingSpec(max=2 * size, targets=TARGETS, forecast=True)
    pools = tuple(
        PoolSpec(name=f"pool-{n}", agent="a:b", capabilities=(f"work.kind_{n}",), replicas=size, scaling=spec)
        for n in range(POOLS)
    )
    return FleetSpec(name="wide", pools=pools, limits=FleetLimits(max_total_agents=2 * agents))


def _decide_ms(runs: int) -> float:
    """Return the CPU ms of deciding 100 pools, with full memories."""
    spec = ScalingSpec(max=600, targets=TARGETS, forecast=True)
    memory, step = ScalingMemory(), 5_000
    looks = MARKS_KEPT * INTERVAL_MS // step
    seen = [
        Observation(at_ms=START_MS + n * step, waiting=n % 50, backlog=n % 50, arrived=n * 90, running=200 + n % 90, cpu=0.5)
        for n in range(looks + runs)
    ]
    for look in seen[:looks]:
        memory = decide(spec, memory, look, replicas=300).memory
    took = []
    for look in seen[looks:]:
        began = time.process_time()
        for _ in range(POOLS):
            decide(spec, memory, look, replicas=300)
        took.append((time.process_time() - began) * 1000)
    return median(took)


async def _busy(engine: Engine, fleet: FleetSpec) -> None:
    """Have every agent of a fleet at work, on three hosts, and ten tasks wait for each pool."""
    queue, registry = TaskQueue(engine), HostRegistry(engine)
    for host in range(HOSTS):
        await registry.register(f"h{host}", HostAbout(1, "machine", "1", ()), lease_s=3600)
    for pool in fleet.pools:
        spec = TaskSpec(capability=pool.capabilities[0])
        await queue.submit([make_submission(task_id, spec) for task_id in new_ids(pool.replicas + 10)])
        for host in range(HOSTS):
            agents = [f"{pool.name}-{number + 1}" for number in range(host, pool.replicas, HOSTS)]
            await queue.claim(f"h{host}", [Slots(pool.queues, agents)])
    seats = [
        Wish(f"seats:h{host}", tuple(Seats(pool.name, ((1, pool.replicas // HOSTS),)) for pool in fleet.pools))
        for host in range(HOSTS)
    ]
    await DesiredState(engine).change([Wish("fleet", fleet), *seats], by="bench", why="bench")


@contextmanager
def _cpu_ms(into: list[float]) -> Iterator[None]:
    began = time.process_time()
    yield
    into.append((time.process_time() - began) * 1000)


async def measure(*, quick: bool) -> Measured:
    """Return CPU ms of deciding, and of a sweep: here and in the engine."""
    agents, sweeps = (1_000, 3) if quick else (30_000, 30)
    fleet, here = _fleet(agents), list[float]()
    async with engine_alone() as engine:
        await _busy(engine, fleet)
        with TemporaryDirectory() as folder:
            async with await Records.open(f"sqlite:///{Path(folder) / 'records.sqlite3'}") as records:
                state = ScalingState(engine)
                scaler = Autoscaler(state, DesiredState(engine), Inboxes(engine, MessageSettings()), records)
                now = state.now_ms()
                await scaler.run_once(now_ms=now)
                before = await engine_cpu_us(engine)
                for sweep in range(sweeps):
                    with _cpu_ms(here):
                        await scaler.run_once(now_ms=now + round((sweep + 1) * PAUSE_S * 1000))
                engine_ms = (await engine_cpu_us(engine) - before) / sweeps / 1000
    keys = {
        "scaling_decide_100_ms": round(_decide_ms(3 if quick else 30), 2),
        "scaling_sweep_cpu_ms": round(median(here) + engine_ms, 1),
    }
    return Measured(keys, {"here_ms": round(median(here), 1), "engine_ms": round(engine_ms, 1), "pools": POOLS, "agents": agents})
