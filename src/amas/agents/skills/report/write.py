"""`reporting.write`: gathers the parts, composes the report and writes the deliverable's files into the task's workspace.

Files: report.md, report.html, findings.json, report.json (figures, problems, tasks), tests.json and api/*.md where there are any.
Result: `{folder, files: [...], summary: {headline, figures}, table: [[label, value], ...]}`.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import msgspec

from amas.agents.base import agent
from amas.agents.context import Context
from amas.agents.skills.api_pages import page_name
from amas.agents.skills.report.compose import compose
from amas.agents.skills.report.gather import Material, gather
from amas.agents.skills.report.model import Report
from amas.agents.skills.report.render import to_html, to_markdown
from amas.agents.skills.report.section_tests import all_tests
from amas.artifacts.store import ArtifactStore
from amas.errors import GiveUp
from amas.model.task import Json


def write_report(
    task_input: Mapping[str, Any], results: Mapping[str, Json], artifacts: ArtifactStore, folder: Path
) -> dict[str, Json]:
    """Write the deliverable into `folder` and return the task's result."""
    material = gather(task_input, results, artifacts)
    report = compose(material)
    files = deliverable(material, report)
    try:
        for name, blob in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(blob)
    except OSError as error:
        raise GiveUp(f"the report can't be written to {folder}: {error.strerror or error}", code="output_unusable") from error
    return {
        "folder": str(folder),
        "files": list(files),
        "summary": {
            "headline": report.headline,
            "text": report.summary,
            **{figure.label: figure.value for figure in report.figures},
        },
        "table": [[figure.label, figure.value] for figure in report.figures],
    }


def deliverable(material: Material, report: Report) -> dict[str, bytes]:
    """Return the deliverable's files by name."""
    files = {
        "report.md": _text(to_markdown(report)),
        "report.html": _text(to_html(report)),
        "findings.json": _json([{**msgspec.to_builtins(found.finding), "tasks": found.task_ids} for found in material.findings]),
        "report.json": _json(_for_machines(material, report)),
    }
    if tests := all_tests(material):
        files["tests.json"] = _json(tests)
    for result in material.done("documentation.api_docs"):
        pages = material.load(result, "pages")
        for name, page in pages.items() if isinstance(pages, dict) else ():
            files[f"api/{page_name(str(name).removesuffix('.md'))}"] = _text(str(page))
    return files


@agent("reporting.write")
async def write(ctx: Context) -> Json:
    """Write the report on the parts in the task's results."""
    given = ctx.input if isinstance(ctx.input, dict) else {}
    folder = ctx.workspace / "report"
    return await ctx.step("write", lambda: write_report(given, _results(ctx), ctx.artifacts, folder))


def _results(ctx: Context) -> dict[str, Json]:
    """Return the results to report on: those that the task needs, and those that its lead hands on in `results_ref`."""
    reference = ctx.input.get("results_ref") if isinstance(ctx.input, dict) else None
    if not isinstance(reference, str):
        return ctx.results
    return {**cast(dict[str, Json], ctx.artifacts.get_json(reference)), **ctx.results}


def _for_machines(material: Material, report: Report) -> dict[str, Json]:
    return {
        "goal": material.goal,
        "source": material.source,
        "headline": report.headline,
        "figures": [{"label": one.label, "value": one.value, "tasks": [ref.short for ref in one.refs]} for one in report.figures],
        "parts": [
            {
                "part": part.name,
                "title": part.title,
                "lead": part.lead,
                "accepted": part.accepted,
                "score": part.score,
                "rounds": part.rounds,
            }
            for part in material.parts
        ],
        "notes": list(material.notes),
        "problems": msgspec.to_builtins(material.problems),
        "tasks": msgspec.to_builtins(list(material.tasks.values())),
    }


def _json(value: Json) -> bytes:
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def _text(value: str) -> bytes:
    return value.encode("utf-8", errors="backslashreplace")
