"""Snapshots of real folders, good and bad."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from amas.agents.skills.ingest import ingest_folder
from amas.agents.skills.sources import cover
from amas.artifacts.store import ArtifactStore
from amas.errors import GiveUp


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "store")


def make(root: Path, files: dict[str, bytes]) -> Path:
    for name, blob in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(blob)
    return root


def test_what_counts_is_copied_and_described(tmp_path: Path, store: ArtifactStore) -> None:
    source = make(
        tmp_path / "in",
        {
            ".git/HEAD": b"ref: refs/heads/main\n",
            ".gitignore": b"*.log\n/private/\n!keep.log\n",
            "pyproject.toml": b"[project]\nname = 'p'\nversion = '1'\n",
            "src/p/__init__.py": b"",
            "src/p/odd name.py": b"x = 1\ny = 2",
            "src/p/bad.py": b"def f(:\n",
            "src/p/latin.py": b"x = '\xe9'\n",
            "src/p/.gitignore": b"generated.py\n",
            "src/p/generated.py": b"1",
            "tests/test_p.py": b"def test(): pass\n",
            "a.log": b"",
            "keep.log": b"",
            "private/x.py": b"1",
            ".venv/lib/y.py": b"1",
            "build/z.py": b"1",
            "p.egg-info/PKG-INFO": b"",
        },
    )
    (source / "outside").symlink_to("/etc")
    (source / "passwd.py").symlink_to("/etc/hostname")
    (source / "loop").symlink_to(source)
    (source / "circle.py").symlink_to("circle.py")
    os.mkfifo(source / "pipe.py")
    found = ingest_folder(str(source), tmp_path / "out", store)
    rows = {row["path"]: row for row in store.get_json(found["files_ref"])}
    assert set(rows) == {
        *(".gitignore", "pyproject.toml", "keep.log", "src/p/.gitignore", "tests/test_p.py", "src/p/latin.py"),
        *("src/p/__init__.py", "src/p/odd name.py", "src/p/bad.py"),
    }
    assert all((tmp_path / "out" / path).is_file() for path in rows)
    assert rows["src/p/odd name.py"]["lines"] == 2
    assert {row["path"] for row in found["broken"]} == {"src/p/bad.py", "src/p/latin.py"}
    assert {row["path"] for row in found["skipped"]} == {"passwd.py", "circle.py", "pipe.py", "outside", "loop"}
    assert (found["test_paths"], found["project"]["name"]) == (["tests"], "p")
    assert [package["name"] for package in found["packages"]] == ["p"]
    assert ingest_folder(str(source), tmp_path / "again", store)["digest"] == found["digest"]


def test_a_source_distribution_keeps_the_generated_files_that_its_gitignore_names(tmp_path: Path, store: ArtifactStore) -> None:
    source = make(tmp_path / "in", {".gitignore": b"_version.py\n", "p/__init__.py": b"", "p/_version.py": b"version = '1'\n"})
    found = ingest_folder(str(source), tmp_path / "out", store)
    assert "p/_version.py" in {row["path"] for row in store.get_json(found["files_ref"])}


@pytest.mark.parametrize(
    ("name", "says"),
    [("missing", "doesn't exist"), ("file.py", "is a file"), ("empty", "is empty"), ("prose", "no Python file"), ("", "--input")],
)
def test_what_is_unusable_is_said_in_one_sentence(tmp_path: Path, store: ArtifactStore, name: str, says: str) -> None:
    make(tmp_path, {"file.py": b"", "prose/a.txt": b"x"})
    (tmp_path / "empty").mkdir()
    with pytest.raises(GiveUp, match=says) as caught:
        ingest_folder(str(tmp_path / name) if name else "", tmp_path / "out", store)
    assert caught.value.error_code == "input_unusable"


def test_a_file_without_end_is_left_out_and_a_folder_without_end_is_refused(
    tmp_path: Path, store: ArtifactStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make(tmp_path / "in", {"a.py": b"x = 1\n"})
    (source / "sparse.py").touch()
    os.truncate(source / "sparse.py", 1 << 40)  # a terabyte that takes no room
    found = ingest_folder(str(source), tmp_path / "out", store)
    assert (found["files"], found["skipped"]) == (1, [{"path": "sparse.py", "reason": "larger than 256 MiB"}])
    monkeypatch.setattr("amas.agents.skills.ingest.FOLDER_BYTES_MAX", 5)
    with pytest.raises(GiveUp, match="holds more than"):
        ingest_folder(str(source), tmp_path / "out", store)


def test_folders_in_folders_in_folders_are_no_burden(tmp_path: Path, store: ArtifactStore) -> None:
    """A few bytes make a tree deeper than any interpreter's stack, and names longer than a path may be."""
    source = make(tmp_path / "in", {"a.py": b"1\n"})
    dig = "import os\nfor _ in range(3000): os.mkdir('d'); os.chdir('d')\nopen('deep.py', 'w').close()"
    subprocess.run([sys.executable, "-c", dig], cwd=source, check=True)
    almost = source / "/".join(["e" * 200] * 20)[: 4070 - len(str(source))]
    almost.mkdir(parents=True)
    (almost / "f.py").write_bytes(b"3\n")
    found = ingest_folder(str(source), tmp_path / ("out" * 40), store)
    assert [row["path"] for row in store.get_json(found["files_ref"])] == ["a.py"]
    assert [(each["path"][:3], each["reason"]) for each in found["skipped"]] == [
        ("d/d", "the folder can't be read"), ("eee", "its path is too long"),
    ]  # fmt: skip
    subprocess.run(["rm", "-r", source / "d"], check=True)  # Python's own way of it is as deep as the folders


def test_configured_test_paths_come_first(tmp_path: Path, store: ArtifactStore) -> None:
    ini = b"[tool.pytest.ini_options]\ntestpaths = ['checks', 'gone']\n"
    source = make(tmp_path / "in", {"pyproject.toml": ini, "checks/test_a.py": b"", "tests/test_b.py": b""})
    assert ingest_folder(str(source), tmp_path / "out", store)["test_paths"] == ["checks"]


def test_folders_stand_for_their_files_only_where_that_is_exact(tmp_path: Path) -> None:
    make(tmp_path, {"a/x.py": b"", "a/y.py": b"", "b/z.py": b"", "b/n.ipynb": b"", "b/c/w.py": b"", "-d.py": b""})
    assert cover(tmp_path, ["a/x.py", "a/y.py", "b/z.py", "b/c/w.py", "-d.py"]) == ["./-d.py", "a", "b/c", "b/z.py"]
    assert cover(tmp_path / "a", ["x.py", "y.py"]) == ["."]
    assert cover(tmp_path, ["a/x.py"]) == ["a/x.py"]


@pytest.mark.parametrize(
    "blob", [b"a\n" * 300_000, b"x = [" + b"1," * 300_000 + b"]", b"#" * (5 << 20)], ids=["statements", "a list", "a comment"]
)
def test_python_that_would_take_a_host_s_memory_to_parse_isn_t_taken(tmp_path: Path, store: ArtifactStore, blob: bytes) -> None:
    """Two bytes of it become two kilobytes: a file of four MiB, four gigabytes."""
    long = b"# a very long table, as generators write them\n" + b"TABLE = 'some words of prose, quite a lot of them'\n" * 12_000
    source = make(tmp_path / "in", {"good.py": b"x = 1\n", "bomb.py": blob, "long.py": long})
    found = ingest_folder(str(source), tmp_path / "out", store)
    assert (found["python_files"], found["broken"]) == (2, [])
    (skipped,) = found["skipped"]
    assert skipped["path"] == "bomb.py" and skipped["reason"].startswith("no Python that people write")
    assert not (tmp_path / "out" / "bomb.py").exists()
