"""`amas recover`: the work that an engine lost, put back from the history; and the word on it that `amas up` gives."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from amas.cli.api import home_at
from amas.cli.output import console, print_json
from amas.engine.connection import Engine
from amas.errors import EngineError, RecordsError
from amas.platforms.local.control import engine_settings, fleet_state
from amas.platforms.local.home import Home
from amas.settings import EngineSettings, RecordsSettings

if TYPE_CHECKING:
    from amas.records.store import Records

LOOK_TIMEOUT_S = 10.0
"""What `amas up` grants the look at the history before it goes without."""


def recover(folder: Path | None, *, as_json: bool) -> None:
    """Put back what is lost, and say how much that was."""
    done = asyncio.run(_recover(home_at(folder), show=not as_json))
    if as_json:
        print_json(done)
    elif not any(done.values()):
        console().print("nothing is to be recovered: the engine holds all the open work that the history knows")
    else:
        known = f"; {done['known']} were there already" if done["known"] else ""
        console().print(
            f"recovered {done['tasks']} open tasks and {done['workflows']} workflows, "
            f"with the results of {done['results']} finished tasks{known}"
        )


def tell_what_is_lost(home: Home) -> None:
    """Say so when the history holds open work that the engine has lost; say nothing when it can't be found out."""
    with contextlib.suppress(EngineError, RecordsError, TimeoutError):
        lost = asyncio.run(_count(home))
        if any(lost):
            console().print(
                f"[yellow]the engine lost {lost[1]} open tasks and {lost[0]} workflows that the history holds[/yellow]: "
                "`amas recover` puts them back"
            )


async def _recover(home: Home, *, show: bool) -> dict[str, int]:
    from amas.controllers.recover import recover as put_back
    from amas.platforms.local.applied import applied_fleet

    fleet = await applied_fleet(fleet_state(home.folder))
    async with _opened(home) as (engine, records):
        with _progress(show=show) as progress:
            done = await put_back(
                engine,
                records,
                retention_s=EngineSettings.read().retention_s,
                progress=progress,
                goals_at_a_time=fleet.limits.max_workflows,
            )
    return done._asdict()


async def _count(home: Home) -> tuple[int, int]:
    from amas.controllers.recover import lost_work

    async with asyncio.timeout(LOOK_TIMEOUT_S), _opened(home) as (engine, records):
        return await lost_work(engine, records)


@contextlib.asynccontextmanager
async def _opened(home: Home) -> "AsyncIterator[tuple[Engine, Records]]":
    from amas.records.store import Records

    state = fleet_state(home.folder)
    url = RecordsSettings.read().url_for(home.folder)
    async with Engine.of(engine_settings(state)) as engine, await Records.open(url, cell=state.cell) as records:
        yield engine, records


@contextlib.contextmanager
def _progress(*, show: bool) -> Iterator[Callable[[int, int], None]]:
    if not show:
        yield lambda _done, _total: None
        return
    from rich.progress import Progress

    with Progress(console=console(), transient=True) as bar:
        shown = bar.add_task("recovering", total=None)
        yield lambda done, total: bar.update(shown, completed=done, total=total)
