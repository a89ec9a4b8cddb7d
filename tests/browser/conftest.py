"""One real fleet with its page for the whole session, and a Chromium that looks at it."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from command import Command
from playwright.sync_api import Browser, Page, sync_playwright

from amas.platforms.local.control import fleet_state
from amas.server.pages import DOCUMENT, FOLDER

REPOSITORY = Path(__file__).resolve().parents[2]
CHROMIUM = shutil.which("chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
LIMIT_S = 60
LIMIT_MS = LIMIT_S * 1000


@pytest.fixture(scope="session")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that a goal can be about."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "small.py").write_text('"""Small."""\n\n\ndef one() -> int:\n    """Return 1."""\n    return 1\n')
    (folder / "pyproject.toml").write_text('[project]\nname = "small"\nversion = "1"\nlicense = "MIT"\n')
    return folder


@pytest.fixture(scope="session")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Where the fleet's page is."""
    if CHROMIUM is None:
        pytest.skip("there is no chromium on this machine")
    if not (FOLDER / DOCUMENT).exists():
        pytest.skip("the page isn't built: `make setup` does it where node >= 20.19 is")
    with Command(tmp_path_factory.mktemp("fleet")).up() as command:
        yield f"http://127.0.0.1:{fleet_state(command.home).port}"


@pytest.fixture(scope="module")
def browser(address: str) -> Iterator[Browser]:
    """A browser that is gone with the module: while it runs, no async test could start an event loop in this thread."""
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield running
        running.close()


@pytest.fixture
def visit(browser: Browser, address: str) -> Iterator[Callable[..., Page]]:
    """Open a page's route in a window of its own; a script that fails on it fails the test."""
    opened: list[Page] = []
    wrong: list[str] = []

    def open_one(path: str, **context: object) -> Page:
        page = browser.new_page(**context)
        opened.append(page)
        page.set_default_timeout(LIMIT_MS)
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: None if request.url.startswith((address, "data:")) else wrong.append(request.url))
        page.goto(f"{address}{path}")
        return page

    yield open_one
    for page in opened:
        page.context.close()
    assert wrong == []
