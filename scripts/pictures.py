"""`make screenshots`: docs/pictures: figures, map and tasks of 30,000 agents at work, and a review of our own source."""

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import cycle, islice
from pathlib import Path

from playwright.async_api import Browser, Page, async_playwright

from amas.client import Fleet, NewTask
from amas.fleet.load import load_fleet
from amas.platforms.local.control import RunningFleet, start_fleet
from amas.platforms.local.home import Home
from amas.platforms.local.request import request_for

REPOSITORY = Path(__file__).resolve().parents[1]
PICTURES = REPOSITORY / "docs" / "pictures"
SIZE = {"width": 1200, "height": 760}
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
SHOWN_S = 60.0
"""What a plot shows at least."""

AT_WORK = "place => Number(document.querySelector(place).textContent.replace(/[^0-9]/g, '')) > 100"


@asynccontextmanager
async def fleet_of(fleet_file: str) -> AsyncIterator[RunningFleet]:
    """Run a fleet for the body."""
    with tempfile.TemporaryDirectory(prefix="amas-pictures-") as folder:
        fleet = await start_fleet(request_for(fleet_file, Home(Path(folder)), ports=(0, 0), bound=True))
        try:
            yield fleet
        finally:
            await fleet.stop()


@asynccontextmanager
async def looking(browser: Browser, address: str, scheme: str) -> AsyncIterator[Page]:
    """Open a window on a page."""
    page = await browser.new_page(viewport=SIZE, color_scheme=scheme)
    await page.goto(address)
    try:
        yield page
    finally:
        await page.close()


async def feed(fleet: RunningFleet) -> None:
    """Keep the stand-ins of all families busy in waves."""
    capabilities = [pool.capabilities[0] for pool in load_fleet("blackroad", agents=True).pools if pool.skill == "none"]
    async with Fleet.connect(home=fleet.home.folder) as client:
        for size in cycle((1000, 3000, 6000, 2000)):
            batch = [NewTask(capability=name, input={"n": 1}) for name in islice(cycle(capabilities), size)]
            for first in range(0, size, 1000):
                await client.submit_batch(batch[first : first + 1000])
            await asyncio.sleep(1.0)


async def many(browser: Browser) -> None:
    """Picture the overview, the map and the tasks of 30,000 agents."""
    async with fleet_of("blackroad") as fleet:
        feeding = asyncio.create_task(feed(fleet))
        async with (
            looking(browser, fleet.state.api_url, "light") as overview,
            looking(browser, f"{fleet.state.api_url}/fleet", "dark") as agents,
            looking(browser, f"{fleet.state.api_url}/tasks?state=succeeded", "light") as tasks,
        ):
            await asyncio.sleep(SHOWN_S)
            await overview.wait_for_function(AT_WORK, arg="section[aria-label='Agents working'] .value")
            await overview.screenshot(path=PICTURES / "overview.png")
            await agents.wait_for_function(AT_WORK, arg=".legend li:nth-child(2)")
            await agents.screenshot(path=PICTURES / "fleet.png")
            await tasks.reload()  # the page was opened before there were any
            await tasks.get_by_role("row").nth(20).wait_for()
            await tasks.screenshot(path=PICTURES / "tasks.png")
        feeding.cancel()
        await asyncio.wait([feeding])


async def one(browser: Browser) -> None:
    """Picture a goal's graph below its deliverable."""
    async with fleet_of("amas") as fleet, looking(browser, f"{fleet.state.api_url}/goals", "light") as page:
        await page.get_by_label("What is wanted").fill("Review the code and write a report")
        await page.get_by_label("Input folder").fill(str(REPOSITORY / "src" / "amas" / "core"))
        await page.get_by_role("button", name="Submit the goal").click()
        await page.get_by_role("button", name="Graph").click()
        await page.get_by_role("heading", name="Deliverable").wait_for(timeout=300_000)
        await page.locator(".heading", has_text="Tasks").evaluate("element => element.scrollIntoView()")
        await page.screenshot(path=PICTURES / "goal.png")


async def main() -> None:
    """Make all pictures."""
    PICTURES.mkdir(exist_ok=True)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        await many(browser)
        await one(browser)


asyncio.run(main())
