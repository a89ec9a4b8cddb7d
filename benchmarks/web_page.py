"""`python -m benchmarks.web_page [--seconds N]`: the web page over 30,000 agents, in a real Chromium.

Starts the fleet `blackroad`, and tells: how soon the overview shows figures and the map its dots; frame times on the map while a
pointer wanders over it, as the fleet is and with every agent's status changing at each look; the bytes a second of a page that is
only looked at; and its memory at the beginning and the end.
"""

import argparse
import asyncio
import json
import math
import random
import shutil
import statistics
import tempfile
import urllib.request
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, CDPSession, Page, Route, async_playwright

from amas.fleet.load import load_fleet
from amas.platforms.local.control import start_fleet
from amas.platforms.local.home import Home
from amas.platforms.local.request import request_for
from amas.server.fleet_map import CODES
from benchmarks.machine import yardstick_ms

SIZE = {"width": 1440, "height": 900}
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
SEATED_S = 300.0
FRAMES = """() => { window.frames_ms = []; let last = performance.now();
  const tick = now => { frames_ms.push(now - last); last = now; requestAnimationFrame(tick); }; requestAnimationFrame(tick); }"""
LONG = """() => { window.long_ms = []; new PerformanceObserver(list => list.getEntries().forEach(e => long_ms.push(e.duration)))
  .observe({ type: "longtask" }); }"""


async def _seated(address: str, agents: int) -> None:
    def idle() -> int:
        with urllib.request.urlopen(f"{address}/api/pools", timeout=30) as answer:
            return int(json.load(answer)["agents"]["idle"])

    async with asyncio.timeout(SEATED_S):
        while await asyncio.to_thread(idle) < agents:  # noqa: ASYNC110  another process's state
            await asyncio.sleep(0.1)


async def _usable_ms(browser: Browser, address: str, path: str, sign: str) -> float:
    """Return the milliseconds from the address, with nothing kept before, to what `sign` in JavaScript waits for."""
    context = await browser.new_context(viewport=SIZE)
    page = await context.new_page()
    await page.goto(f"{address}{path}", wait_until="commit")
    await page.wait_for_function(sign, polling="raf", timeout=60_000)
    taken = await page.evaluate("() => performance.now()")
    await context.close()
    return float(taken)


async def _wander(page: Page, seconds: float) -> None:
    box = await page.locator("canvas").bounding_box()
    assert box is not None
    until = asyncio.get_running_loop().time() + seconds
    angle = 0.0
    while asyncio.get_running_loop().time() < until:
        angle += 0.11
        x, y = box["width"] * (0.5 + 0.45 * math.sin(angle)), min(box["height"], 600) * (0.5 + 0.45 * math.sin(1.7 * angle))
        await page.mouse.move(box["x"] + x, box["y"] + y)
        await asyncio.sleep(0.02)


async def _frames(browser: Browser, address: str, seconds: float, *, restless: bool) -> dict[str, float]:
    page = await browser.new_page(viewport=SIZE)
    if restless:

        async def shuffled(route: Route) -> None:
            answer = await route.fetch(headers={"accept-encoding": "identity"})
            body = await answer.body()
            head = 4 + int.from_bytes(body[:4], "little")
            codes = bytes(random.choices(range(len(CODES)), k=len(body) - head))
            await route.fulfill(body=body[:head] + codes, content_type="application/octet-stream")

        await page.route("**/api/fleet/map", shuffled)
    await page.goto(f"{address}/fleet")
    await page.locator("canvas").wait_for()
    await asyncio.sleep(2)
    await page.evaluate(FRAMES)
    await page.evaluate(LONG)
    await _wander(page, seconds)
    found: list[float] = await page.evaluate("() => frames_ms")
    long: list[float] = await page.evaluate("() => long_ms")
    await page.close()
    ordered = sorted(found)
    return {
        "frames_per_s": round(1000 * len(found) / sum(found), 1),
        "p50_ms": round(statistics.median(ordered), 1),
        "p99_ms": round(ordered[int(len(ordered) * 0.99)], 1),
        "most_ms": round(ordered[-1], 1),
        "tasks_over_50_ms": len(long),
    }


async def _heap_mb(session: CDPSession) -> float:
    await session.send("HeapProfiler.collectGarbage")
    metrics = (await session.send("Performance.getMetrics"))["metrics"]
    return float(next(one["value"] for one in metrics if one["name"] == "JSHeapUsedSize")) / 1e6


async def _quiet(browser: Browser, address: str, path: str, seconds: float) -> dict[str, float]:
    page = await browser.new_page(viewport=SIZE)
    session = await page.context.new_cdp_session(page)
    received = 0

    def add(event: dict[str, Any]) -> None:
        nonlocal received
        received += event["encodedDataLength"]

    await page.goto(f"{address}{path}")
    await asyncio.sleep(5)
    for domain in ("Network", "Performance", "HeapProfiler"):
        await session.send(f"{domain}.enable")
    before = await _heap_mb(session)
    session.on("Network.dataReceived", add)
    session.on("Network.responseReceived", lambda event: add(event["response"]))
    await asyncio.sleep(seconds)
    after = await _heap_mb(session)
    await page.close()
    return {"bytes_per_s": round(received / seconds), "heap_mb": round(before, 2), "heap_mb_after": round(after, 2)}


async def measure(seconds: float) -> dict[str, Any]:
    """Return everything that was measured."""
    spec = load_fleet("blackroad", agents=True)
    with tempfile.TemporaryDirectory(prefix="amas-bench-") as folder:
        fleet = await start_fleet(request_for("blackroad", Home(Path(folder)), ports=(0, 0), bound=True))
        address = fleet.state.api_url
        try:
            await _seated(address, sum(pool.replicas for pool in spec.pools))
            async with async_playwright() as playwright:
                browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
                figure = "() => /[0-9]/.test(document.querySelector('.value')?.textContent ?? '')"
                dots = "() => document.querySelector('canvas')?.height > 300"
                return {
                    "yardstick_ms": round(yardstick_ms(), 1),
                    "overview_usable_ms": [round(await _usable_ms(browser, address, "/", figure)) for _ in range(5)],
                    "map_usable_ms": [round(await _usable_ms(browser, address, "/fleet", dots)) for _ in range(5)],
                    "map": await _frames(browser, address, seconds, restless=False),
                    "map_all_change": await _frames(browser, address, seconds, restless=True),
                    "overview_quiet": await _quiet(browser, address, "/", seconds),
                    "map_quiet": await _quiet(browser, address, "/fleet", seconds),
                }
        finally:
            await fleet.stop()


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.web_page", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    print(json.dumps(asyncio.run(measure(parser.parse_args().seconds)), indent=2))


if __name__ == "__main__":
    main()
