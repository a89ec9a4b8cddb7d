"""Back-ups that a fleet makes by itself, and those that its API is asked for."""

import asyncio
import shutil
from pathlib import Path

import httpx
import msgspec
import pytest
from backup_fleet import SECRET_KEY, Running
from host_bench import SAMPLES

from amas.backup.repository import Repository
from amas.cli.backups import health
from amas.cli.output import moment
from amas.controllers.backup import Backups, FleetBackups
from amas.controllers.figures import Figures
from amas.engine.desired import DesiredState, Wish
from amas.errors import BackupBusy, BackupUnknown
from amas.fleet.load import load_fleet
from amas.model.backup import BackupSpec
from amas.model.fleet import FleetSpec
from amas.platforms.local.home import Home
from amas.server.app import create_app
from amas.server.plane import ControlPlane
from amas.settings import ServerSettings

HOUR_MS = 3_600_000


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A file with the secret, named by the environment."""
    file = tmp_path / "key"
    file.write_bytes(SECRET_KEY + b"\n")
    monkeypatch.setenv("AMAS_BACKUP_KEY", f"file:{file}")
    return file


def _declared(tmp_path: Path, **spec: float) -> FleetSpec:
    return FleetSpec(name="f", pools=(), backup=BackupSpec(to=str(tmp_path / "repository"), **spec))


def _aged(repository: Repository, hours: float) -> None:
    """Make all back-ups older, as if so much time had passed."""
    for each in repository.list().whole:
        repository.add(msgspec.structs.replace(each, at_ms=each.at_ms - round(hours * HOUR_MS)))


@pytest.mark.requirement("M9")
async def test_a_fleet_backs_itself_up_as_declared_and_removes_what_has_had_its_time(
    fleet: Running, tmp_path: Path, key: Path
) -> None:
    figures = Figures()
    duty = Backups(FleetBackups(fleet.sources, _declared(tmp_path), figures))
    assert 0 < await duty.run_once() <= 60
    repository = Repository.open(str(tmp_path / "repository"), SECRET_KEY)
    assert [each.kind for each in repository.list().whole] == ["full"]
    assert await duty.run_once() > 0
    assert len(repository.list().whole) == 1
    assert (figures.backups_made, figures.backups_failed) == (1, 0)
    _aged(repository, 1.1)
    another = Backups(FleetBackups(fleet.sources, _declared(tmp_path), Figures()))  # as a new leader would
    await another.run_once()
    assert [each.kind for each in repository.list().whole] == ["full", "incremental"]
    _aged(repository, 24 * 8)
    again = Backups(FleetBackups(fleet.sources, _declared(tmp_path), Figures()))
    await again.run_once()
    assert [each.kind for each in repository.list().whole] == ["full", "full"]


async def test_what_was_applied_later_goes_before_what_the_fleet_began_with(fleet: Running, tmp_path: Path, key: Path) -> None:
    backups = FleetBackups(fleet.sources, FleetSpec(name="f", pools=()), Figures())
    assert await Backups(backups).run_once() == 60
    await DesiredState(fleet.engine).change([Wish("fleet", _declared(tmp_path))], by="me", why="test")
    await Backups(backups).run_once()
    assert len((await backups.listing())[1].whole) == 1


async def test_a_failure_is_told_and_mended_by_itself(fleet: Running, tmp_path: Path, key: Path) -> None:
    figures = Figures()
    backups = FleetBackups(fleet.sources, _declared(tmp_path), figures)
    duty = Backups(backups)
    (tmp_path / "repository").write_text("in the way")
    assert await duty.run_once() == 60
    assert figures.backup_at_ms == 0
    (tmp_path / "repository").unlink()
    key.write_text("short")
    assert await duty.run_once() == 60
    assert figures.backups_failed > 0
    assert "holds less than 16 characters" in backups.now.failed
    key.write_bytes(SECRET_KEY)
    await duty.run_once()
    assert backups.now.failed == ""
    assert (figures.backups_made, figures.backup_at_ms > 0) == (1, True)


async def test_back_ups_go_on_whole_where_somebody_removed_the_repository(fleet: Running, tmp_path: Path, key: Path) -> None:
    backups = FleetBackups(fleet.sources, _declared(tmp_path), Figures())
    await backups.make("full")
    shutil.rmtree(tmp_path / "repository")
    made = await backups.make("full")
    repository = Repository.open(str(tmp_path / "repository"), SECRET_KEY)
    assert repository.catalog(repository.find(made.id)).engine, "it was written with the key that is there now"


async def test_of_two_who_ask_at_once_one_is_refused(fleet: Running, tmp_path: Path, key: Path) -> None:
    backups = FleetBackups(fleet.sources, _declared(tmp_path), Figures())
    asked = await asyncio.gather(*(backups.start(full=True) for _ in range(2)), return_exceptions=True)
    assert [type(each) for each in asked].count(BackupBusy) == 1
    assert backups.now.running
    async with asyncio.timeout(60):
        while backups.now.running:
            await asyncio.sleep(0.01)
    assert len((await backups.listing())[1].whole) == 1


async def test_the_api_makes_and_lists_backups(fleet: Running, tmp_path: Path, key: Path) -> None:
    plane = ControlPlane(fleet.engine, fleet.records, _declared(tmp_path), ServerSettings(), fleet.home)
    transport = httpx.ASGITransport(create_app(plane), raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://localhost:8000") as client:
        assert (await client.get("/api/backups")).json()["items"] == []
        async with plane.backups._making:
            refused = await client.post("/api/backups", json={})
            assert (refused.status_code, refused.json()["code"]) == (409, "backup_busy")
        assert (await client.post("/api/backups", json={"full": True})).status_code == 202
        async with asyncio.timeout(60):
            while not (page := (await client.get("/api/backups")).json())["items"]:
                await asyncio.sleep(0.01)
        assert [each["kind"] for each in page["items"]] == ["full"]
        key.write_text("another secret of some length")
        plane.backups._opened = None
        refused = await client.get("/api/backups")
        assert (refused.status_code, refused.json()["code"]) == (503, "backup_key_wrong")


async def test_the_doctor_says_when_the_last_one_succeeded(fleet: Running, tmp_path: Path, key: Path) -> None:
    declared = (SAMPLES / "ledger.yaml").read_text().replace("hosts:", f"backup: {{to: {tmp_path / 'repository'}}}\nhosts:")
    (tmp_path / "fleet.yaml").write_text(declared)
    home = Home(fleet.home)
    spec = load_fleet(tmp_path / "fleet.yaml")
    with pytest.raises(BackupUnknown):
        await asyncio.to_thread(health, home, spec)
    made = await FleetBackups(fleet.sources, _declared(tmp_path), Figures()).make("full")
    assert moment(made.at_ms) in await asyncio.to_thread(health, home, spec)
