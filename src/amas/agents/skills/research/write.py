"""`research.write`: the deliverable of a research goal, from the part that the gate passed on.

Files: report.md, report.html, citations.json (every source with its quote), findings.json, report.json; deck.html and deck.pptx
where the goal asks for a presentation. Result: `{folder, files, summary, table}`, as `reporting.write` gives it.
"""

import re
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from amas.agents.base import agent
from amas.agents.context import Context
from amas.agents.skills.findings import load_findings
from amas.agents.skills.rendering import environment
from amas.agents.skills.research.compose import Found, Research, compose
from amas.agents.skills.research.deck import numbers, to_pptx
from amas.agents.skills.research.found import stored
from amas.agents.skills.research.passages import Claim, Table
from amas.agents.skills.safe_text import md, plain
from amas.artifacts.store import ArtifactStore
from amas.errors import GiveUp
from amas.model.task import Json

if TYPE_CHECKING:
    import jinja2

_WANTS_DECK = re.compile(r"\b(?:presentations?|slides?|decks?|powerpoint|pptx)\b", re.IGNORECASE)
_STYLES = Path(__file__).parents[1] / "report" / "templates"
"""The report's style sheet is the code report's."""


def write_research(given: Mapping[str, Any], results: Mapping[str, Json], store: ArtifactStore, folder: Path) -> dict[str, Json]:
    """Write the deliverable into `folder` and return the task's result."""
    parts = [value for value in results.values() if isinstance(value, dict) and "specialists" in value]
    found = _found(given, results, parts, store)
    report = compose(found)
    files = {
        "report.md": _render("research.md.j2", report).encode("utf-8", "backslashreplace"),
        "report.html": _render("research.html.j2", report).encode("utf-8", "backslashreplace"),
        "citations.json": _json(msgspec.to_builtins(report.sources)),
        "findings.json": _json(_findings(parts, store)),
        "report.json": _json(_for_machines(report, parts)),
    }
    if _WANTS_DECK.search(report.goal):
        files["deck.html"] = _render("deck.html.j2", report).encode("utf-8", "backslashreplace")
        files["deck.pptx"] = to_pptx(report)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, blob in files.items():
            (folder / name).write_bytes(blob)
    except OSError as error:
        raise GiveUp(f"the report can't be written to {folder}: {error.strerror or error}", code="output_unusable") from error
    table = [
        ["Documents", str(found.documents)],
        ["Statements", str(len(report.statements) + len(report.figures))],
        ["Tables", str(len(report.tables))],
        ["Sources cited", str(len(report.sources))],
    ]
    return {
        "folder": str(folder),
        "files": list(files),
        "summary": {"headline": report.headline, "text": report.headline, **dict(table)},
        "table": table,
    }


@agent("research.write")
async def write(ctx: Context) -> Json:
    """Write the report on the parts that the lead hands on in `results_ref`."""
    given = ctx.input if isinstance(ctx.input, dict) else {}
    reference = given.get("results_ref")
    results = ctx.artifacts.get_json(reference) if isinstance(reference, str) else ctx.results
    folder = ctx.workspace / "report"
    return await ctx.step("write", lambda: write_research(given, results, ctx.artifacts, folder))


def _found(given: Mapping[str, Any], results: Mapping[str, Json], parts: list[dict[str, Any]], store: ArtifactStore) -> Found:
    ingest = results.get("ingest")
    taken: dict[str, Any] = ingest if isinstance(ingest, dict) else {}
    by_capability: dict[str, dict[str, Json]] = {}
    for number, result in enumerate(result for part in parts for result in part["specialists"]):
        by_capability.setdefault(str(result.get("capability")), {})[f"{number:06d}"] = result
    unread = [
        {"path": finding.path, "reason": finding.message}
        for result in by_capability.get("research.read", {}).values()
        for finding in load_findings(store, str(result["findings_ref"]))
    ]
    return Found(
        goal=str(given.get("goal") or ""),
        documents=sum(int(result["figures"]["documents"]) for result in by_capability.get("research.read", {}).values()),
        claims=stored(by_capability.get("research.extract", {}), "claims", Claim, store),
        figures=stored(by_capability.get("research.tables", {}), "claims", Claim, store),
        tables=stored(by_capability.get("research.tables", {}), "chosen", Table, store),
        unread=[*unread, *(taken.get("skipped") or [])],
        missing=[each for part in parts for each in part.get("missing") or []],
        notes=[str(note) for note in given.get("notes") or []],
    )


def _findings(parts: list[dict[str, Any]], store: ArtifactStore) -> Json:
    found = {
        (one.rule, one.path, one.line, one.column, one.message): one
        for part in parts
        for result in part["specialists"]
        for one in load_findings(store, str(result["findings_ref"]))
    }
    return msgspec.to_builtins(list(found.values()))


def _for_machines(report: Research, parts: list[dict[str, Any]]) -> dict[str, Json]:
    fields = ("part", "title", "lead", "accepted", "score", "rounds")
    return {
        "goal": report.goal,
        "headline": report.headline,
        "claims": msgspec.to_builtins([*report.statements, *report.figures]),
        "parts": [{name: part.get(name) for name in fields} for part in parts],
        "unread": msgspec.to_builtins(report.unread),
        "notes": report.notes,
    }


def _render(template: str, report: Research) -> str:
    return _environment(html=".html." in template).get_template(template).render(report=report)


@cache
def _environment(*, html: bool) -> "jinja2.Environment":
    folders = [Path(__file__).parent / "templates", _STYLES]
    return environment(
        folders,
        html=html,
        plain=lambda value: plain(value, chars_max=2000),
        md=lambda value: md(value, chars_max=2000),
        marks=numbers,
    )


def _json(value: Json) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"
