"""Keys of back-ups, the cutting of chunks, and sealing: without a server."""

import random
from pathlib import Path

import pytest

from amas.backup.cutting import LEAST, MOST, Cutter
from amas.backup.key import forget_secret, read_secret
from amas.backup.sealing import Keys, Tampered, WrongKey, new_keyring
from amas.clock import new_ids
from amas.errors import BackupKeyWrong, SettingInvalid

SECRET_KEY = "a secret of some length"


def test_the_secret_comes_from_the_environment_or_a_file_and_never_from_the_setting(tmp_path: Path) -> None:
    (tmp_path / "key").write_text(SECRET_KEY + "\n")
    assert read_secret(environ={"AMAS_BACKUP_KEY": "env:MINE", "MINE": SECRET_KEY}) == SECRET_KEY.encode()
    assert read_secret(environ={"AMAS_BACKUP_KEY": f"file:{tmp_path / 'key'}"}) == SECRET_KEY.encode()
    for environ, said in (
        ({}, "there is no key: set AMAS_BACKUP_KEY to env:NAME, file:/path"),
        ({"AMAS_BACKUP_KEY": "env:MINE"}, "the environment has no variable MINE"),
        ({"AMAS_BACKUP_KEY": "env:MINE", "MINE": "short"}, "holds less than 16 characters"),
        ({"AMAS_BACKUP_KEY": "file:/nowhere/key"}, "can't be read: No such file"),
    ):
        with pytest.raises(BackupKeyWrong, match=said) as refused:
            read_secret(environ=environ)
        assert "short" not in str(refused.value)
    with pytest.raises(SettingInvalid, match="must be a reference, such as env:NAME or file:/path"):
        read_secret(environ={"AMAS_BACKUP_KEY": "the-very-secret-itself"})


def test_a_host_forgets_the_secret_before_agents_are_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMAS_BACKUP_KEY", "env:MINE")
    monkeypatch.setenv("MINE", SECRET_KEY)
    forget_secret()
    with pytest.raises(BackupKeyWrong):
        read_secret()


def test_a_keyring_opens_to_its_secret_alone() -> None:
    ring = new_keyring(b"one secret")
    keys = ring.unlock(b"one secret")
    assert keys.open(ring.unlock(b"one secret").seal(b"content", "name"), "name") == b"content"
    with pytest.raises(WrongKey):
        ring.unlock(b"another secret")


def test_the_same_content_is_the_same_blob_and_no_other_name_or_key_opens_it() -> None:
    keys, others = Keys(b"m" * 32), Keys(b"n" * 32)
    blob = keys.seal(b"content" * 100, "name")
    assert blob == keys.seal(b"content" * 100, "name")
    assert blob[:13] != keys.seal(b"content" * 101, "name")[:13], "a nonce served two contents"
    for wrong in (
        lambda: keys.open(blob, "another"),
        lambda: others.open(blob, "name"),
        lambda: keys.open(b"\x02" + blob[1:], "name"),
    ):
        with pytest.raises(Tampered):
            wrong()
    with pytest.raises(Tampered):
        others.check(keys.sign(blob, "name"), blob, "name")
    keys.check(keys.sign(blob, "name"), blob, "name")


def _stream(ids: list[str], rng: random.Random) -> list[bytes]:
    return [f"amas:{{local}}:t:{one}".encode() + random.Random(one).randbytes(rng.randrange(400, 401)) for one in ids]


def _cut(stream: bytes, rng: random.Random) -> list[bytes]:
    cutter, chunks, at = Cutter(), [], 0
    while at < len(stream):
        size = rng.randrange(1, 1 << 20)
        chunks += cutter.feed(stream[at : at + size])
        at += size
    return chunks + list(cutter.end())


def test_chunks_hold_the_stream_whatever_pieces_it_comes_in() -> None:
    rng = random.Random(5)
    stream = b"".join(_stream(new_ids(20_000), rng)) + b"x" * (3 * MOST)
    chunks = _cut(stream, rng)
    assert b"".join(chunks) == stream
    assert all(LEAST <= len(chunk) <= MOST for chunk in chunks[:-1])


def test_most_chunks_stay_when_something_is_put_in_between() -> None:
    rng = random.Random(6)
    parts = _stream(new_ids(20_000), rng)
    before = set(_cut(b"".join(parts), rng))
    parts[7000:7000] = [b"something new"]
    del parts[12_000]
    after = set(_cut(b"".join(parts), rng))
    assert len(before) > 20
    assert len(before - after) <= 4
