"""`amas artifacts prune`: remove large values that are old and that nothing needs."""

import asyncio
from pathlib import Path

import typer

from amas.artifacts.prune import Pruned, old_artifacts, prune, references
from amas.artifacts.store import ArtifactStore
from amas.cli.api import home_at
from amas.cli.output import console, print_json
from amas.clock import now_ms
from amas.engine.connection import Engine
from amas.engine.journal import Journal
from amas.engine.queue import TaskQueue
from amas.engine.schedules import Schedules
from amas.engine.sealed import SealKeys
from amas.engine.signals import early_answers
from amas.errors import RecordsError
from amas.fleet.declared import seconds
from amas.model.journal import position_of
from amas.platforms.local.control import engine_settings, fleet_state
from amas.platforms.local.home import Home
from amas.records.store import Records
from amas.sealing import Seal, read_seal
from amas.settings import EngineSettings, RecordsSettings

AGE_LEAST_S = 3600.0
"""A submission stores its input first and may then wait for room, and an agent may refer to what it stored minutes ago."""
CAUGHT_UP_S, LOOK_EVERY_S = 30.0, 0.05
"""A recorder that is further behind than this has trouble of its own."""


def prune_artifacts(folder: Path | None, older_than: str, *, dry_run: bool, as_json: bool) -> None:
    """Prune the artifact store of the running fleet and say what came of it."""
    try:
        age_s = seconds(older_than)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--older-than") from error
    if age_s < AGE_LEAST_S:
        message = f"{older_than} is too short: submissions under way store first, so an hour is the least"
        raise typer.BadParameter(message, param_hint="--older-than")
    pruned = asyncio.run(_prune(home_at(folder), age_s, dry_run=dry_run))
    if as_json:
        print_json({**pruned._asdict(), "dry_run": dry_run})
        return
    what = "would be removed" if dry_run else "removed"
    console().print(
        f"{pruned.removed} artifacts {what}, {pruned.removed_bytes:,} bytes; {pruned.in_use} old ones are still in use"
    )


async def _prune(home: Home, age_s: float, *, dry_run: bool) -> Pruned:
    state, now = fleet_state(home.folder), now_ms()
    seal = read_seal()
    store = ArtifactStore(state.artifacts_url, seal=seal.artifacts if seal else None)
    old = await asyncio.to_thread(old_artifacts, store, before_s=now / 1000 - age_s)
    async with (
        Engine.of(engine_settings(state)) as engine,
        await Records.open(RecordsSettings.read().url_for(home.folder), cell=state.cell) as records,
    ):
        await SealKeys(engine).agree(seal)  # what can't be opened can't be searched
        await caught_up(records, Journal(engine))
        protected_s = max(age_s, EngineSettings.read().retention_s)
        used = await _used(records, engine, seal, since_ms=now - round(protected_s * 1000)) if old else set()
    return await asyncio.to_thread(prune, store, old, used, dry_run=dry_run)


async def caught_up(records: Records, journal: Journal) -> None:
    """Wait until the records hold what the engine has accepted by now: they say what is in use."""
    last = position_of(await journal.last_id())
    for _ in range(round(CAUGHT_UP_S / LOOK_EVERY_S)):
        if position_of(await records.position()) >= last:
            return
        await asyncio.sleep(LOOK_EVERY_S)
    raise RecordsError("the records are behind the engine, so nobody can say what is in use: `amas status` shows more")


async def _used(records: Records, engine: Engine, seal: Seal | None, *, since_ms: int) -> set[str]:
    """Return the references of tasks that are open or ended since a time, and of those to come.

    They stand in inputs, results and steps, in schedules, and in answers that came before anybody asked for them.
    """
    used: set[str] = set()
    for held in (await Schedules(engine).blobs()).values():
        used |= references(held, seal)
    async for held in early_answers(engine):
        used |= references(held, seal)
    queue, cursor = TaskQueue(engine), ""
    while rows := await records.values_in_use(since_ms=since_ms, cursor=cursor):
        for row in rows:
            used |= references(row.values, seal)
            if row.is_open:
                for result in (await queue.steps(row.id)).values():
                    used |= references(result, seal)
        cursor = rows[-1].id
    return used
