"""A package's API from its source alone: griffe reads it, nothing of it is imported or run.

What counts, so that walking griffe by hand gives the same numbers: every object that griffe holds under a package and that isn't
an alias (an imported name), in five kinds. A *function* sits in a module, a *method* in a class; a property is an *attribute*, as
is a type alias; overloads of one name are one object. Functions inside functions are no API and griffe doesn't list them.

An object is *public* when griffe calls it public and all that it lies in is public; or when a public module's `__all__` names it,
wherever it lives (so `_impl.py` may hold the public `Client`). *Documented* is a public object with a docstring.

Called by the hosts for `documentation.api_docs` and by `doc_coverage.py`. Must never import the code under review.
"""

import ast
import asyncio
import shlex
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from amas.agents.base import agent
from amas.agents.context import Context
from amas.agents.skills.api_pages import api_pages
from amas.agents.skills.findings import Analysis, Scope, Tool, Unread, specialist
from amas.errors import GiveUp
from amas.model.task import Json

if TYPE_CHECKING:
    import griffe

KINDS = ("modules", "classes", "functions", "methods", "attributes")
ALIAS_HOPS_MAX = 20
EXAMPLES = {"doc", "docs", "example", "examples", "benchmarks"}
"""Packages in such folders show how the API is used; they are none of it."""
"""A re-export of a re-export; longer chains are loops."""


class Package(msgspec.Struct, frozen=True):
    """One importable package or single-file module of the reviewed project."""

    name: str
    path: str
    """Relative to the root: a folder with Python files, or one `.py` file."""
    files: list[str] = []
    """Its Python files, relative to the root; those that griffe couldn't read are reported."""


class ApiObject(msgspec.Struct, frozen=True, kw_only=True):
    """One module, class, function, method or attribute."""

    kind: str
    """One of `KINDS`."""
    path: str
    """Dotted, from the package on."""
    signature: str
    """`(a, b=1) -> int` for what can be called, `: int = 3` for an attribute, empty otherwise."""
    docstring: str
    public: bool
    file: str
    """Relative to the root."""
    line: int
    members: list["ApiObject"]

    @property
    def name(self) -> str:
        """Return the last part of the path."""
        return self.path.rpartition(".")[2]

    def walk(self) -> Iterator["ApiObject"]:
        """Return this object and all below it, outer before inner."""
        yield self
        for member in self.members:
            yield from member.walk()


class ApiCounts(msgspec.Struct, frozen=True):
    """How much API there is, by kind."""

    all: dict[str, int]
    public: dict[str, int]
    documented: dict[str, int]
    """Public and with a docstring."""


def read_api(root: Path, package: Package) -> ApiObject:
    """Return the package as a tree; GiveUp (`input_unusable`) when griffe can't read it."""
    import griffe

    where = root / package.path
    loader = griffe.GriffeLoader(search_paths=[where.parent], allow_inspection=False)
    try:
        with griffe.logger.disable():
            module = loader.load(where.stem if where.is_file() else where.name, try_relative_path=False)
    except (ImportError, SyntaxError, OSError, ValueError, LookupError, RecursionError) as error:
        raise GiveUp(f"griffe can't read the package {package.path}: {error}", code="input_unusable") from error
    return _Reader(root, module).tree()


def count_api(trees: Sequence[ApiObject]) -> ApiCounts:
    """Return how many objects of each kind there are, how many of them public, and how many of those documented."""
    objects = [found for tree in trees for found in tree.walk()]
    public = [found for found in objects if found.public]
    return ApiCounts(_by_kind(objects), _by_kind(public), _by_kind([found for found in public if found.docstring]))


def unread_files(root: Path, package: Package, tree: ApiObject) -> list[Unread]:
    """Return the package's files that are missing from the tree, each with the reason."""
    seen = {found.file for found in tree.walk() if found.kind == "modules"}
    return [Unread(path, _why_unread(root / path)) for path in package.files if path not in seen and path.endswith(".py")]


def packages_of(options: dict[str, Json]) -> list[Package]:
    """Return the packages that a task's input names, examples left out where there are others.

    GiveUp (`input_unusable`) when there are none or they have another shape.
    """
    try:
        packages = msgspec.convert(options.get("packages") or [], type=list[Package])
    except msgspec.ValidationError as error:
        raise GiveUp(f"the task's input is wrong: packages: {error}", code="input_unusable") from error
    if not packages:
        raise GiveUp("the project has no package to document", code="input_unusable")
    return [package for package in packages if not EXAMPLES & set(Path(package.path).parts[:-1])] or packages


def read_packages(root: Path, packages: Sequence[Package]) -> tuple[list[ApiObject], list[Unread]]:
    """Return the trees of all packages that can be read, and the files of those that can't."""
    trees, failed = [], []
    for package in packages:
        try:
            tree = read_api(root, package)
        except GiveUp as error:
            failed += [Unread(path, str(error)) for path in package.files or [package.path]]
            continue
        trees.append(tree)
        failed += unread_files(root, package, tree)
    return trees, failed


def griffe_tool(packages: Sequence[Package]) -> Tool:
    """Return griffe's name and version and the command that dumps the same objects."""
    from importlib.metadata import version

    folders = dict.fromkeys(str(Path(package.path).parent) for package in packages)
    searched = " ".join(f"-s {shlex.quote(folder)}" for folder in folders)
    return Tool("griffe", version("griffe"), f"griffe dump {searched} " + " ".join(package.name for package in packages))


def covered_files(trees: Sequence[ApiObject]) -> list[str]:
    """Return the files that were read, sorted."""
    return sorted({found.file for tree in trees for found in tree.walk() if found.kind == "modules" and found.file})


def document(scope: Scope) -> Analysis:
    """Return the API's counts and one Markdown page per module."""
    packages = packages_of(scope.options)
    trees, failed = read_packages(scope.root, packages)
    if not trees:
        raise GiveUp(f"no package can be documented: {failed[0].reason}", code="input_unusable")
    counts = count_api(trees)
    public, documented = sum(counts.public.values()), sum(counts.documented.values())
    return Analysis(
        tool=griffe_tool(packages),
        covered=covered_files(trees),
        failed=failed,
        figures={**counts.all, "public": public, "documented": documented},
        fields={
            # a lead that adds up findings finds its zeros here, one that asks for the API its five kinds
            "counts": {"error": 0, "warning": 0, "note": 0, **counts.all},
            "public_by_kind": counts.public,
            "documented_by_kind": counts.documented,
            "public": public,
            "documented": documented,
        },
        artifacts={"pages": api_pages(trees)},
    )


@agent("documentation.api_docs")
async def api_docs(ctx: Context) -> Json:
    """Document the API of the packages in the task's input."""
    return await specialist(ctx, lambda scope: asyncio.to_thread(document, scope))


class _Reader:
    """Turns griffe's objects into ours, knowing what is exported from where."""

    def __init__(self, root: Path, module: "griffe.Object | griffe.Alias") -> None:
        self._root, self._module = root, module
        self._aliases: dict[str, str] = {}
        exported = list(self._scan(module, public=True))
        self._exported = {self._target(path) for path in exported}

    def tree(self) -> ApiObject:
        """Return the whole package."""
        return self._object(self._module, public=True)

    def _scan(self, module: Any, *, public: bool) -> Iterator[str]:
        """Note every alias and return the paths that public modules export by `__all__`."""
        for name, member in module.members.items():
            if member.is_alias:
                self._aliases[member.path] = member.target_path
                if public and name in (module.exports or ()):
                    yield member.path
            elif member.is_module:
                yield from self._scan(member, public=public and member.is_public)

    def _target(self, path: str) -> str:
        for _ in range(ALIAS_HOPS_MAX):
            if path not in self._aliases:
                break
            path = self._aliases[path]
        return path

    def _object(self, found: Any, *, public: bool) -> ApiObject:
        members = [
            self._object(member, public=(public and member.is_public) or member.path in self._exported)
            for member in found.members.values()
            if not member.is_alias
        ]
        return ApiObject(
            kind=_kind(found),
            path=found.path,
            signature=_signature(found),
            docstring=found.docstring.value.strip() if found.docstring else "",
            public=public,
            file=self._file(found),
            line=found.lineno or 0,
            members=members,
        )

    def _file(self, found: Any) -> str:
        path = found.filepath
        if not isinstance(path, Path) or not path.is_relative_to(self._root):
            return ""  # a namespace package has several folders and no file
        return path.relative_to(self._root).as_posix()


def _kind(found: Any) -> str:
    if found.is_module:
        return "modules"
    if found.is_class:
        return "classes"
    if found.is_function:
        return "methods" if found.parent is not None and found.parent.is_class else "functions"
    return "attributes"


def _signature(found: Any) -> str:
    if found.is_function:
        return str(found.signature(name="_"))[1:]
    if found.is_class:
        return f"({', '.join(str(base) for base in found.bases)})" if found.bases else ""
    if found.is_attribute:
        annotation = f": {found.annotation}" if found.annotation is not None else ""
        return annotation + (f" = {found.value}" if found.value is not None else "")
    return ""


def _by_kind(objects: Sequence[ApiObject]) -> dict[str, int]:
    counted = Counter(found.kind for found in objects)
    return {kind: counted[kind] for kind in KINDS}


def _why_unread(path: Path) -> str:
    try:
        ast.parse(path.read_bytes(), filename=path.name)
    except SyntaxError as error:
        return f"line {error.lineno or 0}: {error.msg}"
    except (OSError, ValueError, RecursionError) as error:
        return str(error)
    return "not reachable by import from its package"
