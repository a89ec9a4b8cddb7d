"""`python -m benchmarks.web_page [--only PART ...] [--seconds N] [--day N]`: the web page over 30,000 agents, in a real Chromium.

Starts the fleet `blackroad`, and tells, part by part:
- `first`: how soon the overview shows figures and the map its dots, with nothing kept by the browser (cold) and on the next visit
  (warm): the time, and what doesn't depend on how busy the machine is: requests, bytes over the network and of script, and CPU
  time of the page's main thread until then, with the parts that scripts, styles and layout took;
- `frames`: frames on the map while a pointer wanders over it, as the fleet is and with every agent's status changing at each
  look: how many a second, and the CPU time that one costs the main thread and the browser (which draws without a graphics card);
- `quiet`: the bytes and CPU time a second of a page that is only looked at;
- `day`: what a page's memory and elements grow by in a simulated day: as many changes of the figures as a day has seconds, and an
  hour's looks at a map all of which changes, handed over as fast as the page takes them, and what is held at each third of the
  way. What grows without end grows in each of them; what a page keeps by intention, or the browser for a while, doesn't.

Milliseconds until something and frames a second want an idle machine; counts, bytes and CPU time don't.
"""

import argparse
import asyncio
import json
import math
import random
import shutil
import statistics
import sys
import tempfile
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, CDPSession, Page, Route, async_playwright

from amas.clock import monotonic_s
from amas.fleet.load import load_fleet
from amas.platforms.local.control import start_fleet
from amas.platforms.local.home import Home
from amas.platforms.local.request import request_for
from amas.server.fleet_map import CODES
from benchmarks.machine import yardstick_ms

SIZE = {"width": 1440, "height": 900}
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
SEATED_S = 300.0
DAY_S = 86_400
DAY_LIMIT_S = 240.0
"""A page that takes longer over its day is stuck."""
SHARES = (0.1, 0.4, 0.7, 1.0)
"""Of a day: the first tenth fills what the page keeps by intention, then each third of what is left tells what it adds."""
MAPS = 16
"""Different ones that take turns: a fresh one for each look would take longer to make than to draw."""
COLLECTED = 3
"""What one collection finds dead, the next may free: of canvases and answers, which the browser holds as well."""
CPU_TIME = {"timeDomain": "threadTicks"}
"""Tasks' time is the thread's own then, whatever else the machine does."""
LOOK_EVERY_S = 2
"""As `web/src/pages/fleet/useFleetMap.ts` has it."""
CHANGES_AT_ONCE = 500
STREAMED = "event: %s\nid: %s\ndata: %s\n\n"
HURRY = """const after = window.setTimeout; window.setTimeout = (work, ms, ...more) => after(work, ms / 100, ...more);
const every = window.setInterval; window.setInterval = (work, ms, ...more) => every(work, ms / 100, ...more);"""
"""What makes a page wait a hundredth as long."""
SCRIPTS = """() => performance.getEntriesByType("resource").filter(one => one.name.endsWith(".js"))
  .reduce((sum, one) => sum + one.decodedBodySize, 0)"""
SPENT = {
    "main_thread_ms": "TaskDuration",
    "script_ms": "ScriptDuration",
    "style_ms": "RecalcStyleDuration",
    "layout_ms": "LayoutDuration",
}
"""What is told, and Chromium's name of it: seconds of the main thread."""
ASKED = {"usable_ms": 1000, "frames_per_s": 60, "bytes_per_s": 30_000}
FRAMES = """() => { window.frames_ms = []; let last = performance.now();
  const tick = now => { frames_ms.push(now - last); last = now; requestAnimationFrame(tick); }; requestAnimationFrame(tick); }"""
LONG = """() => { window.long_ms = []; new PerformanceObserver(list => list.getEntries().forEach(e => long_ms.push(e.duration)))
  .observe({ type: "longtask" }); }"""


async def seated(address: str, agents: int) -> None:
    """Wait until so many agents are idle."""

    def idle() -> int:
        with urllib.request.urlopen(f"{address}/api/pools", timeout=30) as answer:
            return int(json.load(answer)["agents"]["idle"])

    async with asyncio.timeout(SEATED_S):
        while await asyncio.to_thread(idle) < agents:  # noqa: ASYNC110  another process's state
            await asyncio.sleep(0.1)


async def usable(browser: Browser, address: str, path: str, sign: str) -> dict[str, dict[str, float]]:
    """Return what it takes from the address to what `sign` waits for: first with nothing kept, then on a second visit."""
    context = await browser.new_context(viewport=SIZE)
    told = {}
    for visit in ("cold", "warm"):
        page = await context.new_page()
        session = await context.new_cdp_session(page)
        taken = await _counting(session)
        await session.send("Performance.enable", CPU_TIME)
        await page.goto(f"{address}{path}", wait_until="commit")
        await page.wait_for_function(sign, polling="raf", timeout=60_000)
        usable_ms = float(await page.evaluate("() => performance.now()"))
        told[visit] = {
            "usable_ms": round(usable_ms),
            **_spent(await _metrics(session)),
            "requests": taken["requests"],
            "bytes": taken["bytes"],
            "script_bytes": await page.evaluate(SCRIPTS),
        }
        await page.close()
    await context.close()
    return told


async def _counting(session: CDPSession) -> dict[str, int]:
    """Return what grows with each request of a page, and with the bytes that come over the network for it."""
    taken = {"requests": 0, "bytes": 0}

    def add(event: dict[str, Any]) -> None:
        taken["bytes"] += max(0, int(event["encodedDataLength"]))

    def asked(_: dict[str, Any]) -> None:
        taken["requests"] += 1

    await session.send("Network.enable")

    def told(event: dict[str, Any]) -> None:
        """Add what an open stream told: its bytes aren't in `dataReceived`."""
        taken["bytes"] += len(STREAMED % (event["eventName"], event["eventId"], event["data"]))

    session.on("Network.dataReceived", add)
    session.on("Network.eventSourceMessageReceived", told)
    session.on("Network.responseReceived", lambda event: add(event["response"]))
    session.on("Network.requestWillBeSent", asked)
    return taken


async def _metrics(session: CDPSession) -> dict[str, float]:
    return {one["name"]: float(one["value"]) for one in (await session.send("Performance.getMetrics"))["metrics"]}


def _spent(after: dict[str, float], before: dict[str, float] | None = None, *, per: float = 1.0) -> dict[str, float]:
    """Return the milliseconds that the main thread took, for each of so many of something."""
    return {told: round(1000 * (after[name] - (before or {}).get(name, 0.0)) / per, 2) for told, name in SPENT.items()}


async def _browser_s(browser: Browser) -> float:
    """Return the CPU seconds of all the browser's processes."""
    session = await browser.new_browser_cdp_session()
    found = (await session.send("SystemInfo.getProcessInfo"))["processInfo"]
    await session.detach()
    return sum(float(one["cpuTime"]) for one in found)


def middle(found: list[dict[str, dict[str, float]]]) -> dict[str, dict[str, float]]:
    """Return the median of each figure."""
    return {visit: {name: statistics.median(one[visit][name] for one in found) for name in found[0][visit]} for visit in found[0]}


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


class Looks:
    """Stands between a map and its fleet, and draws every agent's status anew at each look."""

    asked = "**/api/fleet/map"

    def __init__(self) -> None:
        self._bodies: list[bytes] = []
        self.taken = -1
        """Looks that the page is done with: it takes the next one after them."""

    async def __call__(self, route: Route) -> None:
        """Answer with the map as it was at first, but for the statuses."""
        self.taken += 1
        self._bodies = self._bodies or _maps(await (await route.fetch(headers={"accept-encoding": "identity"})).body())
        await route.fulfill(body=self._bodies[self.taken % MAPS], content_type="application/octet-stream")


def _maps(body: bytes) -> list[bytes]:
    head = 4 + int.from_bytes(body[:4], "little")
    return [body[:head] + bytes(random.choices(range(len(CODES)), k=len(body) - head)) for _ in range(MAPS)]


class Figures:
    """Stands between an overview and its fleet, and streams changes, `CHANGES_AT_ONCE` to each connection."""

    asked = "**/api/live"

    def __init__(self, figures: dict[str, Any]) -> None:
        figures["agents"]["working"], figures["tasks"]["succeeded"], figures["tasks_per_second"] = "@1", "@2", "@3"
        self._told = STREAMED % ("figures", '"@2"', json.dumps(figures))
        self._sent = 0
        self.taken = 0
        """Changes that the page is done with: it connects again after them."""

    async def __call__(self, route: Route) -> None:
        """Answer with changes, and have the page come again at once."""
        self.taken = self._sent
        self._sent += CHANGES_AT_ONCE
        changes = (self._change(at) for at in range(self.taken, self._sent))
        await route.fulfill(body="retry: 1\n\n" + "".join(changes), content_type="text/event-stream")

    def _change(self, at: int) -> str:
        """Return what the feed would send: to encode a day's figures one by one takes longer than to show them."""
        told = self._told.replace('"@1"', str(at % 1000)).replace('"@2"', str(at))
        return told.replace('"@3"', f"{random.random() * 1000:.3f}")


async def _frames(browser: Browser, address: str, seconds: float, *, restless: bool) -> dict[str, float]:
    page = await browser.new_page(viewport=SIZE)
    if restless:
        await page.route(Looks.asked, Looks())
    session = await page.context.new_cdp_session(page)
    await session.send("Performance.enable", CPU_TIME)
    await page.goto(f"{address}/fleet")
    await page.locator("canvas").wait_for()
    await asyncio.sleep(2)
    before, browser_s = await _metrics(session), await _browser_s(browser)
    await page.evaluate(FRAMES)
    await page.evaluate(LONG)
    await _wander(page, seconds)
    found: list[float] = await page.evaluate("() => frames_ms")
    long: list[float] = await page.evaluate("() => long_ms")
    after, browser_s = await _metrics(session), await _browser_s(browser) - browser_s
    await page.close()
    ordered = sorted(found)
    return {
        "frames_per_s": round(1000 * len(found) / sum(found), 1),
        "p50_ms": round(statistics.median(ordered), 1),
        "p99_ms": round(ordered[int(len(ordered) * 0.99)], 1),
        "most_ms": round(ordered[-1], 1),
        "tasks_over_50_ms": len(long),
        **{f"{told}_per_frame": spent for told, spent in _spent(after, before, per=len(found)).items()},
        "browser_cpu_ms_per_frame": round(1000 * browser_s / len(found), 2),
    }


async def _held(session: CDPSession) -> dict[str, float]:
    """Return what a page holds once its garbage is collected."""
    for _ in range(COLLECTED):
        await session.send("HeapProfiler.collectGarbage")
    found = await _metrics(session)
    return {
        "heap_mb": round(found["JSHeapUsedSize"] / 1e6, 2),
        "elements": found["Nodes"],
        "listeners": found["JSEventListeners"],
    }


async def _quiet(browser: Browser, address: str, path: str, seconds: float) -> dict[str, float]:
    page = await browser.new_page(viewport=SIZE)
    session = await page.context.new_cdp_session(page)
    await page.goto(f"{address}{path}")
    await asyncio.sleep(5)
    await session.send("Performance.enable", CPU_TIME)
    before, taken = await _metrics(session), await _counting(session)
    await asyncio.sleep(seconds)
    after = await _metrics(session)
    await page.close()
    return {
        "bytes_per_s": round(taken["bytes"] / seconds),
        "requests_per_s": round(taken["requests"] / seconds, 2),
        "main_thread_ms_per_s": _spent(after, before, per=seconds)["main_thread_ms"],
    }


def _figures(address: str) -> dict[str, Any]:
    with urllib.request.urlopen(f"{address}/api/metrics", timeout=30) as answer:
        found: dict[str, Any] = json.load(answer)
    return found


async def _day(browser: Browser, address: str, given: Looks | Figures, times: int) -> dict[str, Any]:
    """Have a page take what is given so often, and tell what it held after each of `SHARES`."""
    page = await browser.new_page(viewport=SIZE)
    await page.add_init_script(HURRY)
    await page.route(given.asked, given)
    session = await page.context.new_cdp_session(page)
    await session.send("Performance.enable", CPU_TIME)
    began_s = monotonic_s()
    await page.goto(address)
    held = []
    async with asyncio.timeout(DAY_LIMIT_S):
        for share in SHARES:
            while given.taken < times * share:  # noqa: ASYNC110  the page's own doing
                await asyncio.sleep(0.1)
            held.append({"after": given.taken, **await _held(session)})
    spent = _spent(await _metrics(session), per=given.taken)
    await page.close()
    return {
        "times": times,
        "took_s": round(monotonic_s() - began_s, 1),
        "main_thread_ms_each": spent["main_thread_ms"],
        "held": held,
    }


class Measured:
    """The parts of the measurement, each on pages of its own."""

    def __init__(self, browser: Browser, address: str, *, seconds: float, day_s: int) -> None:
        self._browser, self._address, self._seconds, self._day_s = browser, address, seconds, day_s

    async def first(self) -> dict[str, Any]:
        """Return how soon pages are usable."""
        figure = "() => /[0-9]/.test(document.querySelector('.value')?.textContent ?? '')"
        dots = "() => document.querySelector('canvas')?.height > 300"
        return {
            "overview": middle([await usable(self._browser, self._address, "/", figure) for _ in range(5)]),
            "map": middle([await usable(self._browser, self._address, "/fleet", dots) for _ in range(5)]),
        }

    async def frames(self) -> dict[str, Any]:
        """Return frames a second on the map."""
        return {
            "frames": await _frames(self._browser, self._address, self._seconds, restless=False),
            "frames_all_change": await _frames(self._browser, self._address, self._seconds, restless=True),
        }

    async def quiet(self) -> dict[str, Any]:
        """Return what looking takes."""
        return {
            "overview_quiet": await _quiet(self._browser, self._address, "/", self._seconds),
            "map_quiet": await _quiet(self._browser, self._address, "/fleet", self._seconds),
        }

    async def day(self) -> dict[str, Any]:
        """Return what a day leaves behind."""
        figures = await asyncio.to_thread(_figures, self._address)
        looks = self._day_s // 24 // LOOK_EVERY_S
        return {
            "overview_day": await _day(self._browser, f"{self._address}/", Figures(figures), self._day_s),
            "map_hour": await _day(self._browser, f"{self._address}/fleet", Looks(), looks),
        }


PARTS: dict[str, Callable[[Measured], Awaitable[dict[str, Any]]]] = {
    "first": Measured.first,
    "frames": Measured.frames,
    "quiet": Measured.quiet,
    "day": Measured.day,
}


async def measure(parts: list[str], seconds: float, day_s: int) -> dict[str, Any]:
    """Return what was measured in these parts, in their order."""
    spec = load_fleet("blackroad", agents=True)
    told: dict[str, Any] = {"yardstick_ms": [round(yardstick_ms(), 1)], "asked": ASKED}
    with tempfile.TemporaryDirectory(prefix="amas-bench-") as folder:
        fleet = await start_fleet(request_for("blackroad", Home(Path(folder)), ports=(0, 0), bound=True))
        address = fleet.state.api_url
        try:
            await seated(address, sum(pool.replicas for pool in spec.pools))
            async with async_playwright() as playwright:
                browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
                measured = Measured(browser, address, seconds=seconds, day_s=day_s)
                for part in parts:
                    began_s = monotonic_s()
                    told |= await PARTS[part](measured)
                    print(f"{part}: {monotonic_s() - began_s:.0f} s", file=sys.stderr)
        finally:
            await fleet.stop()
    told["yardstick_ms"].append(round(yardstick_ms(), 1))
    return told


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.web_page", description=__doc__)
    parser.add_argument("--only", nargs="+", choices=tuple(PARTS), default=list(PARTS), help="the parts to measure")
    parser.add_argument("--seconds", type=float, default=20.0, help="of each measurement")
    parser.add_argument("--day", type=int, default=DAY_S, help="seconds of the day that is simulated")
    asked = parser.parse_args()
    print(json.dumps(asyncio.run(measure(asked.only, asked.seconds, asked.day)), indent=2))


if __name__ == "__main__":
    main()
