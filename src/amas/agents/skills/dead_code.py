"""`development.dead_code`: vulture over the whole root, reported for the scope's files, and ruff's F401, F811, F841, ERA.

Vulture must see every file that may use a name, so it always reads the whole root; its command filters by the scope's paths.
"""

import re
import shlex
from collections.abc import Sequence

import msgspec

from amas.agents.base import agent
from amas.agents.context import Context
from amas.agents.skills.findings import Analysis, Finding, Scope, Tool, specialist
from amas.agents.skills.programs import tool_output
from amas.agents.skills.ruff_review import Family, review
from amas.agents.skills.sources import cover, usable
from amas.agents.skills.tools import version_of
from amas.model.task import Json

UNUSED = Family("dead code", ("F401", "F811", "F841", "ERA"))

VULTURE = ("--config", "/dev/null", "--min-confidence", "80", ".")
"""At 60, its default, vulture reports every public function that the project itself doesn't call."""

_LINE = re.compile(r"(?P<path>.+?\.py):(?P<line>\d+): (?P<message>.+) \((?P<confidence>\d+)% confidence[^)]*\)")
_CODES = (0, 1, 3)
"""Nothing found, some files invalid, dead code found."""


def vulture_findings(printed: str, paths: Sequence[str]) -> list[Finding]:
    """Return vulture's lines about `paths` as findings; the rule is its message's first two words, joined."""
    wanted = set(paths)
    found = []
    for match in filter(None, map(_LINE.fullmatch, printed.splitlines())):
        if match["path"] in wanted:
            rule = "-".join(match["message"].split()[:2])
            message = f"{match['message']} ({match['confidence']}% confidence)"
            found.append(
                Finding(
                    rule=rule,
                    message=message,
                    path=match["path"],
                    line=int(match["line"]),
                    column=0,
                    severity="warning" if rule.startswith("unreachable") else "note",
                    category=UNUSED.category,
                    tool="vulture",
                )
            )
    return found


def vulture_command(named: Sequence[str]) -> str:
    """Return what to type for the lines about the files and folders in `named`."""
    command = shlex.join(["vulture", *VULTURE])
    if list(named) == ["."]:
        return command
    wanted = "|".join(f"{re.escape(name)}{':' if name.endswith('.py') else '/'}" for name in named)
    return f"{command} | {shlex.join(['grep', '-E', f'^({wanted})'])}"


async def analyse_dead_code(scope: Scope) -> Analysis:
    """Return what neither tool sees used."""
    unused = await review(scope, UNUSED)
    root = scope.root.resolve()
    paths, _ = usable(scope, (".py",))
    printed = await tool_output("vulture", *VULTURE, cwd=root, codes=_CODES) if paths else ""
    found = vulture_findings(printed, paths)
    command = f"{unused.tool.command}; {vulture_command(cover(root, paths))}"
    return msgspec.structs.replace(
        unused,
        tool=Tool("ruff and vulture", f"{unused.tool.version}, {version_of('vulture')}", command),
        findings=[*unused.findings, *found],
        figures=unused.figures | {"ruff": len(unused.findings), "vulture": len(found)},
    )


@agent("development.dead_code")
async def dead_code(ctx: Context) -> Json:
    """Find code that nothing uses."""
    return await specialist(ctx, analyse_dead_code)
