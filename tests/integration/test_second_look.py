"""The second look that `make test` has at what failed: it runs real tests, in several processes and alone."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from tests.second_look import FEW, Failure, Watch, why_not

ROOT = Path(__file__).parents[2]
CASES = "tests/samples/tests_of_a_bad_moment.py"


def run(*arguments: str) -> tuple[int, str]:
    """Run samples; return what that exits with, and says."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    command = [sys.executable, "-m", "tests.second_look", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=own, capture_output=True, text=True, timeout=240, check=False)
    return done.returncode, done.stdout


BESIDE_OTHERS = ("-n", "1", "--dist", "loadgroup", CASES, "-k")


def test_what_passes_alone_is_named_with_what_it_said() -> None:
    code, said = run(*BESIDE_OTHERS, "test_once")
    assert code == 0, said
    before, _, after = said.rpartition("\033[1mfailed beside others, passed alone: ")
    assert after.startswith(f"{CASES}::test_once[me@here::and [there]] (a race or too little patience: look at it)\033[0m")
    assert before.count("a bad moment of me@here") >= 2, "when it happened, and at the end"


def test_what_no_more_runs_is_red_even_beside_one_that_passes() -> None:
    code, said = run(*BESIDE_OTHERS, "test_once or test_skipped")
    assert code == 1, said
    assert "others, passed alone" not in said
    assert said.count("\033[1mfailed beside others, and not all passed alone: ") == 2


def test_what_fails_again_is_red() -> None:
    code, said = run("--alone", f"{CASES}::test_always")
    assert code == 1, said
    assert "it fails alone" in said


def report(nodeid: str, *, keyword: str = "", outcome: str = "failed", when: str = "call") -> pytest.TestReport:
    made = {keyword: True} if keyword else {}
    return pytest.TestReport(nodeid, (nodeid, 1, nodeid), made, outcome, "what it said", when)  # type: ignore[arg-type]


def test_nobody_looks_twice_at_many_failures() -> None:
    watch = Watch()
    for number in range(FEW):
        watch.pytest_runtest_logreport(report(f"tests/unit/test_a.py::test_{number}"))
    watch.pytest_runtest_logreport(report("tests/unit/test_a.py::test_0", when="teardown"))
    assert why_not(1, watch) == ""
    watch.pytest_runtest_logreport(report("tests/unit/test_a.py::test_more", when="setup"))
    assert why_not(1, watch) == "more than 3 tests failed"


def test_nobody_looks_twice_at_a_process_that_died() -> None:
    watch = Watch()
    watch.pytest_runtest_logreport(report("tests/unit/test_a.py::test_b", when="???"))  # as pytest-xdist reports it
    assert why_not(1, watch) == "more went wrong than tests"


@pytest.mark.parametrize(
    ("nodeid", "keyword"),
    [("tests/fault/a.py::test_b", ""), ("tests/property/a.py::test_b", ""), ("tests/unit/a.py::test_b", "hypothesis")],
)
def test_what_draws_its_own_case_gets_no_second_look(nodeid: str, keyword: str) -> None:
    watch = Watch()
    watch.pytest_runtest_logreport(report("tests/unit/test_a.py::test_c"))
    assert why_not(1, watch) == ""
    watch.pytest_runtest_logreport(report("tests/fault/test_a.py::test_d", outcome="passed"))
    assert why_not(1, watch) == "", "only what failed counts"
    watch.pytest_runtest_logreport(report(nodeid, keyword=keyword))
    assert watch.failed[nodeid] == Failure(nodeid, "what it said", by_chance=True)
    assert nodeid in why_not(1, watch)


@pytest.mark.parametrize("code", [pytest.ExitCode.INTERRUPTED, pytest.ExitCode.INTERNAL_ERROR, pytest.ExitCode.USAGE_ERROR])
def test_a_run_that_came_to_no_end_gets_none(code: pytest.ExitCode) -> None:
    watch = Watch()
    watch.pytest_runtest_logreport(report("tests/unit/test_a.py::test_c"))
    assert why_not(code, watch) == "more went wrong than tests"
    assert why_not(pytest.ExitCode.TESTS_FAILED, Watch()) == "more went wrong than tests", "a failure that no test reported"
