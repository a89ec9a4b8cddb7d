"""`development.complexity`: ruff's limits (C901, PLR09) as findings, radon's cyclomatic complexity as figures.

`blocks()` is also what `metrics.py` takes its per-file complexity from. Must never change a file.
"""

import shlex
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from amas.agents.base import agent
from amas.agents.context import Context
from amas.agents.skills.findings import Analysis, Scope, Tool, specialist
from amas.agents.skills.programs import tool_output
from amas.agents.skills.ruff_review import Family, review
from amas.agents.skills.sources import cover, usable
from amas.agents.skills.tools import version_of
from amas.model.task import Json

LIMITS = Family("complexity", ("C901", "PLR09"))
RANKS = "ABCDEF"
"""Radon's letters, simplest first: A up to 5, B 10, C 20, D 30, E 40, F more."""


async def radon(root: Path, paths: list[str], command: str) -> dict[str, Any]:
    """Return what `radon COMMAND --json` says for each file."""
    printed = await tool_output("radon", command, "--json", *cover(root, paths), cwd=root)
    found: dict[str, Any] = msgspec.json.decode(printed)
    return {str(PurePosixPath(path)): said for path, said in found.items()}


async def blocks(root: Path, paths: list[str]) -> dict[str, list[dict[str, Any]]]:
    """Return radon's functions, methods and classes by file; a file that it can't parse, or without any, is missing."""
    return {path: said for path, said in (await radon(root, paths, "cc")).items() if isinstance(said, list)}


def complexity_figures(found: dict[str, list[dict[str, Any]]]) -> dict[str, float]:
    """Return the totals that `radon cc --average` prints, the largest one, and how many blocks have each rank."""
    values = [block["complexity"] for said in found.values() for block in said]
    ranks = [block["rank"] for said in found.values() for block in said]
    return {
        "blocks": len(values),
        "complexity_average": round(sum(values) / len(values), 4) if values else 0.0,
        "complexity_max": max(values, default=0),
        **{f"rank_{rank}": ranks.count(rank) for rank in RANKS},
    }


async def analyse_complexity(scope: Scope) -> Analysis:
    """Return ruff's findings with radon's figures."""
    limits = await review(scope, LIMITS)
    root = scope.root.resolve()
    paths, _ = usable(scope, (".py",))
    found = await blocks(root, paths) if paths else {}
    command = f"{limits.tool.command}; {shlex.join(['radon', 'cc', '--average', *cover(root, paths)])}"
    return msgspec.structs.replace(
        limits,
        tool=Tool("ruff and radon", f"{limits.tool.version}, {version_of('radon')}", command),
        figures=limits.figures | complexity_figures(found),
    )


@agent("development.complexity")
async def complexity(ctx: Context) -> Json:
    """Find what is too complex and measure the rest."""
    return await specialist(ctx, analyse_complexity)
