from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import pytest

from amas.errors import FleetFileInvalid
from amas.model.task import DEFAULT_RETRY, RetryPolicy
from amas.model.yamlfile import YamlFile


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Pool(msgspec.Struct, frozen=True):
    name: str
    replicas: Annotated[int, msgspec.Meta(ge=1)] = 1
    colour: Colour = Colour.RED
    isolation: Literal["shared", "process"] = "shared"
    retry: RetryPolicy = DEFAULT_RETRY
    options: dict[str, object] = {}
    lead: str | None = None
    tags: tuple[str, ...] = ()
    rules: Annotated[str | tuple[str, ...], msgspec.Meta(extra={"mend": "rules stand in a file"})] = ()


class Fleet(msgspec.Struct, frozen=True):
    name: str
    pools: tuple[Pool, ...] = ()


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "fleet.yaml"
    path.write_text(text)
    return path


def test_reads_structs_enums_and_array_like_policies_from_mappings(tmp_path: Path) -> None:
    text = "name: one\npools:\n- name: a\n  colour: blue\n  retry: {retries: 7, jitter: 1}\n"
    text += "  options: {on: 2026-01-01, deep: [1, {x: y}]}\n"
    fleet = YamlFile.read(write(tmp_path, text)).decode(Fleet)
    assert fleet.pools[0].colour is Colour.BLUE
    assert fleet.pools[0].retry == RetryPolicy(retries=7, jitter=1.0)
    assert fleet.pools[0].options == {"on": "2026-01-01", "deep": [1, {"x": "y"}]}


def test_shared_parts_merge_and_may_be_overridden(tmp_path: Path) -> None:
    text = "name: one\npools:\n- &base {name: a, replicas: 3}\n- {<<: *base, name: b}\n- {<<: *base, name: c, replicas: 4}\n"
    fleet = YamlFile.read(write(tmp_path, text)).decode(Fleet)
    assert [(pool.name, pool.replicas) for pool in fleet.pools] == [("a", 3), ("b", 3), ("c", 4)]


@pytest.mark.parametrize(
    ("text", "line", "field", "words"),
    [
        ("name: x\npool: []\n", 2, "pool", "did you mean 'pools'"),
        ("name: x\nzebra: []\n", 2, "zebra", "fields here: name, pools"),
        ("name: x\npools:\n- replicas: 2\n", 3, "pools[0]", "'name' is missing"),
        ("name: x\npools:\n- name: a\n  replicas: two\n", 4, "pools[0].replicas", "must be a whole number, not 'two'"),
        ("name: x\npools:\n- name: a\n  replicas: 0\n", 4, "pools[0].replicas", ">= 1"),
        ("name: x\npools:\n- name: a\n- name: b\n  colour: bleu\n", 5, "pools[1].colour", "red, blue (did you mean 'blue'"),
        ("name: x\npools:\n- {name: a, isolation: proces}\n", 3, "pools[0].isolation", "did you mean 'process'"),
        ("name: x\npools:\n- {name: a, retry: {retrys: 1}}\n", 3, "pools[0].retry.retrys", "did you mean 'retries'"),
        ("name: x\npools:\n- {name: a, tags: one}\n", 3, "pools[0].tags", "must be a list, not a single value: write [one]"),
        ("name: x\npools: {}\n", 2, "pools", "must be a list, not a mapping"),
        ("- name\n", 1, "", "must be a mapping, not a list"),
        ("name: x\nname: y\n", 2, "name", "twice"),
        ("name: x\npools: [\n", 3, "", "is not YAML"),
        ("name: !!python/object/apply:os.system [ls]\n", 1, "name", "could not determine a constructor"),
        ("name: 12\n", 1, "name", "must be text, not 12"),
        (
            "name: x\npools:\n- name: a\n  rules: [b, {c: d}]\n",
            4,
            "pools[0].rules[1]",
            "not {'c': 'd'}: rules stand in a file",
        ),
        ("# nothing\n", 1, "", "is empty"),
        ("name: \x01\n", 1, "", "is not YAML"),
    ],
)
def test_a_mistake_names_line_field_and_mend(tmp_path: Path, text: str, line: int, field: str, words: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(FleetFileInvalid) as caught:
        YamlFile.read(path).decode(Fleet)
    assert (caught.value.line, caught.value.field) == (line, field)
    assert words in str(caught.value)
    assert str(caught.value).startswith(f"{path}:{line}: ")


def test_a_file_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(FleetFileInvalid, match=r"none\.yaml: can't be read: No such file"):
        YamlFile.read(tmp_path / "none.yaml").decode(Fleet)
    (tmp_path / "latin.yaml").write_bytes(b"name: \xff\n")
    with pytest.raises(FleetFileInvalid, match="not UTF-8"):
        YamlFile.read(tmp_path / "latin.yaml").decode(Fleet)


def test_a_rule_of_the_callers_points_at_the_field(tmp_path: Path) -> None:
    file = YamlFile.read(write(tmp_path, "name: x\npools:\n- name: a\n- name: b\n  lead: nobody\n"))
    assert file.line_of("pools[1].lead") == 5
    assert file.line_of("pools[0].lead") == 3, "a field that isn't written: the nearest around it"
    assert str(file.invalid("no such pool", "pools[1].lead")).endswith("fleet.yaml:5: pools[1].lead: no such pool")


def test_a_list_inside_itself_is_refused_and_does_not_hang(tmp_path: Path) -> None:
    with pytest.raises(FleetFileInvalid, match="recursive"):
        YamlFile.read(write(tmp_path, "name: x\npools:\n- {name: a, options: {all: &a [*a]}}\n")).decode(Fleet)
