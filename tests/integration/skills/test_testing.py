"""Real suites by a real pytest: what becomes of each way to end."""

import re
import subprocess
from pathlib import Path

import pytest

from amas.agents.skills.findings import Analysis, Scope
from amas.agents.skills.testing import run_tests


async def run(tmp_path: Path, files: dict[str, str], **options: object) -> Analysis:
    root = tmp_path / "project"
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return await run_tests(Scope(root=root, options={"timeout_s": 60, **options}), tmp_path / "place")


EVERY_OUTCOME = """
import pytest, unittest
def test_passes(): pass
def test_fails(): assert 1 == 2
@pytest.fixture
def breaks_before(): raise ValueError("before")
@pytest.fixture
def breaks_after():
    yield
    raise ValueError("after")
def test_error(breaks_before): pass
def test_teardown_error(breaks_after): pass
@pytest.mark.skip(reason="not now")
def test_skipped(): pass
def test_skips_itself(): pytest.skip("itself")
@pytest.mark.xfail
def test_xfails(): assert 0
@pytest.mark.xfail
def test_xpasses(): pass
@pytest.mark.xfail(strict=True)
def test_strict(): pass
@pytest.mark.parametrize("n", [1, 2, 3])
def test_each(n): assert n < 3
class TestOld(unittest.TestCase):
    def test_subtests(self):
        for n in range(3):
            with self.subTest(n=n):
                self.assertEqual(n, 1)
def test_subtests_of_pytest(subtests):
    for n in range(3):
        with subtests.test(n=n): assert n == 1
"""
SKIPPED_MODULE = "import pytest\npytest.skip('x', allow_module_level=True)"


def by_hand(analysis: Analysis, place: Path) -> dict[str, int]:
    printed = subprocess.run(analysis.tool.command, shell=True, cwd=place / "suite", capture_output=True, text=True, check=False)
    last = printed.stdout.strip().splitlines()[-1]
    words = {"errors": "error"}
    return {
        words.get(word, word): int(n) for n, word in re.findall(r"(\d+) (passed|failed|errors?|skipped|xfailed|xpassed)", last)
    }


async def test_counts_are_those_of_pytests_last_line(tmp_path: Path) -> None:
    found = await run(
        tmp_path,
        {"tests/test_all.py": EVERY_OUTCOME, "tests/test_gone.py": SKIPPED_MODULE},
    )
    assert found.fields["ended"] == "finished"
    assert {name: n for name, n in found.fields["outcomes"].items() if n} == by_hand(found, tmp_path / "place")
    assert found.fields["exit_code"] == 1
    assert len(found.findings) == found.fields["outcomes"]["failed"] + found.fields["outcomes"]["error"]


async def test_a_hang_names_the_test_and_keeps_what_went_before(tmp_path: Path) -> None:
    suite = "import threading\ndef test_one(): pass\ndef test_hangs(): threading.Event().wait()\n"
    found = await run(tmp_path, {"test_h.py": suite}, timeout_s=20)
    assert found.fields["ended"] == "timed_out"
    assert found.fields["running_test"] == "test_h.py::test_hangs"
    assert found.fields["outcomes"]["passed"] == 1


async def test_a_hang_in_a_fixture_names_the_test(tmp_path: Path) -> None:
    suite = "import threading, pytest\n@pytest.fixture\ndef f(): threading.Event().wait()\ndef test_hangs(f): pass\n"
    found = await run(tmp_path, {"test_h.py": suite}, timeout_s=20)
    assert (found.fields["ended"], found.fields["running_test"]) == ("timed_out", "test_h.py::test_hangs")


@pytest.mark.parametrize("end", ["os._exit(0)", "os.kill(os.getpid(), 11)", "os._exit(5)"])
async def test_a_crash_is_a_result(tmp_path: Path, end: str) -> None:
    found = await run(
        tmp_path, {"test_c.py": f"import os\ndef test_one(): pass\ndef test_ends(): {end}\ndef test_never(): pass\n"}
    )
    assert found.fields["ended"] == "crashed"
    assert found.fields["running_test"] == "test_c.py::test_ends"
    assert found.fields["outcomes"]["passed"] == 1


async def test_a_missing_module_is_named(tmp_path: Path) -> None:
    found = await run(tmp_path, {"test_m.py": "import no_such_module_here\n", "test_ok.py": "def test_a(): pass\n"})
    assert found.fields["ended"] == "not_collected"
    assert found.fields["missing_modules"] == ["no_such_module_here"]
    assert [file.path for file in found.failed] == ["test_m.py"]
    assert found.fields["outcomes"]["error"] == 1


async def test_a_missing_module_in_conftest_is_named(tmp_path: Path) -> None:
    found = await run(tmp_path, {"conftest.py": "import no_such_module_here\n", "test_ok.py": "def test_a(): pass\n"})
    assert (found.fields["ended"], found.fields["missing_modules"]) == ("not_collected", ["no_such_module_here"])


async def test_no_tests_is_a_result(tmp_path: Path) -> None:
    found = await run(tmp_path, {"module.py": "x = 1\n"})
    assert (found.fields["ended"], found.tool.name) == ("no_tests", "pytest")


async def test_nothing_of_ours_reaches_the_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("A_SECRET", "s3cr3t")
    (tmp_path / "conftest.py").write_text("raise RuntimeError('a conftest above the project was read')")
    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = --no-such-option\n")
    suite = "import os\ndef test_env(): assert 'A_SECRET' not in os.environ\ndef test_writes(): open('here', 'w').close()\n"
    found = await run(tmp_path, {"test_e.py": suite})
    assert found.fields["outcomes"]["passed"] == 2, found.fields["tail"]
    assert not (tmp_path / "project" / "here").exists()


async def test_the_projects_own_configuration_applies(tmp_path: Path) -> None:
    ini = "[tool.pytest.ini_options]\npython_functions = ['check_*']\n"
    suite = "import lib\ndef check_n(): assert lib.N == 1\n"
    found = await run(tmp_path, {"pyproject.toml": ini, "src/lib.py": "N = 1\n", "tests/test_c.py": suite})
    assert found.fields["outcomes"]["passed"] == 1


async def test_an_interpreter_that_is_none_is_said(tmp_path: Path) -> None:
    found = await run(tmp_path, {"test_a.py": "def test_a(): pass\n"}, python="/no/such/python")
    assert found.fields["outcomes"]["passed"] == 1
    assert "has no pytest" in found.fields["notes"][0]
