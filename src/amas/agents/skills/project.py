"""What a project says about itself in pyproject.toml, setup.cfg or PKG-INFO, without running any of its code.

Called by `ingest` (for the result's `project`), `ruff_review` (for the target version) and `testing`. A file that is malformed
counts as silent: that it is malformed is for others to find.
"""

import configparser
import tomllib
from email.parser import HeaderParser
from pathlib import Path
from typing import Any

PYTEST_INI_FILES = ("pytest.toml", ".pytest.toml", "pytest.ini", ".pytest.ini")


def read_toml(path: Path) -> dict[str, Any]:
    """Return a TOML file's content; empty when there is none or it is malformed."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}


def _table(holder: Any, *names: str) -> dict[str, Any]:
    """Return the table that lies under these names within one another; empty where one of them is none."""
    for name in names:
        holder = holder.get(name) if isinstance(holder, dict) else None
    return holder if isinstance(holder, dict) else {}


def read_ini(path: Path) -> dict[str, dict[str, str]]:
    """Return an INI file's sections; empty when there is none or it is malformed."""
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read_string(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, configparser.Error):
        return {}
    return {name: dict(parser[name]) for name in parser.sections()}


def project_facts(root: Path) -> dict[str, str]:
    """Return `{name, version, requires_python, summary}`, as far as they are declared as plain values."""
    declared: dict[str, object] = {}
    for source in (_from_pkg_info(root), _from_setup_cfg(root), _from_pyproject(root)):
        declared |= {key: value for key, value in source.items() if isinstance(value, str) and value}
    return {key: str(value) for key, value in declared.items()}


def requires_python(root: Path) -> str:
    """Return the project's specifier for Python versions; empty when it declares none."""
    return project_facts(root).get("requires_python", "")


def configured_test_paths(root: Path) -> list[str]:
    """Return where pytest is told to look (`testpaths`), globs expanded and only what exists."""
    configured = _testpaths(root)
    words = configured.split() if isinstance(configured, str) else configured if isinstance(configured, list) else []
    below = [word for word in words if isinstance(word, str) and _is_below(word)]
    found = [path.relative_to(root).as_posix() for word in below for path in sorted(root.glob(word))]
    return list(dict.fromkeys(found))


def _is_below(word: str) -> bool:
    """Return whether a pattern stands for files below the project, and isn't made to be gone through for ever."""
    return bool(word) and not word.startswith("/") and ".." not in Path(word).parts and word.count("**") <= 1 and "\0" not in word


def _testpaths(root: Path) -> Any:
    """Return `testpaths` of the first file that configures pytest, in pytest's own order."""
    for name in PYTEST_INI_FILES:
        if (root / name).is_file():
            table = read_toml(root / name) if name.endswith(".toml") else read_ini(root / name)
            return _table(table, "pytest").get("testpaths", [])
    table = _table(read_toml(root / "pyproject.toml"), "tool", "pytest")
    if table:
        return table.get("testpaths", _table(table, "ini_options").get("testpaths", []))
    for name, section in (("tox.ini", "pytest"), ("setup.cfg", "tool:pytest")):
        if options := read_ini(root / name).get(section):
            return options.get("testpaths", "")
    return []


def _from_pyproject(root: Path) -> dict[str, object]:
    table = read_toml(root / "pyproject.toml")
    project = _table(table, "project") or _table(table, "tool", "poetry")
    return {
        "name": project.get("name"),
        "version": project.get("version"),
        "summary": project.get("description"),
        "requires_python": project.get("requires-python"),
    }


def _from_setup_cfg(root: Path) -> dict[str, object]:
    sections = read_ini(root / "setup.cfg")
    facts, options = sections.get("metadata", {}), sections.get("options", {})
    version = facts.get("version", "")
    return {
        "name": facts.get("name"),
        "version": "" if version.startswith(("attr:", "file:")) else version,
        "summary": facts.get("description"),
        "requires_python": options.get("python_requires"),
    }


def _from_pkg_info(root: Path) -> dict[str, object]:
    """Read the metadata that a source distribution carries."""
    try:
        headers = HeaderParser().parsestr((root / "PKG-INFO").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {
        "name": headers["Name"],
        "version": headers["Version"],
        "summary": headers["Summary"],
        "requires_python": headers["Requires-Python"],
    }
