"""The page's source: its types against the API's own document, its pure parts, and what it is built from."""

import json
import os
import re
import shutil
import subprocess

import pytest

from amas.server.pages import DOCUMENT, FOLDER, PAGES

from .conftest import REPOSITORY

WEB = REPOSITORY / "web"
pytestmark = [
    pytest.mark.xdist_group("browser"),
    pytest.mark.skipif(
        shutil.which("node") is None or not (WEB / "node_modules").exists(),
        reason="there is no node >= 20.19 on this machine, or the page wasn't built with it",
    ),
]


def npm(*arguments: str, **environment: str) -> None:
    ran = subprocess.run(
        ["npm", "run", "--silent", *arguments],
        cwd=WEB,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=280,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


def test_the_page_uses_the_api_as_it_is(address: str) -> None:
    """A path, field or query that the page uses and the control plane's document lacks is a type error."""
    npm("types", AMAS_URL=address)
    npm("check")


def test_the_pure_parts() -> None:
    npm("test")


def test_the_page_is_built_where_it_can_be() -> None:
    assert (FOLDER / DOCUMENT).exists(), "run `make setup`"


def test_each_route_of_the_page_is_served_with_what_shows_it() -> None:
    router = (WEB / "src" / "router.tsx").read_text()
    used = {path.replace(":id", "{id}"): name for path, name in re.findall(r'"(/[^"]*)": \(\) => .*found\.(\w+)\)', router)}
    assert used == PAGES
    for name in PAGES.values():
        document = (FOLDER / f"{name}.html").read_text()
        assert re.search(rf'rel="modulepreload" crossorigin href="/assets/{name}-', document), name


def test_the_lock_file_names_no_registry() -> None:
    packages = json.loads((WEB / "package-lock.json").read_text())["packages"]
    assert [name for name, package in packages.items() if "resolved" in package] == []
