"""Where code is: the author's line, whatever Python does below it."""

import asyncio
import sys
import threading
from collections.abc import AsyncIterator

from amas.observe.places import of_frames, of_task, of_thread


async def inner(event: asyncio.Event) -> None:
    await asyncio.wait_for(event.wait(), 60)


async def outer(event: asyncio.Event) -> None:
    await inner(event)


async def settled(task: "asyncio.Task[None]") -> str:
    for _ in range(5):
        await asyncio.sleep(0)
    return of_task(task)


async def test_a_task_is_where_its_author_s_innermost_function_waits() -> None:
    event = asyncio.Event()
    task = asyncio.create_task(outer(event))
    at = await settled(task)
    assert at.startswith("inner (") and at.endswith(f"{__file__}:{inner.__code__.co_firstlineno + 1})"), at
    event.set()
    await task
    assert of_task(task) == "", "what is over is nowhere"


async def test_what_waits_in_a_generator_of_python_s_own_is_somewhere() -> None:
    async def numbers() -> AsyncIterator[int]:
        await asyncio.sleep(60)
        yield 1

    async def reads() -> None:
        async for _ in numbers():
            pass

    task = asyncio.create_task(reads())
    assert "reads (" in await settled(task)
    task.cancel()
    await asyncio.wait([task])
    library = asyncio.create_task(asyncio.sleep(60))
    assert (await settled(library)).startswith("sleep ("), "nothing of an author's: the innermost"
    library.cancel()
    await asyncio.wait([library])


def test_a_thread_is_where_its_author_s_innermost_function_blocks() -> None:
    begun, over = threading.Event(), threading.Event()

    def blocks() -> None:
        begun.set()
        over.wait(60)

    thread = threading.Thread(target=blocks)
    thread.start()
    try:
        assert begun.wait(60) and thread.ident is not None
        assert "blocks (" in of_thread(sys._current_frames()[thread.ident])
    finally:
        over.set()
        thread.join()
    assert of_thread(None) == of_frames([]) == ""
