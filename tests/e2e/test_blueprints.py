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


@pytest.mark.requirement("M1", "M2")
def test_mas_starts_in_order_and_goes_on_where_a_start_was_told_to_stop(amas: Command, project: Callable[..., Path]) -> None:
    def sizes() -> dict[str, int]:
        return {pool["pool"]: pool["agents"]["total"] for pool in json.loads(amas("ps", "--json").stdout)["items"]}

    first = amas("up", "--fleet", "mas", "--phase", "learning-agent")
    assert first.returncode == 0, first
    assert [line.partition("  ")[0] for line in first.stdout.splitlines()[:3]] == [
        "✓ stage 1: resource-manager", "✓ stage 2: monitoring-agent", "✓ stage 3: learning-agent",
    ]  # fmt: skip
    assert sizes() == {"resource-manager": 2, "monitoring-agent": 3, "learning-agent": 2}
    rest = amas("up")
    assert rest.returncode == 0, rest
    whole = sizes()
    assert 3 <= whole.pop("task-executor") <= 20, "they follow their work"
    assert 3 <= whole.pop("coordinator") <= 6, "they do, too"
    assert whole == {"resource-manager": 2, "monitoring-agent": 3, "learning-agent": 2}
    hosts = {agent["agent_id"]: agent["host_id"] for agent in json.loads(amas("agents", "--json").stdout)["items"]}
    assert {hosts[f"learning-agent-{number}"] for number in (1, 2)} == {"host-2"}, "the one with the label gpu"
    folder = project(**{"a.py": FINE, "test_a.py": TESTS})
    ended = amas("run", GOAL, "--input", str(folder), "--json")
    assert json.loads(ended.stdout)["workflow"]["result"]["approved"] is True
    limit = json.loads(amas("scaling", "learning-agent", "--json").stdout)["limit"]
    assert (limit["memory_mb"], limit["max_mb"]) == (8192, 32_768)
    stopped = amas("down").stdout.splitlines()
    assert [line.partition("  ")[0] for line in stopped[:2]] == [
        "✓ stage 5: task-executor stopped",
        "✓ stage 4: coordinator stopped",
    ]


@pytest.mark.requirement("T1", "T2")
def test_the_specialists_of_tta_answer_a_question_together_and_who_has_no_skill_says_so(amas: Command, tmp_path: Path) -> None:
    documents = tmp_path / "documents"
    documents.mkdir()
    (documents / "note.md").write_text("# Prices\n\nThe competitor pricing went up by 5 % in May.\n")
    (documents / "prices.csv").write_text("Competitor,Pricing\nAcme,$20\nGlobex,$35\n")
    assert amas("up", "--fleet", "tta").returncode == 0
    ended = amas("run", "Research competitor pricing and create report", "--input", str(documents), "--json")
    assert ended.returncode == 0, ended
    result = json.loads(ended.stdout)["workflow"]["result"]
    assert (result["approved"], result["signed_by"]) == (True, "policy-manager-1")
    report = (Path(result["folder"]) / "report.md").read_text()
    assert "The competitor pricing went up by 5 % in May." in report and "Globex" in report
    pools = {pool["pool"]: pool["skill"] for pool in json.loads(amas("ps", "--json").stdout)["items"]}
    assert {name for name, skill in pools.items() if skill == "none"} == {
        "input-processor",
        "world-builder",
        "narrative-generator",
    }
    restarted = amas("restart", "reader-1", "--why", "it leaks")
    assert (restarted.returncode, restarted.stdout.strip()) == (0, "reader-1 is made anew"), restarted
    unknown = amas("restart", "reader-9")
    assert unknown.returncode != 0 and "there is no agent reader-9: reader has the numbers 1 to 2" in unknown.stderr, unknown
    assert "proxy" not in pools, "a proxy is registered where the fleet's file enables it"
