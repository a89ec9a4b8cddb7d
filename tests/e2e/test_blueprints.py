"""Every fleet that ships starts and does what it is for."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from command import Command

GOAL = "Review the code, run its tests, document its API and write a report"
FINE = '"""A module."""\n\n\ndef double(number: int) -> int:\n    """Return twice the number."""\n    return 2 * number\n'
TESTS = (
    "from a import double\n\n\ndef test_double():\n    assert double(2) == 4\n\n\ndef test_wrong():\n    assert double(2) == 5\n"
)


@pytest.mark.requirement("N1")
def test_the_eleven_of_noor_review_a_code_base(amas: Command, project: Callable[..., Path]) -> None:
    folder = project(**{"a.py": FINE, "test_a.py": TESTS})
    ended = amas("run", GOAL, "--fleet", "noor", "--input", str(folder), "--json")
    assert ended.returncode == 0, ended
    found = json.loads(ended.stdout)
    result = found["workflow"]["result"]
    figures = dict(result["table"])
    assert (figures["Tests passed"], figures["Tests failed"]) == ("1 of 2", "1")
    assert (result["approved"], result["signed_by"]) == (True, "aurora-1")
    assert all((Path(result["folder"]) / name).stat().st_size for name in ("report.html", "report.md"))
