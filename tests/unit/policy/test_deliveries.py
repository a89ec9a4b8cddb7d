"""A signed delivery: what was changed after is found."""

from pathlib import Path

import pytest

from amas.errors import DeliveryUnreadable
from amas.policy.deliveries import FILE, Delivered, digests, look, seal, sign

SECRET = "a-secret-of-the-fleet"


def delivery(folder: Path, *, secret: str = SECRET) -> Path:
    (folder / "docs").mkdir()
    (folder / "report.md").write_text("Tin costs 30.")
    (folder / "docs" / "api.md").write_text("An API.")
    record = Delivered(
        workflow_id="w",
        signed_by="quality-supervisor-1",
        signed_ms=1,
        approved=True,
        score=1.0,
        files=digests(folder, ["report.md", "docs/api.md", "absent"]),
        quality={"review": {"score": 1, "accepted": True}},
    )
    (folder / FILE).write_bytes(sign(record, seal(record, secret)))
    return folder


def test_an_untouched_delivery_is_sound(tmp_path: Path) -> None:
    found = look(delivery(tmp_path), SECRET)
    assert (found.sound, found.signature, found.delivered.signed_by) == (True, "valid", "quality-supervisor-1")
    assert sorted(found.delivered.files) == ["docs/api.md", "report.md"]


def test_a_changed_and_a_missing_file_are_named(tmp_path: Path) -> None:
    folder = delivery(tmp_path)
    (folder / "report.md").write_text("Tin costs 31.")
    (folder / "docs" / "api.md").unlink()
    found = look(folder, SECRET)
    assert (found.sound, found.changed, found.missing) == (False, ("report.md",), ("docs/api.md",))


def test_a_changed_verdict_is_forged(tmp_path: Path) -> None:
    folder = delivery(tmp_path)
    text = (folder / FILE).read_text()
    (folder / FILE).write_text(text.replace('"score": 1,', '"score": 0,'))
    assert look(folder, SECRET).signature == "forged"
    (folder / FILE).write_text(text.replace("quality-supervisor-1", "somebody-1"))
    assert look(folder, SECRET).signature == "forged"


def test_another_secret_or_none_does_not_make_it_valid(tmp_path: Path) -> None:
    folder = delivery(tmp_path)
    assert look(folder, "another-secret-altogether").signature == "forged"
    assert look(folder, "").signature == "unchecked"


def test_without_a_secret_it_is_unsigned_and_changes_are_still_found(tmp_path: Path) -> None:
    folder = delivery(tmp_path, secret="")
    (folder / "report.md").write_text("x")
    found = look(folder, SECRET)
    assert (found.signature, found.sound, found.changed) == ("unsigned", False, ("report.md",))


def test_a_name_outside_the_folder_is_never_read(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "out").write_text("x")
    folder = delivery(tmp_path / "in")
    text = (folder / FILE).read_text().replace('"report.md"', '"../out"')
    (folder / FILE).write_text(text)
    assert look(folder, SECRET).missing == ("../out",)


@pytest.mark.parametrize("content", [None, b"{}", b"no json"])
def test_a_folder_without_a_record_is_told_so(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / FILE).write_bytes(content)
    with pytest.raises(DeliveryUnreadable, match=FILE):
        look(tmp_path, SECRET)
