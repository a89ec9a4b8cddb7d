"""Which distributions a project declares and which it imports, and where the two disagree.

Declared: pyproject.toml, setup.cfg, setup.py (literals only), requirements*.txt. Imported: by `ast`, from the task's files; the
standard library and the project's own modules are left out. An import's distribution is looked up among what is installed here,
then in a small table of well-known names that differ, else it is taken to be called like the import.
A requirement is *bounded* when a specifier keeps a future major version out. Imports under `try`/`if TYPE_CHECKING` are optional;
those in test, documentation and example files may be declared in any extra or group.
Called by the hosts for `compliance.dependencies`. It asks no package index and imports nothing of the project.
"""

import ast
import asyncio
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path

import msgspec
from packaging.requirements import InvalidRequirement
from packaging.requirements import Requirement as Parsed
from packaging.utils import canonicalize_name

from amas.agents.base import agent
from amas.agents.context import Context
from amas.agents.skills.findings import Analysis, Finding, Scope, Severity, Tool, Unread, specialist
from amas.agents.skills.project_files import Requirement, line_of, read_metadata, read_text
from amas.model.task import Json

WELL_KNOWN = {
    "yaml": "pyyaml", "PIL": "pillow", "cv2": "opencv-python", "sklearn": "scikit-learn", "bs4": "beautifulsoup4",
    "attr": "attrs", "dateutil": "python-dateutil", "dotenv": "python-dotenv", "jwt": "pyjwt", "OpenSSL": "pyopenssl",
    "Crypto": "pycryptodome", "git": "gitpython", "serial": "pyserial", "usb": "pyusb", "magic": "python-magic",
    "jose": "python-jose", "docx": "python-docx", "pptx": "python-pptx", "MySQLdb": "mysqlclient",
    "psycopg2": "psycopg2-binary", "zmq": "pyzmq", "wx": "wxpython", "skimage": "scikit-image",
    "pkg_resources": "setuptools", "_pytest": "pytest", "win32api": "pywin32", "multipart": "python-multipart",
    "slugify": "python-slugify", "ldap": "python-ldap", "Xlib": "python-xlib", "fitz": "pymupdf",
    "snappy": "python-snappy", "telegram": "python-telegram-bot", "discord": "discord-py", "socks": "pysocks",
    "importlib_metadata": "importlib-metadata", "typing_extensions": "typing-extensions", "pythoncom": "pywin32",
    "win32con": "pywin32",
}  # fmt: skip
"""Imports whose distribution has another name."""
_SIDE_FOLDERS = re.compile(
    r"(^|/)(tests?|testing|docs?|examples?|benchmarks?|scripts|tools|ci|\.github)/|(^|/)(test_[^/]*|[^/]*_test|conftest|setup|noxfile|tasks)\.py$"
)
_UPPER = ("<", "<=", "==", "~=", "===")
REQUIREMENT_FILES_MAX = 50


class Import(msgspec.Struct, frozen=True):
    """One module of somebody else's that the project imports."""

    module: str
    """Its first part."""
    path: str
    line: int
    optional: bool
    """Under `try` with an `except`, or only for type checkers."""


class Dependency(msgspec.Struct, frozen=True, kw_only=True):
    """One distribution: how it is declared and who imports it."""

    name: str
    """As package indexes write it: lower case, dashes."""
    requirement: str
    """Empty where it isn't declared."""
    scopes: list[str]
    bounded: bool
    declared_in: list[str]
    imported_by: int
    """Files of the product itself."""
    imported_by_tests: int
    """Files of tests, documentation, examples and set-up."""


class Declared(msgspec.Struct, frozen=True):
    """One parsed requirement."""

    name: str
    source: Requirement
    bounded: bool


def declared(root: Path) -> tuple[list[Declared], list[Finding]]:
    """Return the project's requirements, and a finding for each that can't be parsed."""
    written = [*read_metadata(root).requirements, *requirement_files(root)]
    parsed, problems = [], []
    for requirement in written:
        try:
            found = Parsed(requirement.text)
        except InvalidRequirement as error:
            reason = str(error).split("\n", 1)[0]
            problems.append(
                _finding("requirement-invalid", f"{requirement.text!r}: {reason}", requirement.file, requirement.line, "error")
            )
            continue
        bounded = bool(found.url) or any(part.operator in _UPPER for part in found.specifier)
        parsed.append(Declared(canonicalize_name(found.name), requirement, bounded))
    return parsed, problems


def requirement_files(root: Path) -> Iterator[Requirement]:
    """Return the lines of requirements*.txt and requirements/*.txt; options and included files are left out."""
    paths = sorted([*root.glob("requirements*.txt"), *root.glob("requirements/*.txt")])[:REQUIREMENT_FILES_MAX]
    for path in paths:
        name = path.relative_to(root).as_posix()
        scope = "runtime" if name in {"requirements.txt", "requirements/base.txt"} else f"group:{path.stem}"
        text = (read_text(path) or "").replace("\\\n", " ")
        for line in text.splitlines():
            requirement = re.split(r"\s+#|\s--hash", line, maxsplit=1)[0].strip()
            if requirement and not requirement.startswith(("#", "-")) and "://" not in requirement.split("@", 1)[0]:
                yield Requirement(requirement, name, line_of(text, line), scope)


def imports(root: Path, paths: Sequence[str]) -> tuple[list[Import], list[Unread]]:
    """Return the imports of others' modules in the Python files `paths`, and the files that don't parse."""
    own = _own_modules([*paths, *(path.relative_to(root).as_posix() for path in root.rglob("*.py"))])
    found, failed = [], []
    for path in paths:
        if not path.endswith((".py", ".pyi")):
            continue
        try:
            tree = ast.parse((root / path).read_bytes(), filename=path)
        except (SyntaxError, ValueError, OSError, RecursionError) as error:
            failed.append(Unread(path, f"{error}"))
            continue
        found += [
            seen for seen in _imports_of(tree, path) if seen.module not in own and seen.module not in sys.stdlib_module_names
        ]
    return found, failed


def distribution_of(module: str) -> str:
    """Return the canonical name of the distribution that an import's first part belongs to."""
    if module in WELL_KNOWN:
        return canonicalize_name(WELL_KNOWN[module])
    installed = _installed().get(module)
    return canonicalize_name(installed[0] if installed else module)


def compare(wanted: Sequence[Declared], seen: Sequence[Import], *, project: str = "") -> tuple[list[Dependency], list[Finding]]:
    """Return every distribution that is declared or imported, by name, and where the two disagree."""
    by_name: dict[str, list[Declared]] = {}
    for requirement in wanted:
        by_name.setdefault(requirement.name, []).append(requirement)
    users: dict[str, list[Import]] = {}
    for used in seen:
        users.setdefault(_declared_name(used.module, by_name), []).append(used)
    names = sorted((by_name.keys() | users.keys()) - {canonicalize_name(project)} if project else by_name.keys() | users.keys())
    rows = [_dependency(name, by_name.get(name, []), users.get(name, [])) for name in names]
    return rows, [finding for row in rows for finding in _judge(row, by_name.get(row.name, []), users.get(row.name, []))]


def assess(scope: Scope) -> Analysis:
    """Return the project's dependencies and where declaration and use disagree."""
    wanted, problems = declared(scope.root)
    seen, failed = imports(scope.root, scope.paths)
    names = read_metadata(scope.root).names
    rows, findings = compare(wanted, seen, project=names[0].value if names else "")
    unread = {path.path for path in failed}
    return Analysis(
        tool=Tool(
            "amas dependencies",
            sys.version.split()[0],
            "grep -rnE '^ *(import|from) ' --include='*.py' . ; cat pyproject.toml requirements*.txt",
        ),
        covered=[path for path in scope.paths if path not in unread],
        failed=failed,
        findings=[*problems, *findings],
        figures={
            "declared_runtime": sum("runtime" in row.scopes for row in rows),
            "declared_optional": sum(bool(row.scopes) and "runtime" not in row.scopes for row in rows),
            "imported": sum(bool(row.imported_by or row.imported_by_tests) for row in rows),
            "imported_undeclared": sum(finding.rule == "import-undeclared" for finding in findings),
            "declared_unused": sum(finding.rule == "dependency-unused" for finding in findings),
            "unbounded": sum(finding.rule == "dependency-unbounded" for finding in findings),
        },
        fields={"dependencies": msgspec.to_builtins(rows)},
    )


@agent("compliance.dependencies")
async def dependencies(ctx: Context) -> Json:
    """Compare what the project declares with what it imports."""
    return await specialist(ctx, lambda scope: asyncio.to_thread(assess, scope))


def is_side_file(path: str) -> bool:
    """Return whether a file is a test, documentation, an example or set-up, rather than the product."""
    return bool(_SIDE_FOLDERS.search(path))


def _dependency(name: str, wanted: Sequence[Declared], users: Sequence[Import]) -> Dependency:
    by_product = {used.path for used in users if not is_side_file(used.path)}
    return Dependency(
        name=name,
        requirement=wanted[0].source.text if wanted else "",
        scopes=sorted({requirement.source.scope for requirement in wanted}),
        bounded=bool(wanted) and all(requirement.bounded for requirement in wanted),
        declared_in=sorted({requirement.source.file for requirement in wanted}),
        imported_by=len(by_product),
        imported_by_tests=len({used.path for used in users} - by_product),
    )


def _judge(row: Dependency, wanted: Sequence[Declared], users: Sequence[Import]) -> Iterator[Finding]:
    runtime = [requirement for requirement in wanted if requirement.source.scope == "runtime"]
    in_product = [used for used in users if not is_side_file(used.path)]
    needed = [used for used in in_product if not used.optional]
    if needed and not runtime:
        used = needed[0]
        how = f"only in {', '.join(row.scopes)}" if wanted else "nowhere"
        severity: Severity = "warning" if wanted else "error"
        yield _finding(
            "import-undeclared", f"{used.module} ({row.name}) is imported and declared {how}", used.path, used.line, severity
        )
    elif users and not wanted and not in_product:
        used = users[0]
        yield _finding(
            "import-undeclared",
            f"{used.module} ({row.name}) is imported by tests or tools and declared nowhere",
            used.path,
            used.line,
            "note",
        )
    if runtime and not users:
        where = runtime[0].source
        yield _finding("dependency-unused", f"{row.name} is declared and never imported", where.file, where.line, "note")
    for requirement in runtime:
        if not requirement.bounded:
            where = requirement.source
            yield _finding("dependency-unbounded", f"{where.text!r} lets any future version in", where.file, where.line, "note")


def _finding(rule: str, message: str, path: str, line: int, severity: Severity) -> Finding:
    return Finding(
        rule=rule,
        message=message,
        path=path,
        line=line,
        column=0,
        severity=severity,
        category="dependencies",
        tool="amas dependencies",
    )


def _declared_name(module: str, wanted: Mapping[str, object]) -> str:
    """Return the distribution of an import: a declaration under its own name wins over what is installed."""
    plain = canonicalize_name(module)
    return plain if plain in wanted else distribution_of(module)


@cache
def _installed() -> Mapping[str, list[str]]:
    from importlib.metadata import packages_distributions

    return packages_distributions()


def _own_modules(paths: Sequence[str]) -> set[str]:
    """Return every name under which the project's files can be imported: any folder or file of it may lie on the path."""
    return {part.removesuffix(".pyi").removesuffix(".py") for path in paths for part in path.split("/")}


def _imports_of(tree: ast.Module, path: str) -> Iterator[Import]:
    waiting: list[tuple[ast.AST, bool]] = [(tree, False)]
    while waiting:
        node, optional = waiting.pop()
        if isinstance(node, ast.Import):
            yield from (Import(name.name.split(".")[0], path, node.lineno, optional) for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield Import(node.module.split(".")[0], path, node.lineno, optional)
        guarded = optional or (isinstance(node, ast.Try) and bool(node.handlers)) or _for_checkers(node)
        waiting += [(child, guarded) for child in ast.iter_child_nodes(node)]


def _for_checkers(node: ast.AST) -> bool:
    """Return whether this is an `if` on TYPE_CHECKING, the platform or the version: what it imports isn't always needed."""
    if not isinstance(node, ast.If):
        return False
    return bool({"TYPE_CHECKING", "platform", "version_info", "name"} & {_last_name(part) for part in ast.walk(node.test)})


def _last_name(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
