"""What is removed from an artifact store, and what never is."""

import os
from pathlib import Path

import msgspec
import pytest

from amas.artifacts.prune import old_artifacts, prune, references
from amas.artifacts.store import ArtifactStore
from amas.model.artifact import Reference, to_extension

OLD_S, CUT_S = 1_000_000.0, 2_000_000.0


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path)


def put_old(store: ArtifactStore, blob: bytes) -> str:
    reference = store.put(blob)
    digest = reference.removeprefix("sha256:")
    os.utime(Path(store.url) / digest[:2] / digest[2:], (OLD_S, OLD_S))
    return reference


def left(store: ArtifactStore) -> set[str]:
    return {f"sha256:{stored.digest}" for stored in store.list()}


def test_references_are_found_wherever_they_stand() -> None:
    one, two, three = (f"sha256:{digit * 64}" for digit in "123")
    value = {"deep": [one, f"see {two}, please"], "whole": to_extension(Reference(three, 5))}
    assert references(msgspec.msgpack.encode(value)) == {one, two, three}
    assert references(msgspec.json.encode({"short": one[:-1], "long": one + "1", "other": "sha1:" + "1" * 64})) == {one}


def test_what_is_old_and_not_referred_to_goes(store: ArtifactStore) -> None:
    young, old, used = store.put(b"young"), put_old(store, b"old"), put_old(store, b"used")
    listed = old_artifacts(store, before_s=CUT_S)
    assert listed.keys() == {old, used}
    dry = prune(store, listed, {used}, dry_run=True)
    assert left(store) == {young, old, used}
    assert prune(store, listed, {used}) == dry == (1, 3, 1)
    assert left(store) == {young, used}


def test_what_an_artifact_in_use_refers_to_is_in_use_at_any_distance_also_by_a_young_one(store: ArtifactStore) -> None:
    far = put_old(store, b"far")
    near = put_old(store, msgspec.json.encode({"findings_ref": far, "lost_ref": "sha256:" + "0" * 64}))
    young = store.put_json([near])
    loop = put_old(store, b"not in use: " + far.encode())
    pruned = prune(store, old_artifacts(store, before_s=CUT_S), {young})
    assert (pruned.removed, pruned.in_use) == (1, 2)
    assert left(store) == {far, near, young}
    assert loop not in left(store)


def test_what_is_stored_anew_while_we_look_stays(store: ArtifactStore) -> None:
    put_old(store, b"old")
    listed = old_artifacts(store, before_s=CUT_S)
    store.put(b"old")
    assert prune(store, listed, ()) == (0, 0, 0)
    assert len(left(store)) == 1
