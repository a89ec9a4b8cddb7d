"""The options of `amas backup`, `backups`, `verify` and `restore`; their work lies in `backups.py`, loaded when one is called."""

from pathlib import Path
from typing import Annotated

import typer

from amas.cli.options import HomeOption, Json

From = Annotated[
    str,
    typer.Option("--from", help="Where the back-ups are: a folder or s3://bucket/prefix (the fleet file's, or AMAS_BACKUP_URL)."),
]


def add_to(app: typer.Typer) -> None:
    """Make these commands of `amas`."""
    for name, command in (("backup", backup), ("backups", backups), ("verify", verify), ("restore", restore)):
        app.command(name)(command)


def backup(
    to: Annotated[
        str, typer.Option("--to", help="A folder or s3://bucket/prefix (by default the fleet file's, or AMAS_BACKUP_URL).")
    ] = "",
    full: Annotated[bool, typer.Option("--full", help="Read all records again, not only what is new since the last.")] = False,
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """Back up the running fleet: engine, records, large values, deliverables, secret. Encrypted by AMAS_BACKUP_KEY."""
    from amas.cli import backups as module

    module.backup(home, to, full=full, as_json=json)


def backups(place: From = "", home: HomeOption = None, json: Json = False) -> None:
    """List the back-ups."""
    from amas.cli import backups as module

    module.backups(home, place, as_json=json)


def verify(
    backup_id: Annotated[str, typer.Argument(metavar="BACKUP", help="A back-up's id, or `latest`.")] = "latest",
    place: From = "",
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """Check every byte of a back-up, and that its engine and its records are of one moment; exits with 3 when they aren't."""
    from amas.cli import backups as module

    raise typer.Exit(module.verify_backup(backup_id, home, place, as_json=json))


def restore(
    backup_id: Annotated[str, typer.Argument(metavar="BACKUP", help="A back-up's id; by default the latest.")] = "",
    home: Annotated[Path | None, typer.Option("--home", help="Where to: a folder that doesn't exist yet, or is empty.")] = None,
    place: From = "",
    to_time: Annotated[str, typer.Option("--to-time", help="The newest back-up that is as old as this: 2026-01-31T12:00.")] = "",
    json: Json = False,
) -> None:
    """Restore a back-up into an empty home; `amas up` there goes on where the fleet stood."""
    from amas.cli import backups as module

    module.restore(module.Wanted(backup_id, home, place, to_time, json))
