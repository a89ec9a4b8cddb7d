"""What the API says of back-ups."""

import msgspec

from amas.model.backup import Kind, Manifest
from amas.server.shapes import Given


class NewBackup(Given, frozen=True):
    """A back-up to make now."""

    full: bool = False
    """Read all records again, not only what is new since the last."""


class BackupShape(msgspec.Struct, frozen=True, kw_only=True):
    """A back-up."""

    id: str
    at_ms: int
    kind: Kind
    parent: str
    """The one whose records it took over; empty for a full one."""
    size: int
    """Bytes of what it holds."""
    stored: int
    """Bytes that it added to the repository."""
    took_s: float
    tasks: int
    workflows: int
    artifacts: int


class BackupPage(msgspec.Struct, frozen=True, kw_only=True):
    """All back-ups, oldest first, and what goes on."""

    url: str
    running: bool
    """Whether this control plane makes one now."""
    failed: str
    """Why the last one that it tried to make failed; empty when it didn't."""
    items: list[BackupShape]
    damaged: list[str]
    """Sentences on manifests that can't be read."""


def backup_shape(manifest: Manifest) -> BackupShape:
    """Return a back-up as the API says it."""
    return BackupShape(
        id=manifest.id,
        at_ms=manifest.at_ms,
        kind=manifest.kind,
        parent=manifest.parent,
        size=manifest.size,
        stored=manifest.stored,
        took_s=manifest.took_s,
        tasks=manifest.rows.get("tasks", 0),
        workflows=manifest.rows.get("workflows", 0),
        artifacts=manifest.artifacts,
    )
