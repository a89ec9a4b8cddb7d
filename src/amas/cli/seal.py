"""`amas seal`: which keys payloads are sealed with, and sealing anew what an older one has sealed (docs/secrets.md)."""

import asyncio
from pathlib import Path

import msgspec

from amas.artifacts import reseal
from amas.artifacts.store import ArtifactStore
from amas.cli.api import home_at
from amas.cli.artifacts import caught_up
from amas.cli.output import console, print_json
from amas.clock import now_ms
from amas.engine.connection import Engine
from amas.engine.journal import Journal
from amas.engine.schedules import Schedules
from amas.engine.sealed import SealKeys
from amas.engine.signals import early_answers
from amas.errors import SettingInvalid
from amas.platforms.local.control import fleet_state
from amas.platforms.local.home import Home
from amas.records.store import Records
from amas.sealing import Seal, is_sealed, read_seal
from amas.settings import EngineSettings, RecordsSettings


class Rotated(msgspec.Struct, kw_only=True):
    """What came of a rotation."""

    key: str
    """The one that seals."""
    values: int
    """Of the history, and schedules', sealed anew."""
    artifacts: int
    still_held: int
    """Values that the engine may still hold, sealed with an older key."""
    retired: list[str]
    """Keys that nothing is sealed with any more."""


def rotate(folder: Path | None, *, as_json: bool) -> None:
    """Seal anew what older keys have sealed, and say which keys are needed no more."""
    seal = read_seal()
    if seal is None:
        raise SettingInvalid(
            "AMAS_SEAL_KEY isn't set, so there is no key to seal with: name the new one first, the old one behind it"
        )
    found = asyncio.run(_rotate(home_at(folder), seal))
    if as_json:
        print_json(msgspec.to_builtins(found))
        return
    console().print(f"sealed {found.values:,} values and {found.artifacts:,} artifacts anew with the key {found.key}")
    for key_id in found.retired:
        console().print(f"nothing is sealed with the key {key_id} any more: take it out of AMAS_SEAL_KEY")
    if found.still_held:
        console().print(
            f"{found.still_held:,} values of tasks that are open, or ended lately, are sealed with an older key: keep it, "
            "and run this again when they are through"
        )


async def _rotate(home: Home, seal: Seal) -> Rotated:
    state, settings = fleet_state(home.folder), EngineSettings.read()
    store = ArtifactStore(state.artifacts_url, seal=seal.artifacts)
    async with (
        Engine(state.engine_url, cell=state.cell) as engine,
        await Records.open(RecordsSettings.read().url_for(home.folder), cell=state.cell) as records,
    ):
        keys = SealKeys(engine)
        await keys.agree(seal)
        values = await _reseal_schedules(Schedules(engine), seal)
        await caught_up(records, Journal(engine))
        history = await records.reseal(seal, held_since_ms=now_ms() - round(settings.retention_s * 1000))
        held = history.held + sum(seal.anew(answer) != answer for answer in await early_answers(engine))
        artifacts = await asyncio.to_thread(reseal.reseal, store)
        retired = [] if held else [key_id for key_id in await keys.since() if key_id != seal.key_ids[0]]
        for key_id in retired:
            await keys.retire(key_id)
    return Rotated(key=seal.key_ids[0], values=values + history.values, artifacts=artifacts, still_held=held, retired=retired)


async def _reseal_schedules(schedules: Schedules, seal: Seal) -> int:
    done = 0
    for view in await schedules.all():
        task = view.schedule.task
        if task is not None and is_sealed(task.input) and not seal.is_current(task.input):
            anew = msgspec.structs.replace(task, input=seal.value(seal.bare(task.input)))
            await schedules.put(msgspec.structs.replace(view.schedule, task=anew), next_ms=view.next_ms)
            done += 1
    return done
