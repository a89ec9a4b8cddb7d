"""The walls of CONTRIBUTING.md: lengths of files and functions, and nothing left for later."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = sorted(path for folder in ("src", "tests", "benchmarks") for path in (ROOT / folder).rglob("*.py"))
FILE_LINES_MAX = 600
TEST_FILE_LINES_MAX = 900
FUNCTION_LINES_MAX = 60
UNFINISHED = re.compile(r"\b(TO" r"DO|FIX" r"ME|XX" r"X)\b|raise Not" r"Implemented")


def _functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_stays_within_the_walls(path: Path) -> None:
    text = path.read_text()
    limit = FILE_LINES_MAX if path.is_relative_to(ROOT / "src") else TEST_FILE_LINES_MAX
    assert text.count("\n") <= limit
    long = [
        f"{node.name} ({node.end_lineno - node.lineno + 1})"
        for node in _functions(path)
        if node.end_lineno and node.end_lineno - node.lineno >= FUNCTION_LINES_MAX
    ]
    assert not long, f"functions over {FUNCTION_LINES_MAX} lines: {long}"
    assert not UNFINISHED.search(text), "nothing in the code is for later"


def test_server_functions_say_who_calls_them() -> None:
    """Every registered function has a header that begins with its name."""
    for path in (ROOT / "src/amas/engine/functions").glob("*.lua"):
        text = path.read_text()
        for name in re.findall(r"register_function\('amas1_(\w+)'", text):
            assert re.search(rf"^ *-- {name}: ", text, re.MULTILINE), f"{path.name}: {name} has no header"
