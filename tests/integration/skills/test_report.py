"""The report from parts as the quality gate passes them on, hostile names included."""

import re
from html.parser import HTMLParser
from pathlib import Path

import msgspec
import pytest
from markdown_it import MarkdownIt

from amas.agents.skills.findings import Analysis, By, Finding, Scope, Tool, Unread, specialist_result
from amas.agents.skills.report.write import write_report
from amas.artifacts.store import ArtifactStore

EVIL = "<img src=x onerror=alert(1)>|`[x](javascript:alert(1))"


def finding(rule: str, severity: str, line: int) -> Finding:
    return Finding(
        rule=rule, message=EVIL, path=f"src/{EVIL}.py", line=line, column=1, severity=severity, category="x", tool="ruff"
    )


@pytest.fixture
def results(tmp_path: Path) -> dict:
    store, scope = ArtifactStore(tmp_path / "store"), Scope(root=tmp_path, group=EVIL)

    def done(task_id: str, capability: str, analysis: Analysis) -> dict:
        return specialist_result(analysis, scope, by=By(capability, task_id, "agent-1"), store=store, seconds=1.5)

    found = [finding("S1", "note", 1), *(finding("F1", "error", line) for line in range(2, 60))]
    review = Analysis(tool=Tool("ruff", "1", "ruff check"), findings=found, failed=[Unread(EVIL, EVIL)])
    tests = [{"id": f"t.py::{EVIL}", "outcome": "failed", "seconds": 0.1, "message": f"E   {EVIL}"}]
    run = Analysis(
        tool=Tool("pytest", "8", "pytest"),
        fields={"outcomes": {"passed": 3, "failed": 1}, "ended": "timed_out", "running_test": EVIL, "tail": f"```\n{EVIL}"},
        artifacts={"tests": tests},
    )
    gate = {
        "lead": "management.technical",
        "accepted": True,
        "score": 0.9,
        "rounds": 1,
        "checks": [{"name": EVIL, "score": 1, "note": EVIL}],
    }
    return {
        "ingest": {"files": 3, "python_files": 2, "lines": 40},
        "review": {
            **gate,
            "part": "review",
            "specialists": [
                done("0193-aaaaaa", "development.code_review", review),
                done("0193-bbbbbb", "development.style", review),
            ],
        },
        "testing": {**gate, "part": "testing", "accepted": False, "specialists": [done("0193-cccccc", "testing.run", run)]},
        "strange": {"summary": EVIL, "figures": {EVIL: 7}},
    }


def write(results: dict, tmp_path: Path) -> tuple[dict, Path]:
    folder = tmp_path / "out"
    made = write_report({"goal": EVIL, "source": EVIL, "root": ""}, results, ArtifactStore(tmp_path / "store"), folder)
    return made, folder


class Page(HTMLParser):
    """Collects tags, identifiers and addresses, and fails on what isn't closed."""

    def __init__(self) -> None:
        super().__init__()
        self.tags, self.ids, self.links, self.open = [], [], [], []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        named = dict(attrs)
        self.tags.append((tag, named))
        self.ids += [named["id"]] if "id" in named else []
        self.links += [named[key] for key in ("href", "src") if key in named]
        if tag not in {"meta", "br", "img", "link"}:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_html_is_whole_safe_and_needs_no_network(results: dict, tmp_path: Path) -> None:
    _, folder = write(results, tmp_path)
    text = (folder / "report.html").read_text()
    page = Page()
    page.feed(text)
    assert page.open == []
    assert not {"script", "img", "iframe", "link"} & {tag for tag, _ in page.tags}
    assert not [key for _, attrs in page.tags for key in attrs if key.startswith("on")]
    assert len(page.ids) == len(set(page.ids))
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert not [link for link in page.links if ":" in link]
    assert sum(tag == "svg" for tag, _ in page.tags) == 3


def test_markdown_is_safe(results: dict, tmp_path: Path) -> None:
    _, folder = write(results, tmp_path)
    page = MarkdownIt("gfm-like", {"linkify": False, "html": True}).render((folder / "report.md").read_text())
    assert "<img" not in page
    assert not re.search(r'href="(?!#|api/)', page)
    assert "<table>" in page


def test_every_key_figure_names_tasks_and_the_lists_are_complete(results: dict, tmp_path: Path) -> None:
    made, folder = write(results, tmp_path)
    machine = msgspec.json.decode((folder / "report.json").read_bytes())
    assert [one["tasks"] for one in machine["figures"] if one["label"] not in {"Files", "Python files", "Lines"}] != []
    assert all(one["tasks"] for one in machine["figures"] if one["label"].endswith(("found", "passed", "failed")))
    found = msgspec.json.decode((folder / "findings.json").read_bytes())
    assert len(found) == 59
    assert found[0]["severity"] == "error"
    assert found[0]["tasks"] == ["0193-aaaaaa", "0193-bbbbbb"]
    assert ["Errors found", "58"] in made["table"]
    assert ["Tests passed", "3 of 4"] in made["table"]
    assert set(made["files"]) == {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_hang_is_said_in_the_headline_and_among_the_problems(results: dict, tmp_path: Path) -> None:
    made, folder = write(results, tmp_path)
    assert "a test run that hung" in made["summary"]["headline"]
    assert "hung" in (folder / "report.md").read_text().split("## What couldn't be done")[1]


@pytest.mark.parametrize(
    "left", [{}, {"strange": {"part": "x"}}, {"review": {"specialists": [{"findings_ref": "sha256:" + "0" * 64}]}}]
)
def test_missing_parts_give_less_of_a_report(left: dict, tmp_path: Path) -> None:
    made, folder = write(left, tmp_path)
    assert (folder / "report.html").stat().st_size > 1000
    assert made["summary"]["headline"]
