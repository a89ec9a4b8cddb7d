"""Ruff, radon and vulture on small projects, against the printed command typed by hand."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from amas.agents.skills.complexity import analyse_complexity
from amas.agents.skills.dead_code import analyse_dead_code
from amas.agents.skills.findings import Analysis, Scope
from amas.agents.skills.metrics import analyse_metrics
from amas.agents.skills.ruff_review import FAMILIES, review, target_version

SHELL = "import subprocess\n\ndef run(text):\n    assert text\n    return subprocess.call(text, shell=True)\n"
CORE = """
import os
from datetime import datetime

def f(a, b=[]):
    try:
        return datetime.now()
    except:
        pass
    x = 1
"""
FILES: dict[str, bytes] = {
    "pyproject.toml": b"[project]\nname = 'p'\nrequires-python = '>=3.9'\n",
    "pkg/__init__.py": b"",
    "pkg/core.py": CORE.encode(),
    "pkg/shell.py": SHELL.encode(),
    "pkg/sub/-odd name [x].py": b"import os, sys\nassert eval('1')\n",
    "pkg/h\xc3\xa4 '$.py".encode("latin-1").decode("utf-8"): b"import json\n",
    "broken/bad.py": b"def f(:\n",
    "broken/latin.py": b"# -*- coding: latin-1 -*-\nx = '\xe9'\nassert x\n",
    "tests/test_core.py": b"def test_f():\n    assert 1\n",
    "notes.txt": b"not code",
}


@pytest.fixture
def scope(tmp_path: Path) -> Scope:
    for name, blob in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(blob)
    return Scope(root=tmp_path, paths=tuple(FILES))


def typed(command: str, root: Path) -> str:
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    return subprocess.run(command, shell=True, cwd=root, env=env, capture_output=True, text=True, check=False).stdout


def lines_by_hand(command: str, root: Path) -> list[str]:
    return sorted(line for line in typed(command, root).splitlines() if re.match(r".+?:\d+:\d+: ", line))


def lines_of(analysis: Analysis) -> list[str]:
    return sorted(f"{f.path}:{f.line}:{f.column}: {f.rule}" for f in analysis.findings)


@pytest.mark.parametrize("capability", FAMILIES)
async def test_every_family_agrees_with_ruff_by_hand(scope: Scope, capability: str) -> None:
    found = await review(scope, FAMILIES[capability])
    by_hand = lines_by_hand(f"{found.tool.command} --output-format concise", scope.root)
    assert lines_of(found) == sorted(re.sub(r"^(.+?:\d+:\d+: [\w-]+).*", r"\1", line) for line in by_hand)
    assert {file.path for file in found.failed} == {"broken/bad.py", "broken/latin.py"}
    assert set(found.covered) == {path for path in FILES if path.endswith(".py")} - {"broken/bad.py", "broken/latin.py"}


async def test_a_group_names_its_own_files_only(scope: Scope) -> None:
    found = await review(Scope(root=scope.root, paths=("pkg/shell.py", "pkg/core.py")), FAMILIES["development.security"])
    assert {f.path for f in found.findings} <= {"pkg/shell.py", "pkg/core.py"}
    assert [f.rule for f in found.findings if f.severity == "error"] == ["S602"]
    assert "pkg/core.py pkg/shell.py" in found.tool.command


async def test_assert_in_tests_is_left_out_by_the_command_itself(scope: Scope) -> None:
    found = await review(scope, FAMILIES["development.security"])
    assert {f.path for f in found.findings if f.rule == "S101"} == {"pkg/shell.py", "pkg/sub/-odd name [x].py"}
    assert "--per-file-ignores" in found.tool.command


async def test_a_path_that_leaves_the_folder_is_refused(scope: Scope) -> None:
    (scope.root / "link.py").symlink_to("/etc/hostname")
    outside = Scope(root=scope.root, paths=("../x.py", "link.py", "gone.py", "pkg/core.py"))
    found = await review(outside, FAMILIES["development.code_review"])
    assert list(found.covered) == ["pkg/core.py"]
    assert {file.path for file in found.failed} == {"../x.py", "link.py", "gone.py"}


async def test_nothing_to_look_at_is_no_error(tmp_path: Path) -> None:
    scope = Scope(root=tmp_path)
    for analyse in (analyse_complexity, analyse_metrics, analyse_dead_code):
        assert not (await analyse(scope)).findings


async def test_complexity_agrees_with_radon_by_hand(scope: Scope) -> None:
    found = await analyse_complexity(scope)
    printed = typed(found.tool.command.split("; ")[1], scope.root)
    assert f"{found.figures['blocks']:.0f} blocks" in printed
    assert f"({found.figures['complexity_average']}" in printed


async def test_metrics_agree_with_radon_by_hand(scope: Scope) -> None:
    found = await analyse_metrics(scope)
    total = typed(found.tool.command.split("; ")[0], scope.root).split("** Total **")[1]
    assert {name: found.figures[name] for name in ("loc", "lloc", "sloc", "comments")} == {
        name.lower(): int(n) for name, n in re.findall(r"(LOC|LLOC|SLOC|Comments): (\d+)", total)
    }
    assert {file.path for file in found.failed} >= {"broken/bad.py"}


async def test_dead_code_agrees_with_vulture_by_hand(scope: Scope) -> None:
    group = Scope(root=scope.root, paths=("pkg/core.py", "pkg/shell.py"))
    for part in (scope, group):
        found = await analyse_dead_code(part)
        printed = typed(found.tool.command.split("; ")[1], scope.root).splitlines()
        ours = [f"{f.path}:{f.line}: {f.message}" for f in found.findings if f.tool == "vulture"]
        assert sorted(ours) == sorted(printed)
        assert any("unused import 'os'" in line for line in ours)


def test_the_target_version_is_the_oldest_that_is_supported(tmp_path: Path) -> None:
    for declared, target in ((">=3.8.1", "py38"), (">=3.10,<4", "py310"), ("nonsense", f"py3{sys.version_info.minor}")):
        (tmp_path / "pyproject.toml").write_text(f"[project]\nrequires-python = '{declared}'\n")
        assert target_version(tmp_path) == target
