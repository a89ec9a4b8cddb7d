"""Agents that misuse what a task offers: texts no encoding takes, numbers nothing holds, exceptions that are no exceptions."""

import asyncio
import math
from collections.abc import Awaitable, Callable

from amas import Context, GiveUp, RateLimited, RetryLater, SubTask, agent
from amas.model.task import Json

SURROGATE = "\udcff"
"""What Python makes of a file's name that isn't UTF-8."""


class Unspeakable(Exception):
    """Its own text can't be had."""

    def __str__(self) -> str:
        raise RuntimeError("no")


class Bare(BaseException):
    """As pytest's `skip` is, for one."""


def deep() -> list[Json]:
    found: list[Json] = []
    for _ in range(100_000):
        found = [found]
    return found


def holding_itself() -> list[Json]:
    found: list[Json] = []
    found.append(found)
    return found


async def raises(error: BaseException) -> Json:
    raise error


async def used(task: Context, **amounts: float) -> Json:
    task.report_usage(**amounts)  # type: ignore[arg-type]
    return "used"


async def logs(task: Context, *fields: Json) -> Json:
    task.log.info(SURROGATE, value=fields, more={(1, 2): SURROGATE})
    return "logged"


async def tells(task: Context, fraction: float, note: str) -> Json:
    task.progress(fraction, note)
    return "told"


async def spawned(task: Context, **words: float) -> Json:
    await task.spawn([SubTask(key="a", capability="test.nobody", **words)])  # type: ignore[arg-type]
    return None


async def gives(value: Json) -> Json:
    return value


ACTS: dict[str, Callable[[Context], Awaitable[Json]]] = {
    "a text that can't be encoded": lambda _: raises(FileNotFoundError(f"no such file: {SURROGATE}")),
    "no text at all": lambda _: raises(Unspeakable()),
    "a code that can't be encoded": lambda _: raises(GiveUp("no", code=SURROGATE)),
    "a provider that can't be encoded": lambda _: raises(RateLimited(math.inf, provider=SURROGATE)),
    "later, never": lambda _: raises(RetryLater(delay_s=math.inf)),
    "later, nowhen": lambda _: raises(RetryLater(delay_s=math.nan)),
    "later, long ago": lambda _: raises(RetryLater(delay_s=-1e300)),
    "bare": lambda _: raises(Bare("bare")),
    "an interrupt": lambda _: raises(KeyboardInterrupt()),
    "a result that can't be encoded": lambda _: gives(SURROGATE),
    "a result that is too wide": lambda _: gives(2**70),
    "a result that is too deep": lambda _: gives(deep()),
    "a result that holds itself": lambda _: gives(holding_itself()),
    "dollars without end": lambda task: used(task, usd=math.inf),
    "dollars that are no number": lambda task: used(task, usd=math.nan),
    "tokens without end": lambda task: used(task, tokens=10**30),
    "calls that never were": lambda task: used(task, calls=-(10**30)),
    "dollars that were earned": lambda task: used(task, usd=-1e300),
    "a step that can't be named": lambda task: task.step(SURROGATE, lambda: gives(1)),
    "a step with a book for a name": lambda task: task.step("x" * 100_000, lambda: gives(1)),
    "a step that is too wide": lambda task: task.step("wide", lambda: gives(-(2**70))),
    "a log that can't be encoded": logs,
    "a log that holds itself": lambda task: logs(task, holding_itself()),
    "progress that is no number": lambda task: tells(task, math.nan, f"{SURROGATE}\0"),
    "a sub-task at the end of time": lambda task: spawned(task, delay_s=1e300),
    "a sub-task that is no time": lambda task: spawned(task, deadline_s=math.nan),
}


@agent("test.hostile")
async def hostile(task: Context) -> Json:
    """Do what the input says."""
    assert isinstance(task.input, str)
    return await ACTS[task.input](task)


@agent("test.beside")
async def beside(task: Context) -> Json:
    """Keep steps and tell progress beside the others, in the same calls of the engine."""
    for number in range(20):
        await task.step(f"s{number}", lambda: asyncio.sleep(0.005))
        task.progress(number / 20)
    return "well"
