"""One artifact store, two places: a local folder, and S3 as moto's server speaks it."""

import os
import threading
from hashlib import sha256
from pathlib import Path

import obstore
import pytest
from obstore.store import S3Store

from amas.artifacts.store import ArtifactStore
from amas.errors import ArtifactDamaged, ArtifactMissing, ArtifactStoreUnusable

LARGE = os.urandom(6 << 20)  # more than one part of an upload in parts


def _overwrite(where: str, reference: str, content: bytes) -> None:
    """Damage a blob behind the store's back."""
    digest = reference.removeprefix("sha256:")
    name = f"{digest[:2]}/{digest[2:]}"
    if where.startswith("s3://"):
        obstore.put(S3Store.from_url(where, client_options={"allow_http": True}), name, content)
    else:
        (Path(where) / name).write_bytes(content)


def test_what_was_put_comes_back_from_another_process_eyes(where: str) -> None:
    store = ArtifactStore(where)
    reference = store.put(LARGE)
    assert reference == f"sha256:{sha256(LARGE).hexdigest()}"
    assert ArtifactStore(store.url).get(reference) == LARGE
    assert store.get(store.put(b"")) == b""
    assert store.get_json(store.put_json({"a": [1, "ü"]})) == {"a": [1, "ü"]}


def test_the_same_bytes_are_stored_once_also_by_many_at_a_time(where: str) -> None:
    references: list[str] = []
    writers = [threading.Thread(target=lambda: references.append(ArtifactStore(where).put(LARGE[: 1 << 20]))) for _ in range(8)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(references) == 8
    assert len(set(references)) == 1
    (stored,) = ArtifactStore(where).list()
    assert (f"sha256:{stored.digest}", stored.size) == (references[0], 1 << 20)


@pytest.mark.parametrize(
    "reference",
    [
        "sha256:../../../../etc/passwd",
        "sha256:" + "../" * 21 + "a",
        "sha256:" + "A" * 64,
        "sha256:" + "a" * 63,
        "sha256:" + "a" * 65,
        "sha256:" + "a" * 64 + "\n",
        "md5:" + "a" * 64,
        "/etc/passwd",
        "",
    ],
)
def test_what_is_no_reference_never_reaches_a_path(where: str, reference: str) -> None:
    with pytest.raises(ArtifactMissing, match="is no reference"):
        ArtifactStore(where).get(reference)


def test_what_is_missing_or_damaged_is_told_in_a_sentence_and_healed_by_storing_it_again(where: str) -> None:
    store = ArtifactStore(where)
    with pytest.raises(ArtifactMissing, match="isn't in the store"):
        store.get("sha256:" + "0" * 64)
    reference = store.put(b"the very bytes")
    for damage in (b"the very bytez", b"the very", b""):
        _overwrite(where, reference, damage)
        with pytest.raises(ArtifactDamaged, match="is damaged in the store"):
            store.get(reference)
    store.put(b"the very bytes")
    assert store.get(reference) == b"the very bytes"


def test_a_blob_that_was_stored_anew_since_it_was_listed_stays(where: str) -> None:
    store = ArtifactStore(where)
    kept, dropped = store.put(b"kept"), store.put(b"dropped")
    listed = {f"sha256:{each.digest}": each for each in store.list()}
    assert not store.remove(listed[kept]._replace(stored_s=listed[kept].stored_s - 100))  # as if it had been old when listed
    assert store.remove(listed[dropped])
    assert not store.remove(listed[dropped])
    assert store.get(kept) == b"kept"
    with pytest.raises(ArtifactMissing):
        store.get(dropped)
    assert [f"sha256:{each.digest}" for each in store.list()] == [kept]


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ArtifactStoreUnusable, match=r"the artifact store .*/file can't be used: Not a directory"):
        ArtifactStore(tmp_path / "file").put(b"x")


def test_a_bucket_that_is_not_there_is_the_operators_and_no_missing_artifact(endpoint: str) -> None:
    store = ArtifactStore("s3://nobodys-bucket/x")
    for call in (lambda: store.get("sha256:" + "0" * 64), lambda: store.put(b"x"), lambda: list(store.list())):
        with pytest.raises(ArtifactStoreUnusable, match="NoSuchBucket: The specified bucket does not exist"):
            call()


def test_storing_again_renews_the_age_of_a_file(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    store.put(b"old")
    (path,) = tmp_path.glob("??/*")
    os.utime(path, (1_000_000, 1_000_000))
    (old,) = store.list()
    assert old.stored_s == 1_000_000
    store.put(b"old")
    assert not store.remove(old)
    assert store.get(f"sha256:{old.digest}") == b"old"
