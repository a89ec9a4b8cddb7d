"""The pages that say what words mean and where code lives say it once, and of what is there; names of log events are used."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src/amas"
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text()
NAMED = re.compile(r"`([a-z_]+(?:/[a-z_]+)*/[\w]+\.(?:py|lua)|\d\d_\w+\.lua)`")
LISTED = re.compile(r"(?<![\w/])([a-z_]+)(?:/|\.py)(?= |$)")


def test_each_word_of_the_glossary_is_explained_once_in_its_place() -> None:
    words = re.findall(r"^\| \*\*(.+?)\*\*", (ROOT / "GLOSSARY.md").read_text(), re.MULTILINE)
    assert words == sorted(set(words), key=str.lower)


def test_nothing_is_named_by_a_number_that_only_its_author_can_look_up() -> None:
    """Such as the numbers of requirements, which tests alone carry as their marks."""
    numbered = re.compile(r"\b[NABMT]\d{1,2}\b")
    files = [*SOURCE.rglob("*.py"), *SOURCE.rglob("*.lua"), *(ROOT / "fleets").iterdir(), *(ROOT / "playbooks").iterdir()]
    assert [f"{file.name}: {found[0]}" for file in files if (found := numbered.search(file.read_text()))] == []


def test_decisions_are_numbered_in_their_order() -> None:
    numbers = [int(number) for number in re.findall(r"^(\d+)\. \*\*", ARCHITECTURE, re.MULTILINE)]
    assert numbers == list(range(1, len(numbers) + 1))


def test_files_that_the_architecture_names_are_there() -> None:
    places = (ROOT, SOURCE, SOURCE / "engine/functions")
    assert [name for name in NAMED.findall(ARCHITECTURE) if not any((place / name).is_file() for place in places)] == []


def test_packages_are_listed_as_they_import() -> None:
    """In the order of the layers, which import-linter holds the code to."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    (layers,) = [contract["layers"] for contract in contracts if contract["type"] == "layers"]
    rank = {name: number for number, layer in enumerate(layers) for name in re.findall(r"\w+", layer)}
    listing = re.search(r"^src/amas/\n((?:  .*\n)+)", ARCHITECTURE, re.MULTILINE)
    assert listing is not None
    listed = [name for line in listing[1].splitlines() for name in LISTED.findall(line) if name in rank]
    assert sorted(listed) == sorted(name for name in rank if not name.startswith("__"))
    assert [rank[name] for name in listed] == sorted(rank[name] for name in listed)


def test_each_name_of_a_log_event_is_logged() -> None:
    names = re.findall(r"^([A-Z_]+): Final", (SOURCE / "observe/events.py").read_text(), re.MULTILINE)
    code = "".join(path.read_text() for path in SOURCE.rglob("*.py"))
    assert [name for name in names if not re.search(rf"\bevents\.{name}\b", code)] == []
