"""What the duties and the API of one process share: large values, and back-ups.

Made before the API's libraries are imported, so that a control plane leads as soon as it can and serves when it has loaded.
"""

from pathlib import Path
from typing import NamedTuple, Self

from amas.artifacts.store import ArtifactStore
from amas.artifacts.values import LargeValues
from amas.backup.make import Sources
from amas.controllers.backup import FleetBackups
from amas.controllers.figures import Figures
from amas.engine.connection import Engine
from amas.model.fleet import FleetSpec
from amas.records.store import Records
from amas.sealing import Seal


class Place(NamedTuple):
    """Where a fleet keeps what is neither in the engine nor in the records."""

    home: Path
    artifacts_url: str
    """Empty for a folder in the home."""
    payload_bytes: int
    """The largest input or result."""
    seal: Seal | None
    """What payloads are sealed with; None: they aren't."""
    fleet_file: str = ""
    """As back-ups have it, until another is applied: a path, or the bare name of one that ships with amas."""


class Kept(NamedTuple):
    """One of each for a process."""

    values: LargeValues
    backups: FleetBackups

    @classmethod
    def at(cls, place: Place, engine: Engine, records: Records, figures: Figures, *, fleet: FleetSpec) -> Self:
        """Return what is kept at `place`; `fleet`: what holds until one is declared in the engine."""
        store = ArtifactStore(place.artifacts_url or place.home / "artifacts", seal=place.seal.artifacts if place.seal else None)
        sources = Sources(engine, records, store, place.home, place.fleet_file)
        values = LargeValues(store, bytes_max=place.payload_bytes, seal=place.seal)
        return cls(values, FleetBackups(sources, fleet, figures))
