"""`analytics.metrics`: size (radon raw) and maintainability index (radon mi) of each file, and their totals.

`per_file_ref` -> `[{path, loc, lloc, sloc, comments, multi, blank, single_comments, mi, mi_rank, complexity, complexity_max}]`:
what `hotspots.py` and the report read. Must never change a file.
"""

import shlex
from typing import Any

from amas.agents.base import agent
from amas.agents.context import Context
from amas.agents.skills.complexity import blocks, radon
from amas.agents.skills.findings import Analysis, Scope, Tool, Unread, specialist
from amas.agents.skills.sources import cover, usable
from amas.agents.skills.tools import version_of
from amas.model.task import Json

SIZES = ("loc", "lloc", "sloc", "comments", "multi", "blank", "single_comments")
"""Radon's own names: lines, logical lines, source lines, comment lines, lines of multi-line strings, blank lines, ..."""


def per_file(
    sizes: dict[str, Any], indexes: dict[str, Any], found: dict[str, list[dict[str, Any]]]
) -> tuple[list[dict[str, Json]], list[Unread]]:
    """Return one row for each file that radon could read, and the others with its reason."""
    rows, failed = [], []
    for path, size in sorted(sizes.items()):
        if "error" in size:
            failed.append(Unread(path, str(size["error"])))
            continue
        values = [block["complexity"] for block in found.get(path, ())]
        index = indexes.get(path, {})
        rows.append(
            {
                "path": path,
                **{name: size[name] for name in SIZES},
                "mi": round(index.get("mi", 0.0), 2),
                "mi_rank": index.get("rank", ""),
                "complexity": sum(values),
                "complexity_max": max(values, default=0),
            }
        )
    return rows, failed


def total_figures(rows: list[dict[str, Json]]) -> dict[str, float]:
    """Return the sums over all files, the average index and how many files have each rank of it."""
    indexes = [row["mi"] for row in rows]
    return {
        "files": len(rows),
        **{name: sum(row[name] for row in rows) for name in SIZES},
        "mi_average": round(sum(indexes) / len(indexes), 2) if indexes else 0.0,
        "mi_min": min(indexes, default=0.0),
        **{f"mi_rank_{rank}": sum(row["mi_rank"] == rank for row in rows) for rank in "ABC"},
    }


async def analyse_metrics(scope: Scope) -> Analysis:
    """Measure the scope's files with radon."""
    root = scope.root.resolve()
    paths, failed = usable(scope, (".py",))
    named = shlex.join(cover(root, paths))
    tool = Tool("radon", version_of("radon"), f"radon raw --summary {named}; radon mi --show {named}")
    if not paths:
        return Analysis(tool=tool, failed=failed, figures=total_figures([]), artifacts={"per_file": []})
    sizes, indexes = await radon(root, paths, "raw"), await radon(root, paths, "mi")
    rows, broken = per_file(sizes, indexes, await blocks(root, paths))
    left_out = [Unread(path, "radon's configuration in the project leaves it out") for path in paths if path not in sizes]
    return Analysis(
        tool=tool,
        covered=[row["path"] for row in rows],
        failed=[*failed, *broken, *left_out],
        figures=total_figures(rows),
        artifacts={"per_file": rows},
    )


@agent("analytics.metrics")
async def metrics(ctx: Context) -> Json:
    """Measure size and maintainability of each file."""
    return await specialist(ctx, analyse_metrics)
