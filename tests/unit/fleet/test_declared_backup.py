"""`backup:` in a fleet file."""

from pathlib import Path

import pytest

from amas.errors import FleetFileInvalid
from amas.fleet.load import load_fleet
from amas.model.backup import BackupSpec

FLEET = """\
name: f
backup: {%s}
pools:
  - {name: worker, agent: "x:y", capabilities: [text.shorten], layer: executive}
"""


def _load(folder: Path, said: str) -> BackupSpec | None:
    (folder / "fleet.yaml").write_text(FLEET % said)
    return load_fleet(folder / "fleet.yaml", environ={}).backup


def test_times_are_read_and_a_folder_is_meant_from_the_files_own(tmp_path: Path) -> None:
    spec = _load(tmp_path, "to: ../backups, every: 10m, full: 2h, keep: 1d, keep_full: 3d")
    assert spec == BackupSpec(to=str(tmp_path / "../backups"), every_s=600, full_s=7200, keep_s=86_400, keep_full_s=3 * 86_400)


@pytest.mark.parametrize(
    ("said", "complaint"),
    [
        ("every: 1s", "backup.every.* must be a minute or more"),
        ("full: 30m", "backup.full.* is less than backup.every"),
        ("keep: 30m", "backup.keep.* is less than backup.every"),
        ("keep_full: 12h", "backup.keep_full.* is less than backup.full"),
        ("to: gs://bucket", "backup.to.* must be a folder, file:///folder or s3://bucket/prefix"),
        ("until: 1h", "until"),
    ],
)
def test_mistakes_are_named_with_their_field(tmp_path: Path, said: str, complaint: str) -> None:
    with pytest.raises(FleetFileInvalid, match=complaint):
        _load(tmp_path, said)
