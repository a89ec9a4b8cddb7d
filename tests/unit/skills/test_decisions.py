"""What the skills decide from values alone."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from amas.agents.skills.findings import Finding
from amas.agents.skills.hotspots import rank, references
from amas.agents.skills.imports import find_cycles, import_graph
from amas.agents.skills.ingest import find_packages
from amas.agents.skills.outcomes import missing_modules, read_log, running_by_output
from amas.agents.skills.partition import SizedFile, partition
from amas.agents.skills.severity import severity_of
from amas.errors import GiveUp

FILES = st.lists(
    st.builds(SizedFile, st.from_regex(r"([ab]/){0,3}[a-e]\.py", fullmatch=True), st.integers(0, 5000)),
    unique_by=lambda file: file.path,
)


@given(FILES, st.integers(1, 8))
def test_a_partition_holds_every_file_once(files: list[SizedFile], most: int) -> None:
    groups = partition(files, most)
    assert sorted(path for group in groups for path in group.paths) == sorted(file.path for file in files)
    assert len(groups) <= most
    assert all(group.paths for group in groups)
    assert len({group.name for group in groups}) == len(groups)


def test_a_folder_that_fits_is_kept_together() -> None:
    files = [SizedFile(f"{folder}/{n}.py", 10) for folder in ("a", "b", "c") for n in range(4)]
    assert [group.name for group in partition(files, 3)] == ["a", "b", "c"]


def test_one_huge_folder_is_cut_into_even_groups() -> None:
    groups = partition([SizedFile(f"p/{n:03}.py", 10) for n in range(100)], 4)
    assert [len(group.paths) for group in groups] == [25, 25, 25, 25]


@pytest.mark.parametrize(
    ("severity", "rules"),
    [
        ("error", "F821 S602 invalid-syntax"),
        ("warning", "F841 S608 E722 BLE001"),
        ("note", "F401 SIM102 FURB101 S101 E501 D100 TRY003 C408"),
    ],
)
def test_severity(severity: str, rules: str) -> None:
    assert {severity_of(rule) for rule in rules.split()} == {severity}


def test_imports_are_resolved_to_modules_of_the_code_base() -> None:
    texts = {
        "src/p/__init__.py": "from .a import x",
        "src/p/a.py": "import os\nfrom . import b\nfrom p.q import c, thing",
        "src/p/b.py": "def f():\n    import p.a",
        "src/p/q/__init__.py": "from .c import *",
        "src/p/q/c.py": "from ..b import f",
        "bad.py": "def (",
    }
    graph, failed = import_graph(texts)
    assert graph["p"] == {"p.a"}
    assert graph["p.a"] == {"p.b", "p.q", "p.q.c"}
    assert graph["p.b"] == {"p.a"}
    assert graph["p.q.c"] == {"p.b"}
    assert [file.path for file in failed] == ["bad.py"]
    assert find_cycles(graph) == [["p.a", "p.b", "p.q", "p.q.c"]]


def test_a_long_chain_is_no_cycle() -> None:
    chain = {f"m{n}": {f"m{n + 1}"} for n in range(5000)} | {"m5000": set()}
    assert find_cycles(chain) == []
    assert find_cycles({"a": {"a"}}) == [["a"]]


def test_hotspots_count_a_place_once_and_need_both_shares() -> None:
    finding = Finding(rule="F1", message="", path="a.py", line=1, column=1, severity="error", category="", tool="ruff")
    rows = [{"path": "a.py", "complexity": 10, "loc": 5}, {"path": "b.py", "complexity": 90, "loc": 5}]
    spots = rank([finding, finding], rows)
    assert [(spot.path, spot.errors) for spot in spots] == [("a.py", 1)]
    assert rank([], []) == []
    assert list(references({"x": [{"findings_ref": "r1"}], "findings_ref": "r2"}, "findings_ref")) == ["r1", "r2"]


def test_packages_are_the_outermost_and_no_tests() -> None:
    paths = [
        "src/p/__init__.py",
        "src/p/q/__init__.py",
        "src/p/q/m.py",
        "src/ns/k/__init__.py",
        "tests/__init__.py",
        "one.py",
        "setup.py",
    ]
    assert [(package.name, package.path) for package in find_packages(paths)] == [
        ("ns.k", "src/ns/k"),
        ("p", "src/p"),
        ("one", "one.py"),
    ]


def test_a_log_that_was_cut_short_is_read_as_far_as_it_goes() -> None:
    lines = ['{"$report_type": "SessionStart", "pytest_version": "9"}', '{"$report_type": "TestRep']
    log = read_log(lines)
    assert (log.started, log.finished, log.tests) == (True, False, [])


PHASE = {"$report_type": "TestReport", "nodeid": "a.py::b", "when": "call", "outcome": "passed", "duration": 0.5}


@pytest.mark.parametrize(
    "line",
    [
        {"$report_type": "TestReport"},
        {**PHASE, "outcome": None},
        {**PHASE, "nodeid": ["a"]},
        {**PHASE, "duration": "long"},
        {**PHASE, "location": {"line": 3}},
        {**PHASE, "location": ["a.py"]},
        {"$report_type": "CollectReport", "outcome": "failed"},
        {"$report_type": "SubTestReport", "nodeid": "a.py::b"},
    ],
)
def test_a_report_that_pytest_did_not_write_ends_in_one_sentence(line: dict[str, object]) -> None:
    said = r"can't be told: line 2 of pytest's report log is a \w+ as pytest writes none \(.+\)"
    with pytest.raises(GiveUp, match=said) as ended:
        read_log([json.dumps(PHASE), json.dumps(line)])
    assert ended.value.error_code == "test_log_strange"


def test_what_others_write_into_the_log_is_passed_over() -> None:
    odd = ["null", "[1]", '"text"', "{}", '{"$report_type": 7}', '{"$report_type": "Mine"}', "[" * 100_000]
    crashed = {**PHASE, "outcome": "failed", "longrepr": {"reprcrash": "it broke", "longrepr": "why"}}
    log = read_log([*odd, json.dumps(crashed), json.dumps({**PHASE, "when": "teardown"})])
    assert [(test.outcome, test.message) for test in log.tests] == [("failed", "why")]


def test_what_pytest_printed_last_names_the_running_test() -> None:
    assert running_by_output("a::b PASSED [ 50%]\na::c ") == "a::c"
    assert running_by_output("a::b PASSED [ 50%]\n") == ""
    assert missing_modules(["E   ModuleNotFoundError: No module named 'x.y'"]) == ["x.y"]
