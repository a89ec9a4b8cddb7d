"""Logs followed: over HTTP, and on the command line."""

import asyncio
import subprocess
import sys
from pathlib import Path

import httpx
import msgspec

from amas.observe.logging import open_log
from amas.server.plane import ControlPlane

from .test_serve import served, serving  # noqa: F401  `served` is a fixture

LIMIT_S = 60


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
            lines = (msgspec.json.decode(line[6:]) async for line in stream.aiter_lines() if line.startswith("data: "))
            seen = [await anext(lines), await anext(lines)]
            log.info("late", n=3)
            seen.append(await anext(lines))
            path.rename(path.with_name("host-1.jsonl.1800000000000"))
            other.info("not his")
            log.info("later\x1b[2J", n=4)
            seen.append(await anext(lines))
    assert [line["n"] for line in seen] == [1, 2, 3, 4]
    assert seen[3]["message"] == "later\x1b[2J", "JSON says it as it was; what shows it makes it harmless"


def test_amas_logs_follows_an_agent(tmp_path: Path) -> None:
    log = open_log(tmp_path / "logs" / "host-1.jsonl").bind(agent_id="a-1")
    log.info("early")
    command = [sys.executable, "-u", "-m", "amas", "logs", "-f", "a-1", "--home", str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as following:
        try:
            assert following.stdout is not None
            assert "early" in following.stdout.readline()
            log.bind(agent_id="a-2").info("not his")
            (tmp_path / "logs" / "host-1.jsonl").rename(tmp_path / "logs" / "host-1.jsonl.1800000000000")
            log.info("late\x1b]0;owned\x07", why="\x1b[2J")
            said = following.stdout.readline()
        finally:
            following.kill()
    assert "late\\x1b]0;owned" in said and "why=\\x1b[2J" in said and "\x1b" not in said
