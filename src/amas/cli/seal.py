"""`amas seal`: which keys payloads are sealed with, and sealing anew what an older one has sealed (docs/secrets.md)."""

import asyncio
from pathlib import Path

import msgspec

from amas.artifacts import reseal
from amas.artifacts.store import ArtifactStore
from amas.cli.api import home_at
from amas.cli.artifacts import caught_up
from amas.cli.output import console, print_json
from amas.engine.connection import Engine
from amas.engine.journal import Journal
from amas.engine.schedules import Schedules
from amas.engine.sealed import SealKeys
from amas.engine.signals import early_answers
from amas.errors import SettingInvalid
from amas.platforms.local.control import engine_settings, fleet_state
from amas.platforms.local.home import Home
from amas.records.store import Records
from amas.sealing import Seal, read_seal
from amas.settings import RecordsSettings


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
    behind: list[str]
    """Hosts and control planes that still seal with an older key."""


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
    if found.behind:
        names = ", ".join(found.behind)
        console().print(
            f"still sealing with an older key: {names}; start them again with the new key first in AMAS_SEAL_KEY, "
            "then run this again: until then no key can be taken out",
            markup=False,
        )


async def _rotate(home: Home, seal: Seal) -> Rotated:
    state = fleet_state(home.folder)
    settings = engine_settings(state)
    store = ArtifactStore(state.artifacts_url, seal=seal.artifacts)
    async with (
        Engine.of(settings) as engine,
        await Records.open(RecordsSettings.read().url_for(home.folder), cell=state.cell) as records,
    ):
        keys = SealKeys(engine)
        await keys.agree(seal)
        behind = sorted(who for who, key_id in (await keys.users()).items() if key_id != seal.key_ids[0])
        values = await _reseal_schedules(Schedules(engine), seal)
        await caught_up(records, Journal(engine))
        history = await records.reseal(seal, held_since_ms=engine.now_ms() - round(settings.retention_s * 1000))
        schedules = (await Schedules(engine).blobs()).values()
        held = history.held + sum(seal.anew(each) != each for each in schedules)
        held += sum([seal.anew(each) != each async for each in early_answers(engine)])
        artifacts = await asyncio.to_thread(reseal.reseal, store)
        retired = [] if held or behind else [key_id for key_id in await keys.since() if key_id != seal.key_ids[0]]
        for key_id in retired:
            await keys.retire(key_id)
    values += history.values
    return Rotated(key=seal.key_ids[0], values=values, artifacts=artifacts, still_held=held, retired=retired, behind=behind)


async def _reseal_schedules(schedules: Schedules, seal: Seal) -> int:
    """Seal schedules' inputs and goals anew, but for one that somebody changes meanwhile; return how many."""
    anew = {name: (blob, seal.anew(blob)) for name, blob in (await schedules.blobs()).items()}
    return sum([await schedules.instead(name, blob, other) for name, (blob, other) in anew.items() if other != blob])
