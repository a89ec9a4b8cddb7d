"""Agents that host tests run; in-process tests reach them over the registers below, real processes over files."""

import asyncio
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from contextvars import ContextVar
from pathlib import Path

import msgspec

from amas import BaseAgent, Context, GiveUp, RateLimited, RetryLater, SubTask, SyncContext, agent
from amas.errors import TaskCancelled
from amas.model.fleet import PoolSpec
from amas.model.task import Json

begun: dict[str, asyncio.Event] = {}
"""By task input `gate`: set when an agent got there."""
ended: list[str] = []
release = threading.Event()
healthy = threading.Event()
blocking = threading.Event()
"""Set while `block` holds the loop up."""
seen: ContextVar[str] = ContextVar("seen", default="nothing")


def forget() -> None:
    """Begin anew, as each test does."""
    begun.clear()
    ended.clear()
    release.clear()
    healthy.clear()


@agent("test.echo")
async def echo(task: Context) -> Json:
    return {"echo": task.input, "results": task.results, "failures": sorted(task.failures), "agent": task.agent_id}


@agent("test.ask")
async def ask(task: Context) -> Json:
    """Ask whether a tool may be used, as model agents do of their own functions."""
    return msgspec.to_builtins(await task.permit(task.input["tool"], task.input["arguments"]))


@agent("test.swell")
async def swell(task: Context) -> Json:
    return task.input


@agent("test.grow")
async def grow(task: Context) -> Json:
    return "x" * task.input


@agent("test.echo_of_echo")
async def echo_of_echo(task: Context) -> Json:
    outcomes = await task.spawn([SubTask(key="child", capability="test.swell", input=task.input)])
    return outcomes["child"].result


@agent("test.large_step")
async def large_step(task: Context) -> Json:
    """Fail after a large step, and go on from it."""
    made = await task.step("grow", lambda: {"by": task.attempt, "text": "x" * task.input})
    if task.attempt == 1:
        raise RetryLater("once more", delay_s=0.0)
    assert made["by"] == 1, "the step was done again"
    return [task.attempt, len(made["text"])]


@agent("test.wait")
async def wait(task: Context) -> Json:
    """Wait until stopped; say so."""
    begun.setdefault(task.input["gate"], asyncio.Event()).set()
    try:
        await asyncio.Event().wait()
    finally:
        ended.append(task.input["gate"])


@agent("test.stubborn")
async def stubborn(task: Context) -> Json:
    """Ignore the first cancellation."""
    begun.setdefault(task.input["gate"], asyncio.Event()).set()
    try:
        await asyncio.Event().wait()
    except asyncio.CancelledError:
        while not release.is_set():
            await asyncio.sleep(0.01)
    return "late"


@agent("test.mixed")
async def mixed(task: Context) -> Json:
    """Do what shouldn't touch the attempts that start beside it; return what this one found."""
    before = seen.get()
    match task.input:
        case "variable":
            seen.set(task.id)
        case "own limit":
            try:
                async with asyncio.timeout(0.001):
                    await asyncio.Event().wait()
            except TimeoutError:
                return {"before": before, "limit": True}
        case "cancel self":
            asyncio.current_task().cancel()  # type: ignore[union-attr]
        case "raise":
            raise GiveUp("as asked")
        case "wait":
            await asyncio.sleep(0)
    return {"before": before}


@agent("test.fail")
async def fail(task: Context) -> Json:
    match task.input:
        case "give up":
            raise GiveUp("there is no way", code="no_way")
        case "later":
            raise RetryLater("busy", delay_s=0.0)
        case "exit":
            sys.exit(3)
        case "cancel":
            raise asyncio.CancelledError
        case "large":
            return "x" * (2 << 20)
        case "no json":
            return object()
        case _:
            raise ValueError(f"attempt {task.attempt}")


@agent("test.thread")
def thread(task: SyncContext) -> Json:
    """Look around for a cancellation, as blocking code should."""
    first = task.step("where", lambda: threading.current_thread().name)
    task.progress(0.5, "half way")
    if task.input == "hang":
        begun["hang"].set()
        while not task.cancelled:
            time.sleep(0.005)
        try:
            task.step("late", lambda: None)
        except TaskCancelled:
            ended.append("hang")
            raise
    return {"thread": first, "here": threading.current_thread().name}


@agent("test.block")
async def block(task: Context) -> Json:
    """Hold the event loop up, as no agent should, for so many seconds in which this process isn't held up itself."""
    begun.setdefault("block", asyncio.Event()).set()
    blocking.set()
    for _ in range(round(float(task.input) / 0.01)):
        time.sleep(0.01)
    blocking.clear()
    return "blocked"


@agent("test.parent")
async def parent(task: Context) -> Json:
    """Spawn two sub-tasks, the second needing the first."""
    before = await task.step("before", lambda: os.getpid())
    outcomes = await task.spawn(
        [
            SubTask(key="a", capability="test.echo", input=1),
            SubTask(key="b", capability="test.echo", input=2, needs=("a",)),
        ]
    )
    return {"before": before, "attempt": task.attempt, "b": outcomes["b"].result, "states": [o.state for o in outcomes.values()]}


@agent("test.twins")
async def twins(task: Context) -> Json:
    """Spawn two sub-tasks under one key."""
    return len(await task.spawn([SubTask(key="k", capability="test.echo")] * 2))


@agent("test.grouped")
async def grouped(task: Context) -> Json:
    """Spawn inside a task group of its own."""
    async with asyncio.TaskGroup() as group:
        spawned = group.create_task(task.spawn([SubTask(key="only", capability="test.echo", input="g")]))
    return spawned.result()["only"].result["echo"]


class Unmakeable(BaseAgent):
    """Has a constructor that fails."""

    def __init__(self, agent_id: str, pool: PoolSpec) -> None:
        super().__init__(agent_id, pool)
        raise ValueError("no such server")

    async def process_task(self, task: Context) -> Json:
        return None


class Choosy(BaseAgent):
    """Works only while `healthy` is set."""

    async def health_check(self) -> bool:
        return healthy.is_set()

    async def process_task(self, task: Context) -> Json:
        return "worked"


class Counting(BaseAgent):
    """Tells how many letters it has read, and nothing sensible when it has read a word in capitals."""

    def __init__(self, agent_id: str, pool: PoolSpec) -> None:
        super().__init__(agent_id, pool)
        self.letters, self.shouted = 0, False

    def report_metrics(self) -> dict[str, float]:
        return {"letters": self.letters, "loud": float("nan")} | ({"shouted": "yes"} if self.shouted else {})  # type: ignore[dict-item]

    async def process_task(self, task: Context) -> Json:
        self.letters += len(task.input)
        self.shouted = task.input.isupper()
        return task.agent_id


@agent("test.ledger")
async def ledger(task: Context) -> Json:
    """Append a line for each step that is run, to a file beside the workspaces."""
    path = Path(task.options["ledger"])

    def write(step: int) -> str:
        with path.open("a") as file:
            file.write(f"{task.id} {step} {task.attempt} {os.getpid()}\n")
        return f"done {step}"

    return [await task.step(f"s{step}", lambda step=step: write(step)) for step in range(task.options["steps"])]


@agent("test.isolated")
async def isolated(task: Context) -> Json:  # noqa: C901  a list
    """Do what the input says, in a process of its own."""
    match task.input:
        case "pid":
            return {"pid": os.getpid(), "parent": os.getppid(), "group": os.getpgid(0), "results": task.results}
        case "step":
            task.log.info("in a child", event="test", path=Path("x"))
            task.progress(0.25, "a quarter")
            (task.workspace / "file").write_text("kept")
            return [await task.step("one", lambda: os.getpid()), await task.step("one", lambda: 0), task.artifacts.put(b"x")]
        case "spawn":
            outcomes = await task.spawn([SubTask(key="child", capability="test.echo", input="c")])
            return {"attempt": task.attempt, "child": outcomes["child"].result["echo"]}
        case "segv":
            print("last words", file=sys.stderr, flush=True)
            os.kill(os.getpid(), signal.SIGSEGV)
        case "exit":
            os._exit(7)
        case "memory":
            return len(bytearray(8 << 30))
        case "cpu":
            while True:
                pass
        case "raise":
            raise ValueError("from afar")
        case "object":
            return object()
        case "hang":
            grandchild = subprocess.Popen(["sleep", "1000"])
            Path(task.options["pids"]).write_text(f"{os.getpid()} {grandchild.pid}")
            await asyncio.Event().wait()
        case {"take_mb": memory_mb, "until": until}:
            held = bytearray(memory_mb << 20)
            while until and not Path(until).exists():
                await asyncio.sleep(0.01)
            return {"limit_mb": resource.getrlimit(resource.RLIMIT_AS)[0] >> 20, "held": len(held)}
    return None


@agent("test.isolated_sync")
def isolated_sync(task: SyncContext) -> Json:
    return task.step("pid", os.getpid) == os.getpid()


@agent("test.hold")
async def hold(task: Context) -> Json:
    """Work until the test lets go."""
    begun.setdefault(task.input, asyncio.Event()).set()
    while not release.is_set():
        await asyncio.sleep(0.005)
    return "held"


@agent("test.spread")
async def spread(task: Context) -> Json:
    """Spawn as many as the input says, and return how many brought their own number back."""
    outcomes = await task.spawn([SubTask(key=str(n), capability="test.echo", input=n) for n in range(task.input)])
    return sum(outcome.result["echo"] == int(key) for key, outcome in outcomes.items())


@agent("test.meter")
async def meter(task: Context) -> Json:
    """Announce each call before it is made; be told once by the provider to come back later, where that is asked for."""
    if "busy" in task.input and task.attempt == 1:
        raise RateLimited(task.input["busy"], provider=task.input.get("provider", ""))
    for _ in range(task.input.get("calls", 0)):
        await task.spend(usd=0.25, tokens=10, calls=1)
    task.report_usage(tokens=5)
    return "done"
