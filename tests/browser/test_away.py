"""The page while its control plane is killed and comes back: it says so, keeps what it showed, and goes on by itself."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import Command
from playwright.sync_api import Page, expect, sync_playwright

from amas.platforms.local.control import fleet_state

from .conftest import CHROMIUM, FLAGS, LIMIT_MS
from .test_page import asked

pytestmark = pytest.mark.xdist_group("browser")
AWAY = "The control plane hasn't answered since"


@pytest.fixture(scope="module")
def fleet(address: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """A fleet whose parts may be killed. `address`: for its reasons to skip."""
    with Command(tmp_path_factory.mktemp("killed")).up() as command:
        yield command


@pytest.fixture
def windows(fleet: Command) -> Iterator[list[Page]]:
    """A window on the overview, one on the agents' map and one on goals, each with something that a reload would lose."""
    expect.set_options(timeout=LIMIT_MS)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        pages = []
        for path in ("/", "/fleet", "/goals"):
            page = browser.new_page()
            page.set_default_timeout(LIMIT_MS)
            page.goto(f"http://127.0.0.1:{fleet_state(fleet.home).port}{path}")
            page.evaluate("window.kept = true")
            pages.append(page)
        yield pages
        browser.close()


def _succeeded(page: Page, count: str) -> None:
    expect(page.get_by_role("region", name="Success")).to_contain_text(re.compile(rf"\b{count} succeeded"))


def test_a_page_says_that_its_control_plane_is_gone_and_goes_on_when_it_is_back(
    fleet: Command, windows: list[Page], tmp_path: Path
) -> None:
    overview, _, goals = windows
    _succeeded(overview, "0")
    goals.get_by_label("What is wanted").fill("Kept while nobody answers")
    state = fleet_state(fleet.home)
    os.kill(state.supervisor_pid, signal.SIGSTOP)  # so that nobody starts it again yet
    try:
        os.kill(next(part.pid for part in state.parts if part.name == "control-plane"), signal.SIGKILL)
        for page in windows:
            expect(page.locator("[aria-live]").filter(has_text=AWAY)).to_be_visible()
        _succeeded(overview, "0")
        goals.get_by_role("button", name="Submit the goal").click()
        expect(goals.locator("form > [role=alert]")).to_contain_text("doesn't answer")  # refused now, and not done later
    finally:
        os.kill(state.supervisor_pid, signal.SIGCONT)
    for page in windows:
        expect(page.get_by_text(AWAY)).to_have_count(0)
    address = f"http://127.0.0.1:{state.port}"
    (tmp_path / "small.py").write_text("ONE = 1\n")
    asked(address, "/api/goals", {"text": "Review the code", "input_dir": str(tmp_path), "output_dir": str(tmp_path / "out")})
    _succeeded(overview, r"[1-9]\d*")
    expect(goals.get_by_role("row", name=re.compile("Review the code"))).to_be_visible()
    expect(goals.get_by_text("Kept while nobody answers")).to_have_count(0)  # the field's text is no text of the page
    expect(goals.get_by_label("What is wanted")).to_have_value("Kept while nobody answers")
    assert all(page.evaluate("window.kept") for page in windows)
