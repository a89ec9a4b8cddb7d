"""`amas backup`, `backups`, `verify` and `restore`: a whole fleet put aside, looked at, and put somewhere else."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import typer

from amas.backup.check import Verdict, verify
from amas.backup.key import read_secret
from amas.backup.make import FLEET, Sources, make
from amas.backup.repository import Repository
from amas.backup.restore import Restorer, refuse_unless_empty
from amas.cli.api import home_at
from amas.cli.exit import ExitCode
from amas.cli.output import console, moment, print_json
from amas.clock import now_ms
from amas.core.backups import newest_at
from amas.errors import BackupDamaged, BackupError, BackupUnknown, RestoreRefused
from amas.fleet.load import name_of_fleet
from amas.model.backup import Manifest
from amas.model.fleet import FleetSpec
from amas.observe.events import BACKUP_FAILED
from amas.platforms.local.applied import applied_fleet
from amas.platforms.local.control import engine_settings, fleet_state
from amas.platforms.local.home import FleetState, Home
from amas.settings import ArtifactSettings, BackupSettings, EngineSettings, RecordsSettings

MIB = 1 << 20
LATE = 2.5
"""Times the declared pause, after which `amas doctor` says that back-ups have stopped."""


class Wanted(NamedTuple):
    """What `amas restore` is asked for."""

    backup: str
    home: Path | None
    url: str
    to_time: str
    as_json: bool


def backup(folder: Path | None, url: str, *, full: bool, as_json: bool) -> None:
    """Back the running fleet up and say what that took."""
    home = home_at(folder)
    state = fleet_state(home.folder)
    place = repository_url(url, state)
    with _progress("backing up", show=not as_json) as progress:
        made = asyncio.run(_backup(home, state, place, full=full, progress=progress))
    if as_json:
        print_json(shown(made))
        return
    after = f", after {made.parent}" if made.parent else ""
    console().print(f"backed up as [bold]{made.id}[/bold] ({made.kind}{after}) in {place}")
    console().print(
        f"{made.size / MIB:.1f} MiB in {made.chunks} chunks, of which {made.new_chunks} were new: "
        f"{made.stored / MIB:.1f} MiB stored in {made.took_s:.1f} s"
    )


async def _backup(home: Home, state: FleetState, url: str, *, full: bool, progress: Callable[[str, int], None]) -> Manifest:
    from amas.artifacts.store import ArtifactStore
    from amas.engine.connection import Engine
    from amas.records.store import Records

    secret = read_secret()
    settings = engine_settings(state)
    records_url = RecordsSettings.read().url_for(home.folder)
    async with Engine.of(settings) as engine, await Records.open(records_url, cell=state.cell) as records:
        repository = await asyncio.to_thread(Repository.open, url, secret, create=True)
        sources = Sources(engine, records, ArtifactStore(state.artifacts_url), home.folder, name_of_fleet(state.fleet_file))
        return await make(repository, sources, full=full, progress=progress)


def backups(folder: Path | None, url: str, *, as_json: bool) -> None:
    """List what a repository holds."""
    place = repository_url(url, _state(folder))
    found = Repository.open(place, read_secret()).list()
    if as_json:
        print_json({"url": place, "backups": [shown(each) for each in found.whole], "damaged": found.damaged})
        return
    from amas.cli.tree import table

    rows = [
        [
            each.id,
            each.kind,
            moment(each.at_ms),
            f"{each.size / MIB:.1f} MiB",
            f"{each.stored / MIB:.1f} MiB",
            each.rows.get("tasks", 0),
        ]
        for each in found.whole
    ]
    console().print(table(place, ["back-up", "kind", "taken", "holds", "stored", "tasks"], rows))
    for sentence in found.damaged:
        console().print(f"[red]{sentence}[/red]")


def verify_backup(backup_id: str, folder: Path | None, url: str, *, as_json: bool) -> int:
    """Try a back-up out and return the exit code."""
    repository = Repository.open(repository_url(url, _state(folder)), read_secret())
    manifest = repository.find(backup_id)
    with _progress("verifying", show=not as_json, total=manifest.size) as progress:
        verdict = asyncio.run(verify(repository, manifest, binary=EngineSettings.read().binary, progress=progress))
    if as_json:
        print_json(msgspec.to_builtins(verdict))
    else:
        _tell(verdict)
    return ExitCode.UNUSABLE if verdict.problems else ExitCode.OK


def _tell(verdict: Verdict) -> None:
    for sentence in verdict.problems:
        console().print(f"[red]✗[/red] {sentence}")
    if not verdict.problems:
        states = ", ".join(f"{count} {state}" for state, count in sorted(verdict.tasks.items())) or "none"
        console().print(
            f"[green]✓[/green] {verdict.backup} is whole: {verdict.chunks} chunks, {verdict.size / MIB:.1f} MiB; "
            f"open tasks: {states}; open workflows: {sum(verdict.workflows.values())}; "
            f"{verdict.replayed} entries of the journal replayed, engine and records agree"
        )


def restore(wanted: Wanted) -> None:
    """Restore a back-up and say how to go on."""
    if wanted.home is None:
        raise typer.BadParameter("say where the fleet is to be restored: a folder that doesn't exist yet", param_hint="--home")
    settings, home = BackupSettings.read(), home_at(wanted.home)
    place = repository_url(wanted.url, _state(None))
    if EngineSettings.read().url:
        raise RestoreRefused(
            "AMAS_ENGINE_URL names a server of your own: a back-up is restored into a fleet with its own engine; unset it"
        )
    refuse_unless_empty(home.folder)
    repository = Repository.open(place, read_secret(settings))
    manifest = _chosen(repository, wanted)
    with _progress("restoring", show=not wanted.as_json, total=manifest.size) as progress:
        rows = asyncio.run(
            Restorer(repository, manifest, progress=progress).into(
                home.folder, records_url=RecordsSettings.read().url, artifacts_url=ArtifactSettings.read().url
            )
        )
    fleet = manifest.fleet_file
    if "/" in fleet and not Path(fleet).exists():
        fleet = str(home.folder / FLEET)
    command = f"amas up --home {home.folder}" + (f" --fleet {fleet}" if fleet else "")
    if wanted.as_json:
        print_json({"backup": manifest.id, "home": str(home.folder), "fleet": fleet, "rows": rows, "go_on": command})
        return
    console().print(
        f"restored [bold]{manifest.id}[/bold] of {moment(manifest.at_ms)} from {place} into {home.folder}: "
        f"{rows.get('tasks', 0)} tasks, {rows.get('workflows', 0)} workflows, {manifest.artifacts} large values, "
        f"{manifest.files} files"
    )
    console().print(f"[bold]{command}[/bold] goes on where it stood", soft_wrap=True)


def _chosen(repository: Repository, wanted: Wanted) -> Manifest:
    if not wanted.to_time:
        return repository.find(wanted.backup or "latest")
    if wanted.backup:
        raise typer.BadParameter("say a back-up or a time, not both", param_hint="--to-time")
    try:
        at = datetime.fromisoformat(wanted.to_time)
    except ValueError as error:
        raise typer.BadParameter(
            f"{wanted.to_time!r} is no time: write 2026-01-31T12:00:00+00:00; without a zone it is this machine's",
            param_hint="--to-time",
        ) from error
    found = newest_at(repository.list().whole, round(at.timestamp() * 1000))
    if found is None:
        raise BackupUnknown(f"no back-up in {repository.url} is as old as {wanted.to_time}: `amas backups` lists them")
    return found


def repository_url(given: str, state: FleetState | None) -> str:
    """Return where the back-ups are: as given, as the fleet that runs says (of a restore: in AMAS_HOME), or AMAS_BACKUP_URL."""
    declared = ""
    if not given and state is not None and (spec := asyncio.run(applied_fleet(state)).backup) is not None:
        declared = spec.to
    return absolute(given or declared or BackupSettings.read().url)


def absolute(url: str) -> str:
    """Return the address of a repository; BackupUnknown where it is none."""
    if not url:
        raise BackupUnknown(
            "nobody said where the back-ups are: name the folder or s3://bucket/prefix (`backup --to`; `backups`, `verify` "
            "and `restore --from`), set AMAS_BACKUP_URL, or have a fleet run whose file declares backup:"
        )
    if "://" not in url:
        return str(Path(url).expanduser().absolute())
    if not url.startswith(("s3://", "file:///")):
        raise BackupUnknown(f"{url!r} is no place for back-ups: take a folder, file:///folder or s3://bucket/prefix")
    return url


def health(home: Home, fleet: FleetSpec) -> str:
    """Return how old the newest back-up is; a BackupError when there is none, or it is too old for what is declared."""
    state = _state(home.folder)
    spec = (asyncio.run(applied_fleet(state)) if state else fleet).backup
    url = (spec.to if spec else "") or BackupSettings.read().url
    if not url:
        return "none: declare backup: in the fleet file, or set AMAS_BACKUP_URL and AMAS_BACKUP_KEY"
    found = Repository.open(absolute(url), read_secret()).list()
    if found.damaged:
        raise BackupDamaged("; ".join(found.damaged))
    if not found.whole:
        raise BackupUnknown(f"{url} holds none yet: `amas backup` makes one")
    newest = found.whole[-1]
    age_s = (now_ms() - newest.at_ms) / 1000
    if spec and state and age_s > LATE * spec.every_s:
        raise BackupError(
            f"the last one that succeeded is of {moment(newest.at_ms)}, {age_s / 3600:.1f} h ago, although one is to be made "
            f"every {spec.every_s / 3600:g} h: the control plane's log says why (event {BACKUP_FAILED})"
        )
    return f"{len(found.whole)} in {url}, the last of {moment(newest.at_ms)}"


def shown(manifest: Manifest) -> dict[str, Any]:
    """Return a back-up for programs."""
    fields: dict[str, Any] = msgspec.to_builtins(manifest)
    del fields["catalog"], fields["format"]
    return {
        **fields,
        "at": datetime.fromtimestamp(manifest.at_ms / 1000, tz=UTC).isoformat(),
        "age_s": (now_ms() - manifest.at_ms) / 1000,
    }


def _state(folder: Path | None) -> FleetState | None:
    home = home_at(folder)
    return home.read_state() if home.supervisor_pid() is not None and home.state_file.exists() else None


@contextlib.contextmanager
def _progress(verb: str, *, show: bool, total: int | None = None) -> Iterator[Callable[[str, int], None]]:
    """Show how far it is; `total`: bytes, where that is known."""
    if not (show and console().is_terminal):  # an empty line would be all that is left of it
        yield lambda _what, _size: None
        return
    from rich.progress import BarColumn, DownloadColumn, Progress, SpinnerColumn, TextColumn, TransferSpeedColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
    )
    with Progress(*columns, console=console(), transient=True) as bar:
        task = bar.add_task(verb, total=total)
        yield lambda what, size: bar.update(task, completed=size, description=f"{verb}: {what}")
