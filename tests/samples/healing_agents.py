"""Agents that crash, hang and depend on others, for the tests of healing."""

import asyncio
import os
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

from amas import Context, SyncContext, agent
from amas.model.task import Json


@agent("test.crasher")
async def crasher(task: Context) -> Json:
    """Take its process down when the input says so, unless another attempt has done it often enough; tell who worked."""
    if isinstance(task.input, dict) and "die" in task.input:
        ledger = Path(task.options["ledger"])
        with ledger.open("a") as file:
            file.write(f"{task.id} {task.agent_id}\n")
        if sum(line.startswith(task.id) for line in ledger.read_text().splitlines()) <= task.input["die"]:
            os._exit(7)
    return task.agent_id


@agent("test.hanger")
async def hanger(task: Context) -> Json:
    """Hang without progress at the first attempt; take its time, with progress, at the next."""
    if task.attempt == 1:
        await asyncio.Event().wait()
    for step in range(8):
        await asyncio.sleep(0.1)
        task.progress(step / 8)
    return task.agent_id


@agent("test.quiet_hanger")
def quiet_hanger(task: SyncContext) -> Json:
    """Hang in a thread, until it is told to stop."""
    if task.attempt == 1:
        while not task.cancelled:
            pass
    return task.agent_id


@agent("test.quitter")
async def quitter(task: Context) -> Json:
    """Ask the process to exit, whatever the task."""
    raise SystemExit(3)


@agent("test.payer")
async def payer(task: Context) -> Json:
    """Ask a server that all agents share."""
    async with task.dependency("payments-api"):
        reader, writer = await asyncio.open_connection("127.0.0.1", task.options["port"])
        writer.write(b"GET / HTTP/1.0\r\n\r\n")
        answer = await reader.read()
        writer.close()
        if b"200" not in answer.split(b"\r\n")[0]:
            raise OSError("the payments don't work")
    return task.attempt


@agent("test.sync_payer")
def sync_payer(task: SyncContext) -> Json:
    """The same in a plain function."""
    with task.dependency("payments-api"), closing(HTTPConnection("127.0.0.1", task.options["port"], timeout=60)) as connection:
        connection.request("GET", "/")
        if connection.getresponse().status != 200:
            raise OSError("the payments don't work")
    return task.attempt
