"""Decides when a fleet is backed up, whether in full, and which back-ups have had their time.

Pure. `controllers/backup.py` carries it out.
"""

from collections.abc import Sequence

from amas.model.backup import BackupSpec, Kind, Manifest
from amas.model.journal import Position, position_of


def next_due_ms(made: Sequence[Manifest], spec: BackupSpec) -> int:
    """Return when the next back-up is due, in ms since the epoch; 0 where there is none yet."""
    if not made:
        return 0
    return max(each.at_ms for each in made) + round(spec.every_s * 1000)


def next_kind(made: Sequence[Manifest], spec: BackupSpec, *, now_ms: int) -> Kind:
    """Return `full` when there is no full one, or the last is as old as `full_s`."""
    fulls = [each.at_ms for each in made if each.kind == "full"]
    return "full" if not fulls or now_ms - max(fulls) >= spec.full_s * 1000 else "incremental"


def outlived(made: Sequence[Manifest], spec: BackupSpec, *, now_ms: int) -> list[str]:
    """Return the ids of those to remove, oldest first: older than what their kind is kept, but never the newest of all.

    A back-up needs no other one, so removing any leaves the rest whole; the newest full one stays, too, since it was read whole.
    """
    kept_s = {"full": max(spec.keep_full_s, spec.keep_s), "incremental": spec.keep_s}
    by_age = sorted(made, key=lambda each: (each.at_ms, each.id))
    fulls = [each.id for each in by_age if each.kind == "full"]
    staying = {by_age[-1].id, *fulls[-1:]} if by_age else set()
    return [each.id for each in by_age if each.id not in staying and now_ms - each.at_ms > kept_s[each.kind] * 1000]


def newest_at(made: Sequence[Manifest], at_ms: int) -> Manifest | None:
    """Return the newest back-up that was taken at a time or before it; None where all are younger."""
    before = [each for each in made if each.at_ms <= at_ms]
    return max(before, key=lambda each: (each.at_ms, each.id)) if before else None


def can_follow(parent: Manifest | None, *, cell: str, engine: str, position: Position, tables: str) -> bool:
    """Return whether an incremental back-up may take over a parent's records and add what came since.

    Not where they are of another engine's data, or have stepped back behind the parent: then rows may have changed that look old.
    """
    if parent is None or parent.cell != cell or parent.tables != tables:
        return False
    return parent.engine == engine and position_of(parent.position) <= position
