"""`analytics.imports`: which module of the code base imports which, and the cycles among them.

Read from the syntax tree: nothing is imported, so broken or missing dependencies don't matter. Imports inside functions and under
`TYPE_CHECKING` count, as they do for grimp, whose graph tests compare this with. `graph_ref` -> `{module: [imported modules]}`.
"""

import ast
import asyncio
import platform
import warnings
from collections.abc import Iterator, Mapping
from pathlib import PurePosixPath
from typing import cast

from amas.agents.base import agent
from amas.agents.context import Context
from amas.agents.skills.findings import Analysis, Finding, Scope, Tool, Unread, specialist
from amas.agents.skills.sources import read_python, usable
from amas.model.task import Json

Graph = dict[str, set[str]]


def module_names(paths: list[str]) -> dict[str, str]:
    """Return the dotted name of each file as an import would say it: packages begin at the outermost `__init__.py`."""
    packages = {str(PurePosixPath(path).parent) for path in paths if PurePosixPath(path).stem == "__init__"}
    names = {}
    for path in map(PurePosixPath, paths):
        parts = [] if path.stem == "__init__" else [path.stem]
        folder = path.parent
        while str(folder) in packages and folder.name:
            parts.insert(0, folder.name)
            folder = folder.parent
        names[str(path)] = ".".join(parts) or path.stem
    return names


def imported(tree: ast.AST, module: str, *, is_package: bool) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield (module, names taken from it) for each import statement, relative ones made absolute."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, ()) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = module.split(".")
            up = node.level - is_package
            parents = base[: len(base) - up] if node.level else []
            target = ".".join([*parents, *([node.module] if node.module else [])])
            yield target, tuple(alias.name for alias in node.names)


def resolve(target: str, names: tuple[str, ...], known: frozenset[str]) -> set[str]:
    """Return the known modules that an import statement reaches: `from a import b` is `a.b` where that is a module, else `a`."""
    if not names:
        return {target} & known
    deeper = {f"{target}.{name}" for name in names} & known
    plain = {target} & known if len(deeper) < len(set(names)) else set()
    return deeper | plain


def import_graph(texts: Mapping[str, str]) -> tuple[Graph, list[Unread]]:
    """Return module -> modules of the same code base that it imports, and the files that don't parse."""
    names = module_names(sorted(texts))
    known = frozenset(names.values())
    graph: Graph = {name: set() for name in known}
    failed = []
    for path, text in sorted(texts.items()):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(text, path)
        except (SyntaxError, ValueError, RecursionError) as error:
            failed.append(Unread(path, f"doesn't parse: {error}"))
            continue
        module = names[path]
        for target, taken in imported(tree, module, is_package=PurePosixPath(path).stem == "__init__"):
            graph[module] |= resolve(target, taken, known) - {module}
    return graph, failed


def reachable(graph: Graph, start: str) -> set[str]:
    """Return what can be reached from a module by one import or more; itself only where it lies on a circle."""
    seen: set[str] = set()
    waiting = list(graph[start])
    while waiting:
        module = waiting.pop()
        if module not in seen:
            seen.add(module)
            waiting += graph[module]
    return seen


def find_cycles(graph: Graph) -> list[list[str]]:
    """Return the sets of modules that import each other in a circle, largest first.

    Modules that lie on no circle are peeled off first, so the quadratic search sees few.
    """
    left = _peeled(graph)
    reach = {module: reachable(left, module) for module in left}
    cycles = {
        tuple(sorted(other for other in reached if module in reach[other]))
        for module, reached in reach.items()
        if module in reached
    }
    return sorted((list(cycle) for cycle in cycles), key=lambda cycle: (-len(cycle), cycle))


def _peeled(graph: Graph) -> Graph:
    """Return the graph without the modules that import nothing, and then again, until every one left imports another."""
    left = {module: set(targets) for module, targets in graph.items()}
    importers: Graph = {module: set() for module in graph}
    for module, targets in graph.items():
        for target in targets:
            importers[target].add(module)
    leaves = [module for module, targets in left.items() if not targets]
    while leaves:
        leaf = leaves.pop()
        del left[leaf]
        for importer in importers[leaf]:
            if importer in left:
                left[importer].discard(leaf)
                if not left[importer]:
                    leaves.append(importer)
    return left


def analyse_texts(texts: Mapping[str, str], unread: list[Unread]) -> Analysis:
    """Return the graph of the files' imports with its cycles as findings."""
    graph, failed = import_graph(texts)
    cycles = find_cycles(graph)
    paths = {name: path for path, name in module_names(sorted(texts)).items()}
    broken = {file.path for file in failed}
    findings = [
        Finding(
            rule="import-cycle",
            message=f"{len(cycle)} modules import each other in a circle: {', '.join(cycle)}",
            path=paths[cycle[0]],
            line=0,
            column=0,
            severity="warning",
            category="structure",
            tool="amas",
        )
        for cycle in cycles
    ]
    return Analysis(
        tool=Tool("ast", platform.python_version(), ""),
        covered=[path for path in sorted(texts) if path not in broken],
        failed=[*unread, *failed],
        findings=findings,
        figures={"modules": len(graph), "imports": sum(map(len, graph.values())), "cycles": len(cycles)},
        fields={"cycles": cast(Json, cycles)},
        artifacts={"graph": {name: sorted(targets) for name, targets in sorted(graph.items())}},
    )


def read_and_analyse(scope: Scope) -> Analysis:
    """Read the scope's files and return what `analyse_texts` says about them."""
    paths, unread = usable(scope, (".py",))
    texts: dict[str, str] = {}
    for path in paths:
        try:
            texts[path] = read_python(scope.root / path)
        except ValueError as error:
            unread.append(Unread(path, str(error)))
    return analyse_texts(texts, unread)


@agent("analytics.imports")
async def imports(ctx: Context) -> Json:
    """Find who imports whom, and the circles."""
    return await specialist(ctx, lambda scope: asyncio.to_thread(read_and_analyse, scope))
