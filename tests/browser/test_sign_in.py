"""The page of a control plane that asks for a key: nothing is seen before one is shown, and nothing after it is given up."""

import asyncio
from pathlib import Path

import pytest
from playwright.async_api import async_playwright, expect
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


async def test_whoever_has_the_key_gets_in_and_out_again(engine: Engine, tmp_path: Path) -> None:
    expect.set_options(timeout=LIMIT_MS)
    ports: asyncio.Future[tuple[int, int]] = asyncio.get_running_loop().create_future()
    async with await Records.open(f"sqlite:///{tmp_path}/records.sqlite3", cell=engine.prefix) as records:
        plane = make_plane(engine, records, tmp_path, port=0, metrics_port=0, token=TOKEN)
        serving = asyncio.create_task(serve(plane, ready=lambda *found: ports.set_result(found)))
        try:
            async with asyncio.timeout(LIMIT_S):
                port, _ = await ports
            async with async_playwright() as playwright:
                browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
                page = await browser.new_page()
                await page.goto(f"http://127.0.0.1:{port}/goals")
                key = page.get_by_label("API key")
                await key.fill("wrong")
                await page.get_by_role("button", name="Sign in").click()
                await expect(page.get_by_role("alert")).to_contain_text("opens nothing")
                await key.fill(TOKEN)
                await page.get_by_role("button", name="Sign in").click()
                await expect(page.get_by_role("heading", name="Goals", level=1)).to_be_visible()
                assert await page.evaluate("() => document.cookie + JSON.stringify(localStorage)") == "{}"
                await page.get_by_role("button", name="Sign out").click()
                await expect(key).to_be_visible()
                made = await page.request.post(
                    f"http://127.0.0.1:{port}/api/keys",
                    data={"name": "acme-ci", "role": "operator", "tenant": "acme"},
                    headers={"authorization": f"Bearer {TOKEN}"},
                )
                await page.goto(f"http://127.0.0.1:{port}/")
                await key.fill((await made.json())["key"])
                await page.get_by_role("button", name="Sign in").click()
                await expect(
                    page.get_by_role("heading", name="Goals", level=1)
                ).to_be_visible()  # the fleet is none of its business
                pages = page.get_by_role("navigation").get_by_role("link")
                assert await pages.all_inner_texts() == ["Goals", "Tasks", "Queues", "Costs"]
                await browser.close()
        finally:
            serving.cancel()
            await asyncio.wait([serving], timeout=LIMIT_S)
