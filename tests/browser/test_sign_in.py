"""The page of a control plane that asks for a key: nothing is seen before one is shown, and nothing after it is given up."""

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import Page, async_playwright, expect
from tests.integration.server.conftest import make_plane

from amas.engine.connection import Engine
from amas.records.store import Records
from amas.server.pages import DOCUMENT, FOLDER
from amas.server.serve import serve

from .conftest import CHROMIUM, FLAGS, LIMIT_MS, LIMIT_S

pytestmark = [
    pytest.mark.xdist_group("browser"),
    pytest.mark.requirement("A15"),
    pytest.mark.skipif(
        CHROMIUM is None or not (FOLDER / DOCUMENT).exists(), reason="there is no chromium on this machine, or no page was built"
    ),
]
TOKEN = "a-token-of-some-length-0123456789"


@asynccontextmanager
async def signing_in(engine: Engine, home: Path) -> AsyncIterator[tuple[Page, str]]:
    """Give the body a window, and the address of a control plane that asks for a key."""
    expect.set_options(timeout=LIMIT_MS)
    ports: asyncio.Future[tuple[int, int]] = asyncio.get_running_loop().create_future()
    async with await Records.open(f"sqlite:///{home}/records.sqlite3", cell=engine.prefix) as records:
        plane = make_plane(engine, records, home, port=0, metrics_port=0, token=TOKEN)
        serving = asyncio.create_task(serve(plane, ready=lambda *found: ports.set_result(found)))
        try:
            async with asyncio.timeout(LIMIT_S):
                port, _ = await ports
            async with async_playwright() as playwright:
                browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
                yield await browser.new_page(), f"http://127.0.0.1:{port}"
                await browser.close()
        finally:
            serving.cancel()
            await asyncio.wait([serving], timeout=LIMIT_S)


async def enter(page: Page, address: str, **key: str) -> None:
    """Sign in with a key that is made for it."""
    headers = {"authorization": f"Bearer {TOKEN}"}
    made = await page.request.post(f"{address}/api/keys", data=key, headers=headers)
    await page.goto(address)
    await page.get_by_label("API key").fill((await made.json())["key"])
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("button", name="Sign out")).to_be_visible()


async def test_whoever_has_the_key_gets_in_and_out_again(engine: Engine, tmp_path: Path) -> None:
    async with signing_in(engine, tmp_path) as (page, address):
        await page.goto(f"{address}/goals")
        key = page.get_by_label("API key")
        await key.fill("wrong")
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("alert")).to_contain_text("opens nothing")
        await key.fill(TOKEN)
        await page.get_by_role("button", name="Sign in").click()
        await expect(page.get_by_role("heading", name="Goals", level=1)).to_be_visible()
        await expect(page.get_by_role("button", name="Submit the goal")).to_be_visible()
        assert await page.evaluate("() => document.cookie + JSON.stringify(localStorage)") == "{}"
        await page.get_by_role("button", name="Sign out").click()
        await expect(key).to_be_visible()
        await enter(page, address, name="acme-ci", role="operator", tenant="acme")
        await expect(page.get_by_role("heading", name="Goals", level=1)).to_be_visible()  # the fleet is none of its business
        pages = page.get_by_role("navigation").get_by_role("link")
        assert await pages.all_inner_texts() == ["Goals", "Tasks", "Queues", "Costs"]


async def test_a_tenant_s_viewer_is_offered_and_asks_for_nothing_that_is_refused(engine: Engine, tmp_path: Path) -> None:
    async with signing_in(engine, tmp_path) as (page, address):
        task = {"capability": "test.work", "title": "Theirs", "tenant": "acme"}
        made = await page.request.post(f"{address}/api/tasks", data=task, headers={"authorization": f"Bearer {TOKEN}"})
        theirs = (await made.json())["id"]
        await enter(page, address, name="vera", role="viewer", tenant="acme")
        await expect(page.get_by_text("viewer of acme")).to_be_visible()
        refused: list[str] = []
        page.on("response", lambda answer: refused.append(answer.url) if answer.status >= 400 else None)
        for path, said in {
            "/goals": "None yet: use amas run",
            "/tasks": "None yet",
            "/queues": "No task has failed for good",
            "/costs": "In all",
            f"/tasks/{theirs}": "It has sent none yet",
        }.items():
            await page.goto(f"{address}{path}", wait_until="networkidle")
            await expect(page.get_by_text(said).first).to_be_visible()
        assert refused == []
        orders = page.get_by_role("button", name=re.compile("Submit|Cancel|Put back|Discard"))
        await expect(orders).to_have_count(0)
        await page.goto(f"{address}/fleet")
        await expect(page.get_by_text("your key is of acme alone")).to_be_visible()


async def test_a_viewer_of_the_fleet_is_offered_no_change(engine: Engine, tmp_path: Path) -> None:
    async with signing_in(engine, tmp_path) as (page, address):
        await enter(page, address, name="vera", role="viewer")
        for path, said in {"/goals": "None yet", "/alerts": "Nothing is silenced", "/rollouts": "No pool has had"}.items():
            await page.goto(f"{address}{path}")
            await expect(page.get_by_text(said)).to_be_visible()
            await expect(page.locator("main").get_by_role("form")).to_have_count(0)
            await expect(page.get_by_role("button", name=re.compile("Submit|Silence"))).to_have_count(0)
