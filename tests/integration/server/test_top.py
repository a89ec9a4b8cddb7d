"""`amas top` on a screen of 80 by 24, driven by keys, against a real control plane."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import httpx
import pytest
from http_served import Whole, bound, running
from textual.pilot import Pilot
from textual.widgets import DataTable, Input, Static

from amas.cli import top_app
from amas.cli.api import Api
from amas.cli.top_app import Top, Troubled
from amas.cli.top_views import VIEWS
from amas.server.plane import ControlPlane

from .conftest import WORK, Hands
from .test_serve import served, serving  # noqa: F401  a fixture

LIMIT_S = 60


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    monkeypatch.setattr(top_app, "EVERY_S", 0.05)


@asynccontextmanager
async def screen(port: int) -> AsyncIterator[tuple[Top, Pilot[None]]]:
    app = Top(Api(f"http://127.0.0.1:{port}"))
    async with app.run_test(size=(80, 24)) as pilot:
        yield app, pilot


async def until(pilot: Pilot[None], said: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not said():
            await pilot.pause(0.02)


def lines(app: Top) -> list[str]:
    table = app.query_one(DataTable)
    return ["  ".join(str(cell) for cell in table.get_row_at(number)) for number in range(table.row_count)]


def text(app: Top, where: str) -> str:
    return str(app.query_one(where, Static).content)


@pytest.mark.requirement("B10")
async def test_keys_lead_from_the_figures_to_a_failed_task(served: ControlPlane) -> None:  # noqa: F811
    hands = Hands(served)
    await hands.register()
    async with serving(served) as (port, _), screen(port) as (app, pilot), httpx.AsyncClient() as client:
        await until(pilot, lambda: "agents 3: 0 working, 3 idle" in text(app, "#figures"))
        await until(pilot, lambda: any(line.startswith("worker  2") for line in lines(app)))
        body = {"capability": WORK, "title": "paint \x1b[31mred", "retry": {"retries": 0}}
        for _ in range(2):
            await client.post(f"http://127.0.0.1:{port}/api/tasks", json=body)
        await pilot.press("right")
        await until(pilot, lambda: lines(app) == [f"{WORK}  2  none"])
        (claimed,) = await hands.claim()
        await until(pilot, lambda: "running 1  queued 1" in text(app, "#figures"))
        await hands.fail(claimed, "broken", "it \x1b]0;fell\x07 apart")
        await hands.record()
        await pilot.press("4")
        await until(pilot, lambda: len(lines(app)) == 1)
        assert "it \\x1b]0;fell\\x07 apart" in lines(app)[0]
        await pilot.press("enter")
        await until(pilot, lambda: any("attempt 1" in line and "failed on h1" in line for line in lines(app)))
        assert any("paint \\x1b[31mred" in line for line in lines(app))
        await pilot.press("escape", "1")
        await until(pilot, lambda: len(lines(app)) == 2)
        await pilot.press("slash", *"work", "left", "enter")
        await until(pilot, lambda: [line.split()[0] for line in lines(app)] == ["worker"])
        assert text(app, "#title") == "Pools  (1 of 2)"
        await pilot.press("enter")
        await until(pilot, lambda: [line.split()[0] for line in lines(app)] == ["worker-1", "worker-2"])
        assert not app.query_one(Input).value
        await pilot.press("enter")
        await until(pilot, lambda: text(app, "#title").endswith("> agent worker-1: its newest tasks"))
        await until(pilot, lambda: len(lines(app)) == 1)
        await pilot.press("q")
        assert app.return_code == 0


async def test_a_fleet_that_is_gone_is_said_and_the_screen_stays() -> None:
    async with screen(1) as (app, pilot):
        await until(pilot, lambda: "the fleet's API at 127.0.0.1:1 doesn't answer" in text(app, "#trouble"))
        await pilot.press("2", "slash", "x", "escape", "escape", "down", "enter")
        assert app.is_running


def test_an_engine_that_is_away_is_told_from_a_control_plane_that_is() -> None:
    over = threading.Event()

    class Waits(Whole):
        def do_GET(self) -> None:
            if self.path != "/health":
                over.wait(LIMIT_S)
            self.say(200, b"{}")

    with running(bound(Waits)) as url:
        try:
            told = Top(Api(url, timeout_s=0.5))._looked(VIEWS[0], {})
        finally:
            over.set()
    assert isinstance(told, Troubled) and "the control plane lives" in told.why


async def test_the_screen_fits_eighty_columns(served: ControlPlane) -> None:  # noqa: F811
    await Hands(served).register()
    async with serving(served) as (port, _), screen(port) as (app, pilot):
        await until(pilot, lambda: len(lines(app)) == 2)
        assert max(map(len, text(app, "#figures").splitlines())) <= 78
        assert app.query_one(DataTable).virtual_size.width <= 80
