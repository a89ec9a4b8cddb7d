"""Sealed values and artifacts: opened by their key alone, as they were, where they belong; nothing of them shows."""

import base64
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from amas.agents.failures import verdict
from amas.artifacts.prune import references
from amas.artifacts.store import ArtifactStore
from amas.artifacts.values import LargeValues
from amas.engine.payload import INLINE_BYTES_MAX
from amas.errors import ArtifactDamaged, PayloadTooLarge, SealBroken, SealKeyMissing, SettingInvalid
from amas.model.artifact import Extension, is_reference, shown, to_extension
from amas.model.blob import unwrap
from amas.model.goal import Goal
from amas.sealing import BLOB_MARK, Seal, forget_keys, is_sealed, key_id_of, read_seal

OLD, NEW = bytes(range(32)), bytes(range(1, 33))
MARKER = "the-plain-text"
JSON = st.recursive(st.none() | st.booleans() | st.integers(-(1 << 31), 1 << 31) | st.text(), lambda x: st.lists(x, max_size=3))


@given(JSON)
def test_what_is_sealed_is_opened_as_it_was(value: object) -> None:
    seal = Seal([NEW])
    sealed = seal.value(msgspec.msgpack.encode(value))
    carried = msgspec.msgpack.decode(msgspec.msgpack.encode(sealed))
    assert is_sealed(carried)
    assert seal.opened(carried) == value
    assert key_id_of(carried) == seal.key_ids[0]


def test_nothing_that_was_altered_opens_and_no_key_but_its_own_opens_it() -> None:
    seal = Seal([NEW])
    sealed = bytes(seal.value(msgspec.msgpack.encode(MARKER)).data)
    assert MARKER.encode() not in sealed
    for at in range(len(sealed)):
        altered = sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :]
        with pytest.raises((SealBroken, SealKeyMissing)):
            seal.opened(Extension(66, altered))
    for end in (0, 7, 8, 31, 32, 47):
        with pytest.raises((SealBroken, SealKeyMissing)):
            seal.opened(Extension(66, sealed[:end]))
    with pytest.raises(
        SealKeyMissing, match=f"sealed with the key {seal.key_ids[0]}, which AMAS_SEAL_KEY doesn't name"
    ) as missing:
        Seal([OLD]).opened(Extension(66, sealed))
    assert verdict(missing.value).later  # the task goes back, without blame


def test_the_first_key_seals_and_all_open() -> None:
    before, after = Seal([OLD]), Seal([NEW, OLD])
    sealed = before.value(msgspec.msgpack.encode(MARKER))
    assert after.opened(sealed) == MARKER
    assert not after.is_current(sealed)
    anew = after.value(after.bare(sealed))
    assert after.is_current(anew)
    assert Seal([NEW]).opened(anew) == MARKER


def test_the_same_value_is_the_same_bytes_and_another_is_wholly_another() -> None:
    seal = Seal([NEW])
    assert seal.value(b"same").data == seal.value(b"same").data
    one, other = bytes(seal.value(b"same").data), bytes(seal.value(b"sane").data)
    assert one[8:32] != other[8:32]


async def test_values_and_artifacts_are_sealed_however_large(tmp_path: Path) -> None:
    seal = Seal([NEW])
    values = LargeValues(ArtifactStore(tmp_path, seal=seal.artifacts), seal=seal)
    for size in (0, 10, INLINE_BYTES_MAX - 100, INLINE_BYTES_MAX - 50, INLINE_BYTES_MAX + 1, 1 << 20):
        value = MARKER + "x" * size
        blob = unwrap(await values.payload(value, "a result"))
        assert len(blob) <= INLINE_BYTES_MAX
        assert MARKER.encode() not in blob
        assert await values.get(msgspec.msgpack.decode(blob)) == value
    assert not [path for path in tmp_path.glob("??/*") if MARKER.encode() in path.read_bytes()]
    with pytest.raises(SealKeyMissing):
        await LargeValues(ArtifactStore(tmp_path)).get(msgspec.msgpack.decode(unwrap(await values.payload(MARKER, "it"))))
    with pytest.raises(PayloadTooLarge):  # nobody knows a store
        await LargeValues(None, seal=seal).payload("x" * (INLINE_BYTES_MAX - 50), "it")


def test_an_artifact_is_bound_to_its_name_and_stays_readable_when_the_key_is_new(tmp_path: Path) -> None:
    plain, sealed = ArtifactStore(tmp_path), ArtifactStore(tmp_path, seal=Seal([NEW, OLD]).artifacts)
    before = plain.put(MARKER.encode())
    assert sealed.get(before) == MARKER.encode()
    one, other = sealed.put(MARKER.encode()), sealed.put(b"another one")
    assert one not in {before, other}  # the name tells nothing of the content
    assert sealed.put(MARKER.encode()) == one
    with pytest.raises(SealKeyMissing):
        plain.get(one)
    sealed.put_raw(one, sealed.raw(other))
    with pytest.raises(ArtifactDamaged):
        sealed.get(one)
    with pytest.raises(ArtifactDamaged):
        plain.put_raw(before, b"another one")
    assert sealed.raw(other).startswith(BLOB_MARK)


def test_goals_and_references_within_what_is_sealed_are_found() -> None:
    seal = Seal([NEW])
    values = LargeValues(None, seal=seal)
    goal = Goal(text=MARKER, input_dir="/the-plain-folder", preferences={"a": [1]}, tenant="acme", priority=2)
    told = values.told(goal)
    assert b"plain" not in msgspec.msgpack.encode(told)
    assert (told.tenant, told.priority) == ("acme", 2)
    carried = msgspec.msgpack.decode(msgspec.msgpack.encode(told), type=Goal)
    fields = msgspec.msgpack.decode(msgspec.msgpack.encode(told))
    assert values.goal(carried) == values.goal(fields) == msgspec.to_builtins(goal)
    assert values.goal({"text": "in the open", "preferences": {"sealed": "mine"}})["text"] == "in the open"
    artifact = "sha256:" + "ab" * 32
    spec = msgspec.msgpack.encode(["x.y", seal.value(msgspec.msgpack.encode({"deep": [artifact]})), "B" * 300])
    assert references(spec + b" " + msgspec.msgpack.encode(seal.value(msgspec.msgpack.encode(artifact[:-1] + "c"))), seal) == {
        artifact,
        artifact[:-1] + "c",
    }
    assert references(spec) == set()


def test_what_is_still_sealed_is_shown_by_its_key() -> None:
    sealed = Seal([NEW]).value(b"\x01")
    assert is_reference(sealed)
    assert shown(sealed) == {"sealed": Seal([NEW]).key_ids[0]}
    assert not is_sealed(to_extension.__doc__)


def test_keys_come_by_reference_and_are_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "old").write_text(base64.b64encode(OLD).decode() + "\n")
    environ = {"AMAS_SEAL_KEY": f"env:NEW_KEY file:{tmp_path}/old", "NEW_KEY": NEW.hex()}
    found = read_seal(environ)
    assert found is not None
    assert found.key_ids == Seal([NEW, OLD]).key_ids
    assert read_seal({}) is None
    with pytest.raises(SettingInvalid, match=r"\(env:NEW_KEY\) must be 32 random bytes .* `openssl rand -hex 32`") as refused:
        read_seal(environ | {"NEW_KEY": "a sentence that is too weak"})
    assert "sentence" not in str(refused.value)
    with pytest.raises(SettingInvalid, match="must be references such as file:") as refused:
        read_seal({"AMAS_SEAL_KEY": NEW.hex()})
    assert NEW.hex() not in str(refused.value)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    forget_keys()
    assert "NEW_KEY" not in __import__("os").environ
