"""Removing artifacts that nobody needs any more. Nothing is ever removed unless an operator asks: `amas artifacts prune`.

An artifact goes when it is old enough, and when nothing that is in use refers to it: neither a task's input, result or step, nor
a schedule or a signal, nor another artifact that one of those refers to. A reference is found by its text, wherever in a value it
stands. Its age counts from when it was last stored; storing it again renews that, so what a new task brings along stays however
old it is.
"""

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from amas.artifacts.blobs import Stored
from amas.artifacts.store import PREFIX, REFERENCE, ArtifactStore
from amas.errors import ArtifactLost
from amas.sealing import Seal


class Pruned(NamedTuple):
    """What came of it."""

    removed: int
    removed_bytes: int
    in_use: int
    """Old ones that something refers to."""


def references(value: bytes, seal: Seal | None = None) -> set[str]:
    """Return every reference to an artifact that stands in a value's bytes, or in what is sealed in them."""
    found = {reference.decode() for reference in REFERENCE.findall(value)}
    for bare in seal.within(value) if seal else ():
        found |= references(bare)
    return found


def old_artifacts(store: ArtifactStore, *, before_s: float) -> dict[str, Stored]:
    """Return what was last stored before a time, in seconds since the epoch, by reference."""
    return {PREFIX + stored.digest: stored for stored in store.list() if stored.stored_s < before_s}


def prune(store: ArtifactStore, old: Mapping[str, Stored], used: Iterable[str], *, dry_run: bool = False) -> Pruned:
    """Remove those of `old` that nothing refers to; `used` are the references of tasks, read after `old` was listed."""
    needed = _reachable(store, used) if old else set()
    removed = [stored for reference, stored in old.items() if reference not in needed and (dry_run or store.remove(stored))]
    return Pruned(len(removed), sum(stored.size for stored in removed), sum(reference in needed for reference in old))


def _reachable(store: ArtifactStore, used: Iterable[str]) -> set[str]:
    """Return `used` and whatever artifacts refer to in their turn."""
    reached: set[str] = set()
    ahead = list(used)
    while ahead:
        reference = ahead.pop()
        if reference not in reached:
            reached.add(reference)
            try:
                ahead += references(store.get(reference))
            except ArtifactLost:
                continue
    return reached
