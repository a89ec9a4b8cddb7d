"""What a project says of itself in pyproject.toml, setup.cfg, setup.py and PKG-INFO, as one value; nothing of it is run.

setup.py is read by `ast`: only literal arguments of its `setup(...)` call are seen. Where several files say the same thing all
are kept, with the file's name, so that contradictions can be found. A file that can't be read is reported; the
others still count.
Called by `licences.py`, `dependencies.py` and `profile.py`.
"""

import ast
import configparser
import tomllib
from collections.abc import Iterator
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

import msgspec

FILE_BYTES_MAX = 2_000_000
"""A metadata file larger than this is no metadata file."""


class Said(msgspec.Struct, frozen=True):
    """One thing that one file says."""

    value: str
    file: str
    """Relative to the root."""
    line: int = 0


class Requirement(msgspec.Struct, frozen=True):
    """One declared dependency, as it is written."""

    text: str
    file: str
    line: int = 0
    scope: str = "runtime"
    """`runtime`, `build`, or `extra:NAME` and `group:NAME`."""


class Metadata(msgspec.Struct, kw_only=True):
    """All that was found; lists are in the order pyproject, setup.cfg, setup.py, PKG-INFO."""

    names: list[Said] = []
    versions: list[Said] = []
    summaries: list[Said] = []
    requires_python: list[Said] = []
    licences: list[Said] = []
    """Licence expressions and free texts of licence fields."""
    licence_files: list[Said] = []
    """File names that the metadata promise, patterns included."""
    classifiers: list[Said] = []
    requirements: list[Requirement] = []
    entry_points: list[Said] = []
    """`name = module:function`."""
    urls: list[Said] = []
    build_backend: str = ""
    dynamic: list[str] = []
    sources: list[str] = []
    """The files that were read."""
    broken: list[Said] = []
    """Files that couldn't be read; the value is the reason."""


def read_metadata(root: Path) -> Metadata:
    """Return what the project's own files say of it; empty where it has none."""
    found = Metadata()
    readers = {"pyproject.toml": _pyproject, "setup.cfg": _setup_cfg, "setup.py": _setup_py, "PKG-INFO": _pkg_info}
    for name, reader in readers.items():
        text = read_text(root / name)
        if text is None:
            continue
        try:
            reader(text, found)
        except (ValueError, TypeError, AttributeError, configparser.Error, SyntaxError, RecursionError) as error:
            found.broken.append(Said(f"{error}", name, getattr(error, "lineno", None) or 0))
        else:
            found.sources.append(name)
    return found


def read_text(path: Path, *, bytes_max: int = FILE_BYTES_MAX) -> str | None:
    """Return a file's text, replacing what isn't UTF-8; None when it isn't there or is too large."""
    try:
        if not path.is_file() or path.stat().st_size > bytes_max:
            return None
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def line_of(text: str, needle: str) -> int:
    """Return the first line (from 1) that holds `needle`; 0 when none does."""
    return next((number for number, line in enumerate(text.splitlines(), 1) if needle in line), 0)


def _pyproject(text: str, found: Metadata) -> None:
    name = "pyproject.toml"
    table = tomllib.loads(text)
    project = table.get("project", {})
    found.build_backend = str(table.get("build-system", {}).get("build-backend", ""))
    found.dynamic += _strings(project.get("dynamic"))
    _single(project, "name", found.names, name, text)
    _single(project, "version", found.versions, name, text)
    _single(project, "description", found.summaries, name, text)
    _single(project, "requires-python", found.requires_python, name, text)
    licence = project.get("license")
    if isinstance(licence, dict):
        found.licences += [Said(value, name, line_of(text, "license")) for value in _strings([licence.get("text")])]
        found.licence_files += [Said(value, name, line_of(text, "license")) for value in _strings([licence.get("file")])]
    else:
        _single(project, "license", found.licences, name, text)
    found.licence_files += [Said(value, name, line_of(text, value)) for value in _strings(project.get("license-files"))]
    found.classifiers += [Said(value, name, line_of(text, value)) for value in _strings(project.get("classifiers"))]
    for kind in ("scripts", "gui-scripts"):
        found.entry_points += [Said(f"{key} = {value}", name) for key, value in project.get(kind, {}).items()]
    found.urls += [Said(f"{key}: {value}", name) for key, value in project.get("urls", {}).items()]
    found.requirements += [Requirement(*said) for said in _pyproject_requirements(table, name, text)]


def _pyproject_requirements(table: dict[str, Any], name: str, text: str) -> Iterator[tuple[str, str, int, str]]:
    project = table.get("project", {})
    lists = {"runtime": project.get("dependencies"), "build": table.get("build-system", {}).get("requires")}
    lists |= {f"extra:{extra}": value for extra, value in project.get("optional-dependencies", {}).items()}
    lists |= {f"group:{group}": value for group, value in table.get("dependency-groups", {}).items()}
    for scope, values in lists.items():
        for value in _strings(values):
            yield value, name, line_of(text, value), scope


def _setup_cfg(text: str, found: Metadata) -> None:
    name = "setup.cfg"
    parser = configparser.RawConfigParser()
    parser.read_string(text)
    fields = dict(parser["metadata"]) if parser.has_section("metadata") else {}
    options = dict(parser["options"]) if parser.has_section("options") else {}
    _single(fields, "name", found.names, name, text)
    _single(fields, "version", found.versions, name, text)
    _single(fields, "description", found.summaries, name, text)
    _single(options, "python_requires", found.requires_python, name, text)
    _single(fields, "license", found.licences, name, text)
    for key in ("license_file", "license_files"):
        found.licence_files += [Said(value, name, line_of(text, value)) for value in _lines(fields.get(key, ""))]
    found.classifiers += [Said(value, name, line_of(text, value)) for value in _lines(fields.get("classifiers", ""))]
    scopes = {"runtime": options.get("install_requires", ""), "build": options.get("setup_requires", "")}
    if parser.has_section("options.extras_require"):
        scopes |= {f"extra:{extra}": value for extra, value in parser["options.extras_require"].items()}
    for scope, block in scopes.items():
        found.requirements += [Requirement(value, name, line_of(text, value), scope) for value in _lines(block)]
    if parser.has_section("options.entry_points"):
        found.entry_points += [
            Said(value, name)
            for key, block in parser["options.entry_points"].items()
            if "scripts" in key
            for value in _lines(block)
        ]


def _setup_py(text: str, found: Metadata) -> None:
    name = "setup.py"
    call = next((node for node in ast.walk(ast.parse(text)) if _is_setup(node)), None)
    if not isinstance(call, ast.Call):
        return
    said = {word.arg: _literal(word.value) for word in call.keywords if word.arg}
    line = call.lineno
    singles = {"name": found.names, "version": found.versions, "description": found.summaries}
    singles |= {"python_requires": found.requires_python, "license": found.licences}
    for key, target in singles.items():
        _single(said, key, target, name, text)
    found.classifiers += [Said(value, name, line_of(text, value)) for value in _strings(said.get("classifiers"))]
    found.licence_files += [Said(value, name, line) for value in _strings(said.get("license_files"))]
    scopes = {
        "runtime": said.get("install_requires"),
        "build": said.get("setup_requires"),
        "extra:tests": said.get("tests_require"),
    }
    extras = said.get("extras_require")
    scopes |= {f"extra:{extra}": values for extra, values in extras.items()} if isinstance(extras, dict) else {}
    for scope, values in scopes.items():
        listed = [values] if isinstance(values, str) else values
        found.requirements += [Requirement(value, name, line_of(text, value), scope) for value in _strings(listed)]
    points = said.get("entry_points")
    for kind in ("console_scripts", "gui_scripts"):
        found.entry_points += [Said(value, name) for value in _strings(points.get(kind) if isinstance(points, dict) else None)]


def _pkg_info(text: str, found: Metadata) -> None:
    """Read the metadata of a source distribution; requirements are left to the files that they were made from."""
    name = "PKG-INFO"
    headers = HeaderParser().parsestr(text)
    singles = {
        "Name": found.names,
        "Version": found.versions,
        "Summary": found.summaries,
        "Requires-Python": found.requires_python,
    }
    singles |= {"License-Expression": found.licences, "License": found.licences}
    for key, target in singles.items():
        target += [Said(value, name, line_of(text, f"{key}:")) for value in _strings([headers.get(key)]) if value != "UNKNOWN"]
    for key, target in {"License-File": found.licence_files, "Classifier": found.classifiers}.items():
        target += [Said(str(value), name, line_of(text, str(value))) for value in headers.get_all(key) or []]
    found.urls += [Said(str(value).replace(", ", ": ", 1), name) for value in headers.get_all("Project-URL") or []]
    if not any(requirement.scope == "runtime" for requirement in found.requirements):
        for value in _strings(headers.get_all("Requires-Dist")):
            found.requirements.append(Requirement(value, name, line_of(text, value), _pkg_info_scope(value)))


def _pkg_info_scope(value: str) -> str:
    _, _, extra = value.partition("extra ==")
    return f"extra:{extra.strip().strip(chr(34)).strip(chr(39))}" if extra else "runtime"


def _is_setup(node: ast.AST) -> bool:
    if not isinstance(node, ast.Call):
        return False
    called = node.func
    return (isinstance(called, ast.Name) and called.id == "setup") or (
        isinstance(called, ast.Attribute) and called.attr == "setup"
    )


def _literal(node: ast.expr) -> Any:
    try:
        return ast.literal_eval(node)
    except (ValueError, TypeError, MemoryError, RecursionError):
        return None  # computed when it runs, and we run nothing


def _single(fields: dict[str, Any], key: str, target: list[Said], file: str, text: str) -> None:
    value = fields.get(key)
    if isinstance(value, str) and value.strip():
        target.append(Said(value.strip(), file, line_of(text, key)))


def _strings(values: Any) -> list[str]:
    return [value for value in values if isinstance(value, str) and value.strip()] if isinstance(values, list | tuple) else []


def _lines(block: str) -> list[str]:
    return [line.strip() for line in block.splitlines() if line.strip() and not line.strip().startswith("#")]
