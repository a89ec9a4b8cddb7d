"""One repository of back-ups, two places: a local folder, and S3 as moto's server speaks it."""

import os
from hashlib import sha256
from pathlib import Path

import msgspec
import obstore
import pytest
from obstore.store import S3Store

from amas.backup.repository import Repository
from amas.errors import BackupBusy, BackupDamaged, BackupKeyWrong, BackupUnknown, BackupUnusable
from amas.model.backup import Catalog, Kind, Manifest, Ref

SECRET_KEY = b"a secret of some length"


@pytest.fixture
def repository(where: str) -> Repository:
    return Repository.open(where, SECRET_KEY, create=True)


def _change(where: str, kind: str, name: str, content: bytes) -> None:
    """Damage a blob behind the repository's back."""
    path = f"{name[:2]}/{name[2:]}"
    if where.startswith("s3://"):
        obstore.put(S3Store.from_url(f"{where}/{kind}", client_options={"allow_http": True}), path, content)
    else:
        (Path(where) / kind / path).write_bytes(content)


def _raw(where: str, kind: str, name: str) -> bytes:
    path = f"{name[:2]}/{name[2:]}"
    if where.startswith("s3://"):
        return bytes(obstore.get(S3Store.from_url(f"{where}/{kind}", client_options={"allow_http": True}), path).bytes())
    return (Path(where) / kind / path).read_bytes()


def _put(repository: Repository, content: bytes) -> Ref:
    ref = Ref(repository.chunk_id(sha256(content).digest()), len(content))
    repository.put(content, ref)
    return ref


def _add(repository: Repository, at_ms: int, *contents: bytes, kind: Kind = "full") -> Manifest:
    engine = tuple(_put(repository, content) for content in contents)
    catalog = (_put(repository, msgspec.msgpack.encode(Catalog(engine=engine))),)
    manifest = Manifest(
        id=f"20260101T000000Z-{at_ms:04x}", at_ms=at_ms, kind=kind, cell="local", amas="0", tables="0003", engine="mark",
        catalog=catalog, size=1, stored=1, chunks=1, new_chunks=1,
    )  # fmt: skip
    repository.add(manifest)
    return manifest


def test_what_was_put_comes_back_to_whoever_has_the_key(where: str, repository: Repository) -> None:
    made = _add(repository, 1, b"some content" * 1000, os.urandom(5000), b"")
    again = Repository.open(where, SECRET_KEY)
    assert again.list() == ([made], [])
    assert again.find("latest") == again.find(made.id) == made
    contents = [again.get(ref) for ref in again.catalog(made).engine]
    assert contents[0] == b"some content" * 1000
    assert contents[2] == b""
    blob = _raw(where, "chunks", again.catalog(made).engine[0].name)
    assert b"some content" not in blob
    assert len(blob) < 500


def test_another_key_opens_nothing_and_says_so_in_a_sentence(where: str, repository: Repository) -> None:
    _add(repository, 1, b"x")
    with pytest.raises(BackupKeyWrong, match=r"doesn't open the back-ups in .*: it must be the one they were made with"):
        Repository.open(where, SECRET_KEY + b"!")
    with pytest.raises(BackupKeyWrong):
        Repository.open(where, SECRET_KEY + b"!", create=True)


def test_there_is_no_repository_unless_one_is_to_be_made(where: str) -> None:
    with pytest.raises(BackupUnknown, match="there are no back-ups in"):
        Repository.open(where, SECRET_KEY)
    repository = Repository.open(where, SECRET_KEY, create=True)
    with pytest.raises(BackupUnknown, match="holds none"):
        repository.find("latest")


@pytest.mark.parametrize("damage", ["flipped", "torn", "empty", "swapped"])
def test_a_damaged_chunk_is_found_and_named(where: str, repository: Repository, damage: str) -> None:
    made = _add(repository, 1, b"one" * 100, b"two" * 100)
    one, two = repository.catalog(made).engine
    blob = _raw(where, "chunks", one.name)
    middle = len(blob) // 2
    changed = {
        "flipped": blob[:middle] + bytes([blob[middle] ^ 1]) + blob[middle + 1 :],
        "torn": blob[:middle],
        "empty": b"",
        "swapped": _raw(where, "chunks", two.name),
    }
    _change(where, "chunks", one.name, changed[damage])
    with pytest.raises(BackupDamaged, match=f"the chunk {one.name} in .* is damaged"):
        repository.get(one)
    assert repository.get(two) == b"two" * 100
    _put(repository, b"one" * 100)
    assert repository.get(one) == b"one" * 100


def test_a_damaged_manifest_is_named_and_the_others_are_listed(where: str, repository: Repository) -> None:
    first, second = _add(repository, 1, b"one"), _add(repository, 2, b"two")
    name = sha256(f"manifest {first.id}".encode()).hexdigest()
    blob = _raw(where, "manifests", name)
    for changed in (blob[:70] + bytes([blob[70] ^ 1]) + blob[71:], bytes([blob[0] ^ 1]) + blob[1:], blob[:-1], b""):
        _change(where, "manifests", name, changed)
        found = repository.list()
        assert found.whole == [second]
        assert [name in sentence for sentence in found.damaged] == [True]
        with pytest.raises(BackupDamaged, match=first.id):
            repository.find(first.id)
    chunks = repository.held()
    assert repository.remove([second.id]) == (0, 0), "a chunk went although nobody knows what the damaged manifest needs"
    assert repository.held() == chunks


def test_removing_takes_what_nothing_refers_to_and_leaves_the_rest_whole(repository: Repository) -> None:
    first, second = _add(repository, 1, b"shared", b"of the first"), _add(repository, 2, b"shared", b"of the second")
    stray = _put(repository, b"of a back-up that was killed")
    only_first = repository.catalog(first).engine[1]
    removed, _ = repository.remove([first.id])
    assert removed == 3  # the stray one, the first's own and its catalog
    assert not {stray.name, only_first.name} & repository.held()
    assert repository.list().whole == [second]
    assert [repository.get(ref) for ref in repository.catalog(second).engine] == [b"shared", b"of the second"]


def test_nobody_removes_while_somebody_backs_up(where: str, repository: Repository) -> None:
    other = Repository.open(where, SECRET_KEY)
    mine = repository.begin("backing up", beside="backing up")
    theirs = other.begin("backing up", beside="backing up")
    with pytest.raises(BackupBusy, match="is backing up in"):
        other.remove([])
    repository.end(mine)
    with pytest.raises(BackupBusy):
        other.remove([])
    other.end(theirs)
    assert other.remove([]) == (0, 0)
    mine = repository.begin("removing back-ups")
    with pytest.raises(BackupBusy, match="is removing back-ups in"):
        other.begin("backing up", beside="backing up")
    repository.end(mine)


def test_a_place_that_cannot_be_used_is_named(tmp_path: Path, endpoint: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(BackupUnusable, match=r"the back-ups in .*/file can't be reached: Not a directory"):
        Repository.open(str(tmp_path / "file"), SECRET_KEY, create=True)
    with pytest.raises(BackupUnusable, match="NoSuchBucket"):
        Repository.open("s3://nobodys-bucket/x", SECRET_KEY, create=True)
