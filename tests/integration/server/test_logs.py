"""Logs followed: over HTTP, and on the command line."""

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from command_line import call

from amas.observe.logging import open_log
from amas.server.plane import ControlPlane
from amas.server.routes.logs import Events, Line

from .test_serve import served, serving  # noqa: F401  `served` is a fixture

LIMIT_S = 60


async def lines_of(stream: httpx.Response, ids: list[str]) -> AsyncIterator[Any]:
    """Yield the lines of a followed log; `ids` gets theirs."""
    async for line in stream.aiter_lines():
        if line.startswith("id: "):
            ids.append(line.removeprefix("id: "))
        if line.startswith("data: "):
            yield msgspec.json.decode(line.removeprefix("data: "))


async def test_a_log_is_followed_across_rotation(served: ControlPlane) -> None:  # noqa: F811
    path = served.home / "logs" / "host-1.jsonl"
    log = open_log(path).bind(agent_id="a-1")
    other = open_log(path).bind(agent_id="a-11")
    for number in range(3):
        log.info("early", n=number)
    async with serving(served) as (port, _), httpx.AsyncClient(timeout=LIMIT_S) as client, asyncio.timeout(LIMIT_S):
        url = f"http://127.0.0.1:{port}/api/agents/a-1/logs/stream"
        async with client.stream("GET", url, params={"limit": 2}) as stream:
            assert stream.headers["content-type"].startswith("text/event-stream")
            lines = lines_of(stream, ids := [])
            seen = [await anext(lines), await anext(lines)]
            log.info("late", n=3)
            seen.append(await anext(lines))
            path.rename(path.with_name("host-1.jsonl.1800000000000"))
            other.info("not his")
            log.info("later\x1b[2J", n=4)
            seen.append(await anext(lines))
        log.info("while nobody listened", n=5)
        headers = {"last-event-id": ids[1]}
        async with client.stream("GET", url, params={"limit": 1}, headers=headers) as stream:
            again = lines_of(stream, [])
            resumed = [await anext(again) for _ in range(3)]
            log.info("and then", n=6)
            resumed.append(await anext(again))
    assert [line["n"] for line in seen] == [1, 2, 3, 4]
    assert [line["n"] for line in resumed] == [3, 4, 5, 6]
    assert seen[3]["message"] == "later\x1b[2J", "JSON says it as it was; what shows it makes it harmless"


async def test_an_agent_s_lines_are_read_from_a_fleet_elsewhere(
    served: ControlPlane,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    log = open_log(served.home / "logs" / "host-1.jsonl").bind(agent_id="a-1")
    log.info("early")
    log.error("late")
    monkeypatch.setenv("AMAS_HOME", str(tmp_path / "nothing"))
    async with serving(served) as (port, _):
        monkeypatch.setenv("AMAS_URL", f"http://127.0.0.1:{port}")
        told = await asyncio.to_thread(call, "logs", "a-1", "--level", "error", "--json")
        whose = await asyncio.to_thread(call, "logs", "a-*")
    assert (told.code, [msgspec.json.decode(line)["message"] for line in told.out.splitlines()]) == (0, ["late"])
    assert whose.code == 2 and "of one agent, amas logs AGENT" in whose.err


def test_lines_of_one_moment_have_ids_of_their_own() -> None:
    told = [Line("t1", b"a"), Line("t2", b"b"), Line("t2", b"c"), Line("t2", b"d"), Line("t3", b"e")]
    first, again = Events(""), Events("t2~2")
    assert b"".join(map(first.of, told)).count(b"id: t2~") == 3
    assert [again.of(line) for line in told] == [b"", b"", b"", b"id: t2~3\ndata: d\n\n", b"id: t3~1\ndata: e\n\n"]


def test_amas_logs_follows_an_agent(tmp_path: Path) -> None:
    host = open_log(tmp_path / "logs" / "host-1.jsonl")
    log = host.bind(agent_id="a-1")
    log.info("early")
    command = [sys.executable, "-u", "-m", "amas", "logs", "-f", "a-1", "--home", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following:
        try:
            assert following.stdout is not None
            assert "early" in following.stdout.readline()
            host.bind(agent_id="a-2").info("not his")
            (tmp_path / "logs" / "host-1.jsonl").rename(tmp_path / "logs" / "host-1.jsonl.1800000000000")
            log.info("late\x1b]0;owned\x07", why="\x1b[2J")
            said = following.stdout.readline()
        finally:
            following.kill()
    assert "late\\x1b]0;owned" in said and "why=\\x1b[2J" in said and "\x1b" not in said
