"""A deliverable is put in place whole, and nothing foreign is touched."""

import os
from pathlib import Path

import pytest

from amas.agents.skills.publish import MANIFEST, publish_folder
from amas.errors import GiveUp

NAMES = ["report.md", "api/index.md"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    for name in NAMES:
        path = tmp_path / "made" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(name)
    return tmp_path / "made"


def test_a_second_deliverable_replaces_the_first_and_keeps_foreign_files(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    publish_folder(source, NAMES, output)
    (output / "mine.txt").write_text("mine")
    (source / "report.md").write_text("newer")
    written = publish_folder(source, ["report.md"], output)
    assert (output / "report.md").read_text() == "newer"
    assert written[0].bytes == 5
    assert {path.name for path in output.iterdir()} == {"report.md", "api", "mine.txt", MANIFEST}


def test_a_foreign_file_is_refused_and_nothing_is_written(source: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    output.mkdir()
    (output / "report.md").write_text("foreign")
    with pytest.raises(GiveUp, match="no deliverable wrote it"):
        publish_folder(source, NAMES, output)
    assert [path.name for path in output.iterdir()] == ["report.md"]
    assert (output / "report.md").read_text() == "foreign"


def test_an_output_folder_that_is_a_file_is_one_sentence(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(GiveUp, match="a file has its name"):
        publish_folder(source, NAMES, tmp_path / "out")


@pytest.mark.parametrize("name", ["../x", "/etc/x"])
def test_a_name_that_leads_out_is_refused(source: Path, tmp_path: Path, name: str) -> None:
    with pytest.raises(GiveUp, match="outside its folder"):
        publish_folder(source, [name], tmp_path / "out")


def test_a_link_that_leads_out_is_refused(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "api").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(GiveUp, match="leads out"):
        publish_folder(source, NAMES, tmp_path / "out")


@pytest.mark.skipif(not Path("/dev/full").exists() or os.geteuid() != 0, reason="a full disk needs root for its small tmpfs")
def test_a_full_disk_is_one_sentence_and_changes_nothing(source: Path, tmp_path: Path) -> None:
    import subprocess

    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True).returncode:
        pytest.skip("no tmpfs can be mounted here")
    try:
        (source / "report.md").write_bytes(b"x" * 200_000)
        with pytest.raises(GiveUp, match="the disk is full"):
            publish_folder(source, NAMES, disk / "out")
        assert [path for path in (disk / "out").rglob("*") if path.is_file()] == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)
