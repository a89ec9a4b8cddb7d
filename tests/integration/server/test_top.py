"""`amas top` on a screen of 80 by 24, driven by keys, against a real control plane."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
from http_served import Whole, bound, running
from textual.pilot import Pilot
from textual.widgets import DataTable, Input, Sparkline, Static

from amas.cli import top_app
from amas.cli.api import Api
from amas.cli.top_app import KEYS, Help, Looked, Top, Troubled
from amas.cli.top_views import ROWS_MAX, VIEWS, row
from amas.server.plane import ControlPlane

from .conftest import WORK, Hands, make_plane
from .test_serve import served, serving  # noqa: F401  a fixture

LIMIT_S = 60


@pytest.fixture(autouse=True)
def quick(monkeypatch) -> None:
    monkeypatch.setattr(top_app, "EVERY_S", 0.05)


@asynccontextmanager
async def screen(port: int, size: tuple[int, int] = (80, 24)) -> AsyncIterator[tuple[Top, Pilot[None]]]:
    app = Top(Api(f"http://127.0.0.1:{port}"))
    async with app.run_test(size=size) as pilot:
        yield app, pilot


def seen(app: Top) -> str:
    """Return what stands on the screen."""
    return "\n".join("".join(part.text for part in strip) for strip in app.screen._compositor.render_strips())


async def until(pilot: Pilot[None], said: Callable[[], bool]) -> None:
    async with asyncio.timeout(LIMIT_S):
        while not said():
            await pilot.pause(0.02)


def lines(app: Top) -> list[str]:
    table = app.screen_stack[0].query_one(DataTable)
    return ["  ".join(str(cell) for cell in table.get_row_at(number)) for number in range(table.row_count)]


def text(app: Top, where: str) -> str:
    return str(app.query_one(where, Static).content)


@pytest.mark.requirement("B10")
async def test_keys_lead_from_the_figures_to_a_failed_task(served: ControlPlane) -> None:  # noqa: F811
    hands = Hands(served)
    await hands.register()
    async with serving(served) as (port, _), screen(port) as (app, pilot), httpx.AsyncClient(timeout=60) as client:
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


async def test_what_changes_leaves_the_user_where_they_are() -> None:
    """In the columns aside, far down, and at the line that was chosen, though another came before it."""
    hosts = VIEWS[2]
    rows = [row(f"host-{n}", f"host-{n}", 15_000, 0, f"{n}.0 s", "50 MiB", "0.1 ms") for n in range(100)]
    async with screen(1, size=(30, 20)) as (app, pilot):
        await pilot.press("3")
        app.post_message(Looked(hosts, rows))
        await until(pilot, lambda: len(lines(app)) == 100)
        table = app.query_one(DataTable)
        await pilot.press("end", "shift+right")
        await until(pilot, lambda: table.scroll_x > 0 and table.scroll_y > 0)
        before = (table.scroll_x, table.scroll_y)
        app.post_message(Looked(hosts, [*rows[:99], row("host-99", "host-99", 15_000, 7, "99.5 s", "50 MiB", "0.1 ms")]))
        await until(pilot, lambda: "99.5 s" in lines(app)[99])
        await pilot.pause()
        assert (table.scroll_x, table.scroll_y, table.cursor_row) == (*before, 99)
        app.post_message(Looked(hosts, [row("host-x", "host-x", 1, 0, "0.0 s", "50 MiB", "0.1 ms"), *rows]))
        await until(pilot, lambda: len(lines(app)) == 101)
        await until(pilot, lambda: (table.scroll_x, table.scroll_y) == (before[0], before[1] + 1))  # it is in sight
        assert table.cursor_row == 100


async def test_what_isn_t_there_and_what_isn_t_shown_is_said() -> None:
    async with screen(1) as (app, pilot):
        await pilot.press("2")
        assert text(app, "#title") == "Queues", "nothing is known yet"
        app.post_message(Looked(VIEWS[1], []))
        await until(pilot, lambda: text(app, "#title") == "Queues: nothing is queued")
        app.post_message(Looked(VIEWS[1], [row(f"q{n}", f"q{n}", 1, "none") for n in range(ROWS_MAX)]))
        await until(pilot, lambda: text(app, "#title") == f"Queues  (the first {ROWS_MAX})")


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


async def test_help_has_every_key_and_any_key_closes_it(served: ControlPlane) -> None:  # noqa: F811
    """On the screen over SSH that is promised, 60 columns by 20 lines."""
    await Hands(served).register()
    async with serving(served) as (port, _), screen(port, size=(60, 20)) as (app, pilot):
        await until(pilot, lambda: len(lines(app)) == 2)
        footer = seen(app).splitlines()[-1]
        assert all(word in footer for word in ("? Help", "q Quit", "/ Filter", "esc Back", "1-4 Views")), footer
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(app.screen, Help))
        told = seen(app)
        assert all(does in told for _, does in KEYS), told
        assert len(lines(app)) == 2, "the table below it is still asked about"
        await pilot.press("3")
        await until(pilot, lambda: not isinstance(app.screen, Help))
        assert text(app, "#title") == "Pools", "the key closed help, and did nothing else"


def test_the_page_has_the_keys_that_help_has() -> None:
    page = (Path(__file__).parents[3] / "docs" / "terminal.md").read_text()
    for key, _ in KEYS:
        assert all(f"`{part}`" in page or part in page for part in key.split()), key


async def test_a_screen_that_is_made_small_keeps_its_table(served: ControlPlane) -> None:  # noqa: F811
    await Hands(served).register()
    async with serving(served) as (port, _), screen(port) as (app, pilot):
        await until(pilot, lambda: len(lines(app)) == 2)
        for size, shown in (((40, 10), False), ((100, 30), True)):
            await pilot.resize_terminal(*size)
            await until(pilot, lambda shown=shown: app.query_one(Sparkline).display is shown)  # type: ignore[misc]
            assert "worker" in seen(app)
        await pilot.resize_terminal(30, 24)
        before = app.query_one(DataTable).scroll_x
        await pilot.press("shift+right")
        await until(pilot, lambda: app.query_one(DataTable).scroll_x > before)


async def test_figures_stay_while_the_control_plane_is_away_and_go_on_when_it_is_back(served: ControlPlane) -> None:  # noqa: F811
    await Hands(served).register()
    async with serving(served) as (port, _):
        app = Top(Api(f"http://127.0.0.1:{port}", timeout_s=2))
        pilots = app.run_test(size=(60, 20))
        pilot = await pilots.__aenter__()
        await until(pilot, lambda: len(lines(app)) == 2)
    try:
        await until(pilot, lambda: "doesn't answer" in text(app, "#trouble"))
        assert app.query_one("#trouble").display and "agents 3" in text(app, "#figures") and len(lines(app)) == 2
        again = make_plane(served.engine, served.records, served.home, port=port, metrics_port=0)
        async with serving(again):
            await until(pilot, lambda: not app.query_one("#trouble").display)
    finally:
        await pilots.__aexit__(None, None, None)


async def test_the_screen_fits_eighty_columns(served: ControlPlane) -> None:  # noqa: F811
    await Hands(served).register()
    async with serving(served) as (port, _), screen(port) as (app, pilot):
        await until(pilot, lambda: len(lines(app)) == 2)
        assert max(map(len, text(app, "#figures").splitlines())) <= 78
        assert app.query_one(DataTable).virtual_size.width <= 80
