"""Sealing artifacts anew after a key was rotated: one after the other under their names, so it can be killed and begun again."""

from amas.artifacts.store import PREFIX, ArtifactStore
from amas.errors import ArtifactMissing
from amas.sealing import BLOB_MARK


def reseal(store: ArtifactStore) -> int:
    """Seal what an older key has sealed with the first; return how many that were. Their age counts from now."""
    seal, done = store.seal, 0
    for stored in list(store.list()) if seal else ():
        reference = PREFIX + stored.digest
        try:
            blob = store.raw(reference)
        except ArtifactMissing:  # somebody pruned it since
            continue
        if seal and blob.startswith(BLOB_MARK) and not seal.is_current(blob):
            store.put_raw(reference, seal.blob(store.get(reference), stored.digest))
            done += 1
    return done
