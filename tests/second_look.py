"""Runs tests, and runs again, alone, the few that failed beside others: `python -m tests.second_look ARGUMENTS OF PYTEST`.

On a busy machine one of thousands of tests may meet a moment that it wasn't written for. It is named in bold, with what it said,
and the run passes only if it passes when nothing runs beside it. This hides nothing that a plain run would have shown: more than
`FEW` failures are no such moment; a test that draws its own case would draw another one; a process that died is never chance.
"""

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import NamedTuple

import pytest

FEW = 3
"""Tests that may get a second look: a slow moment breaks one, rarely two; a fault in what many use breaks many."""
BY_CHANCE = ("fault", "property")
"""Folders whose tests draw what they do; their seed is in what they print."""
ALONE = "nodeid alone"
"""The name under which conftest.py keeps a test's id as it is without a group."""


class Failure(NamedTuple):
    """One test that failed."""

    nodeid: str
    said: str
    by_chance: bool
    """Another run may do something else: it proves nothing about this one."""


class Watch:
    """A plugin of pytest: what failed, and what passed."""

    def __init__(self) -> None:
        self.failed, self.passed = dict[str, Failure](), set[str]()
        self.broken = False
        """Something failed that can't be run again: a file that isn't read, a process of tests that died."""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note what became of a test, in this process or in one of several."""
        nodeid = str(dict(report.user_properties).get(ALONE, report.nodeid))
        if report.failed and report.when not in {"setup", "call", "teardown"}:
            self.broken = True
        elif report.failed and nodeid not in self.failed:
            by_chance = "hypothesis" in report.keywords or not {*nodeid.partition("::")[0].split("/")}.isdisjoint(BY_CHANCE)
            self.failed[nodeid] = Failure(nodeid, report.longreprtext, by_chance)
        elif report.passed and report.when == "call":
            self.passed.add(nodeid)

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        """Note that a file can't be read."""
        self.broken = self.broken or report.failed


def why_not(code: int, seen: Watch) -> str:
    """Return why what failed isn't run again; '' if it is."""
    if code != pytest.ExitCode.TESTS_FAILED or seen.broken or not seen.failed:
        return "more went wrong than tests"
    if len(seen.failed) > FEW:
        return f"more than {FEW} tests failed"
    if chance := [one.nodeid for one in seen.failed.values() if one.by_chance]:
        return f"another run of {', '.join(chance)} would do something else: repeat it with its seed, which stands above"
    return ""


def alone(nodeids: Sequence[str]) -> int:
    """Run these tests in this process and return 0 if each has passed: one that is skipped proves nothing."""
    watch = Watch()
    code = pytest.main([*nodeids], plugins=[watch])
    return int(code) or int(not watch.passed.issuperset(nodeids))


def _bold(line: str) -> None:
    print(f"\033[1m{line}\033[0m", flush=True)


def main(arguments: Sequence[str]) -> int:
    """Run tests and return what the process exits with."""
    watch = Watch()
    code = int(pytest.main([*arguments], plugins=[watch]))
    if code == 0:
        return 0
    if why := why_not(code, watch):
        print(f"no second look: {why}", flush=True)
        return code
    _bold(f"a second look, alone, at {' '.join(watch.failed)}")
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST_")}
    again = subprocess.run([sys.executable, "-m", "tests.second_look", "--alone", *watch.failed], env=clean, check=False)
    for one in watch.failed.values():
        print(one.said)
        ended = "passed alone" if again.returncode == 0 else "and not all passed alone"
        _bold(f"failed beside others, {ended}: {one.nodeid} (a race or too little patience: look at it)")
    return again.returncode


if __name__ == "__main__":
    sys.exit(alone(sys.argv[2:]) if sys.argv[1:2] == ["--alone"] else main(sys.argv[1:]))
