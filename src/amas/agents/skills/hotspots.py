"""`analytics.hotspots`: the files where trouble is likeliest, ranked from what other specialists found.

Reads every `findings_ref` and `per_file_ref` in the task's input and in the results that it depends on, however deep. A file's
score is the geometric mean of two shares, both of the largest in the code base: the weight of its findings and its complexity;
100 would be the worst at both. A file without findings, or without branches, scores 0. Must never read the code itself.
"""

import math
import time
from collections.abc import Iterable, Iterator

import msgspec

from amas.agents.base import agent
from amas.agents.context import Context
from amas.agents.skills.findings import SEVERITIES, Analysis, By, Finding, Scope, Tool, load_findings, specialist_result
from amas.artifacts.store import ArtifactStore
from amas.model.task import Json

WEIGHTS = {"error": 10.0, "warning": 3.0, "note": 0.5}
"""An error weighs as much as twenty remarks about form; weights rank files and mean nothing else."""

HOTSPOTS_MAX = 20


class Hotspot(msgspec.Struct, frozen=True, kw_only=True):
    """A file and why it ranks."""

    path: str
    score: float
    errors: int
    warnings: int
    notes: int
    complexity: float
    lines: int


def references(value: Json, name: str) -> Iterator[str]:
    """Yield every string under the key `name` in a JSON value, at any depth."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if key == name and isinstance(inner, str):
                yield inner
            else:
                yield from references(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from references(inner, name)


def rank(findings: Iterable[Finding], measured: Iterable[dict[str, Json]]) -> list[Hotspot]:
    """Return the files by falling score, at most `HOTSPOTS_MAX`; the same finding by two capabilities counts once."""
    counts: dict[str, dict[str, int]] = {}
    places = {(f.path, f.line, f.column, f.rule): f for f in findings}
    for finding in places.values():
        counts.setdefault(finding.path, dict.fromkeys(SEVERITIES, 0))[finding.severity] += 1
    sizes = {str(row["path"]): row for row in measured}
    weights = {path: sum(WEIGHTS[severity] * n for severity, n in counted.items()) for path, counted in counts.items()}
    most_weight = max(weights.values(), default=0.0)
    most_complex = max((row["complexity"] for row in sizes.values()), default=0)
    ranked = []
    for path, weight in weights.items():
        row = sizes.get(path)
        if row is None or not most_complex or not row["complexity"]:
            continue
        score = 100 * math.sqrt(weight / most_weight * row["complexity"] / most_complex)
        ranked.append(
            Hotspot(
                path=path,
                score=round(score, 1),
                errors=counts[path]["error"],
                warnings=counts[path]["warning"],
                notes=counts[path]["note"],
                complexity=row["complexity"],
                lines=row["loc"],
            )
        )
    return sorted(ranked, key=lambda spot: (-spot.score, spot.path))[:HOTSPOTS_MAX]


def analyse_hotspots(store: ArtifactStore, found: Json) -> Analysis:
    """Return the ranking over everything that `found` refers to."""
    findings = [finding for ref in sorted(set(references(found, "findings_ref"))) for finding in load_findings(store, ref)]
    measured = [row for ref in sorted(set(references(found, "per_file_ref"))) for row in store.get_json(ref)]
    spots = rank(findings, measured)
    return Analysis(
        tool=Tool("amas", "", ""),
        covered=sorted({str(row["path"]) for row in measured}),
        figures={"hotspots": len(spots), "score_max": spots[0].score if spots else 0.0},
        fields={"hotspots": msgspec.to_builtins(spots)},
    )


@agent("analytics.hotspots")
async def hotspots(ctx: Context) -> Json:
    """Rank the files by findings and complexity."""
    group = str((ctx.input or {}).get("group", ""))
    scope = Scope(root=ctx.workspace, group=group)

    def work() -> Json:
        started = time.monotonic()
        analysis = analyse_hotspots(ctx.artifacts, [ctx.input, ctx.results])
        seconds = time.monotonic() - started
        return specialist_result(
            analysis, scope, by=By(ctx.spec.capability, ctx.id, ctx.agent_id), store=ctx.artifacts, seconds=seconds
        )

    return await ctx.step("analyse", work)
