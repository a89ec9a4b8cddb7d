"""How much of the public API has a docstring, per module; what counts is said in `api_docs.py`.

Attributes are left out, unlike in `api_docs`: Python has no docstring for them, so counting them would blame everyone.
`__init__` and other special methods count only where they have a docstring: their class's says what they do.
Called by the hosts for `documentation.coverage`. Must never import the code under review.
"""

import asyncio
from collections.abc import Iterator, Sequence

import msgspec

from amas.agents.base import agent
from amas.agents.context import Context
from amas.agents.skills.api_docs import ApiObject, covered_files, griffe_tool, packages_of, read_packages
from amas.agents.skills.findings import Analysis, Finding, Scope, specialist
from amas.errors import GiveUp
from amas.model.task import Json

_WORDS = {"modules": "module", "classes": "class", "functions": "function", "methods": "method"}


class ModuleCoverage(msgspec.Struct, frozen=True):
    """One module's share of documented public objects."""

    module: str
    file: str
    public: int
    documented: int
    share: float
    """0 to 1; 1 where there is nothing public."""


def coverage(trees: Sequence[ApiObject]) -> list[ModuleCoverage]:
    """Return each public module's coverage, the worst first."""
    rows = [_module_coverage(module) for tree in trees for module in tree.walk() if module.kind == "modules" and module.public]
    return sorted(rows, key=lambda row: (row.share, -row.public, row.module))


def undocumented(trees: Sequence[ApiObject]) -> list[Finding]:
    """Return a note for each public object without a docstring."""
    return [
        Finding(
            rule="undocumented",
            message=f"{_WORDS[found.kind]} {found.path} is public and has no docstring",
            path=found.file,
            line=found.line,
            column=0,
            severity="note",
            category="documentation",
            tool="griffe",
        )
        for tree in trees
        for found in tree.walk()
        if _counts(found) and not found.docstring
    ]


def assess(scope: Scope) -> Analysis:
    """Return the share of public objects with a docstring, in all and per module."""
    packages = packages_of(scope.options)
    trees, failed = read_packages(scope.root, packages)
    if not trees:
        raise GiveUp(f"no package can be assessed: {failed[0].reason}", code="input_unusable")
    rows = coverage(trees)
    counted = [found for tree in trees for found in tree.walk() if _counts(found)]
    documented = sum(bool(found.docstring) for found in counted)
    return Analysis(
        tool=griffe_tool(packages),
        covered=covered_files(trees),
        failed=failed,
        findings=undocumented(trees),
        figures={
            "public_objects": len(counted),
            "documented_objects": documented,
            "docstring_coverage": _share(documented, len(counted)),
        },
        artifacts={"modules": msgspec.to_builtins(rows)},
    )


@agent("documentation.coverage")
async def doc_coverage(ctx: Context) -> Json:
    """Measure how much of the packages' public API has docstrings."""
    return await specialist(ctx, lambda scope: asyncio.to_thread(assess, scope))


def _module_coverage(module: ApiObject) -> ModuleCoverage:
    counted = [found for found in _own(module) if _counts(found)]
    documented = sum(bool(found.docstring) for found in counted)
    return ModuleCoverage(module.path, module.file, len(counted), documented, _share(documented, len(counted)))


def _own(module: ApiObject) -> Iterator[ApiObject]:
    """Return the module and what is in it, but no submodules."""
    yield module
    for member in module.members:
        if member.kind != "modules":
            yield from member.walk()


def _counts(found: ApiObject) -> bool:
    special = found.name.startswith("__") and found.name.endswith("__") and found.kind != "modules"
    return found.public and found.kind != "attributes" and (not special or bool(found.docstring))


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 1.0
