"""Under which licence a project says it is: metadata, classifiers, licence files and SPDX headers, and where they disagree.

An expression is *valid* when license-expression knows every licence in it (SPDX). A licence file is recognised by words that only
its text has; one that isn't recognised is no finding. Findings: no licence at all, an invalid expression, a promised file that is
missing, and files, headers or classifiers that name another licence than the expression.
Called by the hosts for `compliance.licences`. It reads text and never judges what a licence allows.
"""

import asyncio
import re
from collections import Counter
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import msgspec

from amas.agents.base import agent
from amas.agents.context import Context
from amas.agents.skills.findings import Analysis, Finding, Scope, Severity, Tool, specialist
from amas.agents.skills.project_files import Metadata, Said, read_metadata, read_text
from amas.model.task import Json

HEADER_BYTES_MAX = 4096
"""An SPDX header stands in a file's first lines."""
LICENCE_FILE = re.compile(r"(licen[cs]e|copying|notice|unlicense)([-._].*)?(\.(txt|md|rst))?", re.IGNORECASE)
SPDX_HEADER = re.compile(r"^[\s#/*;%.<!-]*SPDX-License-Identifier:\s*([^\n\r*]+)", re.MULTILINE)
"""In a comment: a header that stands in a string is somebody else's."""

_TEXTS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Apache-2.0", ("apache license", "version 2.0")),
    ("AGPL-3.0", ("gnu affero general public license", "version 3")),
    ("LGPL-3.0", ("gnu lesser general public license", "version 3")),
    ("LGPL-2.1", ("gnu lesser general public license", "version 2.1")),
    ("GPL-3.0", ("gnu general public license", "version 3")),
    ("GPL-2.0", ("gnu general public license", "version 2")),
    ("MPL-2.0", ("mozilla public license", "2.0")),
    ("MIT", ("permission is hereby granted, free of charge", "the software is provided")),
    ("ISC", ("permission to use, copy, modify, and/or distribute this software for any purpose with or without fee",)),
    ("BSD-3-Clause", ("redistribution and use in source and binary forms", "endorse or promote products")),
    ("BSD-2-Clause", ("redistribution and use in source and binary forms",)),
    ("PSF-2.0", ("python software foundation license",)),
    ("Unlicense", ("this is free and unencumbered software released into the public domain",)),
    ("Zlib", ("this software is provided 'as-is'", "altered source versions must be plainly marked")),
)
"""The more particular first: an LGPL names the GPL too."""

_CLASSIFIERS = {
    "Apache Software License": ("Apache",),
    "MIT License": ("MIT",),
    "BSD License": ("BSD", "0BSD"),
    "ISC License (ISCL)": ("ISC",),
    "Mozilla Public License 2.0 (MPL 2.0)": ("MPL",),
    "Python Software Foundation License": ("PSF", "Python"),
    "The Unlicense (Unlicense)": ("Unlicense",),
}
"""A licence classifier and how the SPDX names that it may stand for begin."""
_GNU = re.compile(r"GNU (Affero |Lesser |Library or Lesser )?General Public License")


class LicenceFile(msgspec.Struct, frozen=True):
    """A file that holds a licence's text."""

    path: str
    licence: str
    """Its SPDX name, or empty when the text isn't recognised."""


class Licensing(msgspec.Struct, frozen=True, kw_only=True):
    """All that a project says about its licence."""

    declared: list[Said]
    expression: str
    """The first declared text that is a valid expression, normalised; empty when none is."""
    problems: list[Finding]
    files: list[LicenceFile]
    headers: dict[str, int]
    """SPDX headers in the sources: expression to number of files."""
    classifiers: list[str]


def licensing(root: Path, paths: Sequence[str]) -> Licensing:
    """Return what the project in `root` says, with the SPDX headers of its files `paths`."""
    said = read_metadata(root)
    headers = {path: header for path in paths if (header := _header(root / path))}
    files = licence_files(root, said)
    classifiers = list(dict.fromkeys(found.value for found in said.classifiers if found.value.startswith("License ::")))
    expression, problems = _declared(said)
    problems += _missing(root, said, files, classifiers)
    if expression:
        problems += _disagreements(expression, said, files, headers)
    return Licensing(
        declared=said.licences,
        expression=expression,
        problems=problems,
        files=files,
        headers=dict(Counter(headers.values()).most_common()),
        classifiers=classifiers,
    )


def licence_files(root: Path, said: Metadata) -> list[LicenceFile]:
    """Return the licence files: those beside the project's metadata, those in LICENSES/, and those that the metadata name."""
    paths = {path for path in root.iterdir() if path.is_file() and LICENCE_FILE.fullmatch(path.name)}
    paths |= {path for path in root.glob("LICENSES/*") if path.is_file()}
    for promised in said.licence_files:
        paths |= set(_matching(root, promised.value))
    return [LicenceFile(path.relative_to(root).as_posix(), recognise(read_text(path) or "")) for path in sorted(paths)]


def recognise(text: str) -> str:
    """Return the SPDX name of the licence whose text this is; empty when none fits."""
    words = " ".join(text.lower().split())
    return next((name for name, marks in _TEXTS if all(mark in words for mark in marks)), "")


def normalise(expression: str) -> tuple[str, str]:
    """Return the expression as SPDX writes it and no problem, or nothing and what is wrong with it."""
    from license_expression import ExpressionError, ExpressionParseError, get_spdx_licensing

    try:
        checked = get_spdx_licensing().validate(expression)
    except AttributeError:  # the library fails while it words its own complaint
        return "", "isn't an SPDX expression"
    except (ExpressionError, ExpressionParseError, ValueError, TypeError) as error:
        return "", str(error)
    if checked.errors:
        return "", "; ".join(checked.errors)
    return str(checked.normalized_expression), ""


def assess(scope: Scope) -> Analysis:
    """Return the licence that the project declares, and what contradicts it."""
    found = licensing(scope.root, scope.paths)
    return Analysis(
        tool=Tool("license-expression", version("license-expression"), "grep -rn SPDX-License-Identifier . ; cat LICENSE*"),
        covered=list(scope.paths),
        findings=found.problems,
        figures={
            "licence_files": len(found.files),
            "files_with_spdx_header": sum(found.headers.values()),
            "source_files": len(scope.paths),
        },
        fields={
            "licence": {
                "expression": found.expression,
                "declared": msgspec.to_builtins(found.declared),
                "files": msgspec.to_builtins(found.files),
                "headers": found.headers,
                "classifiers": found.classifiers,
            }
        },
    )


@agent("compliance.licences")
async def licences(ctx: Context) -> Json:
    """Find the project's licence and what contradicts it."""
    return await specialist(ctx, lambda scope: asyncio.to_thread(assess, scope))


def _declared(said: Metadata) -> tuple[str, list[Finding]]:
    problems, found = [], ""
    for declared in said.licences:
        if len(declared.value) > 200 or "\n" in declared.value:
            expression, problem = recognise(declared.value), "a licence's whole text stands where its SPDX name belongs"
        else:
            expression, problem = normalise(declared.value)
        found = found or expression
        if problem:
            severity: Severity = "note" if expression or declared.file == "PKG-INFO" else "warning"
            problems.append(_finding("licence-expression", f"{declared.value[:80]!r}: {problem}", declared, severity))
        elif expression != found:
            problems.append(_finding("licence-contradiction", f"says {expression}, elsewhere {found}", declared, "error"))
    return found, problems


def _missing(root: Path, said: Metadata, files: Sequence[LicenceFile], classifiers: Sequence[str]) -> list[Finding]:
    where = Said("", said.sources[0] if said.sources else "")
    problems = []
    if not said.licences and not classifiers:
        severity: Severity = "warning" if files else "error"
        problems.append(_finding("licence-undeclared", "the project's metadata name no licence", where, severity))
    if not files:
        problems.append(_finding("licence-file-missing", "the project has no licence file", where, "warning"))
    problems += [
        _finding("licence-file-missing", f"{promised.value!r} is promised as a licence file and isn't there", promised, "warning")
        for promised in said.licence_files
        if not _matching(root, promised.value)
    ]
    problems += [_finding("metadata-broken", f"can't be read: {broken.value}", broken, "error") for broken in said.broken]
    return problems


def _disagreements(expression: str, said: Metadata, files: Sequence[LicenceFile], headers: dict[str, str]) -> list[Finding]:
    names = re.findall(r"[A-Za-z0-9][\w.+-]*", expression)
    problems = [
        _finding(
            "licence-contradiction",
            f"holds the text of {file.licence}, but the project says {expression}",
            Said("", file.path),
            "error",
        )
        for file in files
        if file.licence and not file.path.startswith("LICENSES/") and not any(name.startswith(file.licence) for name in names)
    ]
    for classifier in said.classifiers:
        starts = _CLASSIFIERS.get(classifier.value.rpartition(" :: ")[2])
        starts = ("GPL", "LGPL", "AGPL") if _GNU.search(classifier.value) else starts
        if classifier.value.startswith("License ::") and starts and not any(name.startswith(starts) for name in names):
            problems.append(
                _finding("licence-contradiction", f"{classifier.value!r} doesn't fit {expression}", classifier, "error")
            )
    for path, header in headers.items():
        normal, problem = normalise(header)
        if problem:
            problems.append(_finding("spdx-header", f"{header!r}: {problem}", Said("", path, 1), "warning"))
        elif normal != expression and normal not in names:
            problems.append(
                _finding(
                    "licence-contradiction", f"its header says {normal}, the project {expression}", Said("", path, 1), "warning"
                )
            )
    return problems


def _finding(rule: str, message: str, where: Said, severity: Severity) -> Finding:
    return Finding(
        rule=rule,
        message=message,
        path=where.file,
        line=where.line,
        column=0,
        severity=severity,
        category="licence",
        tool="amas licences",
    )


def _header(path: Path) -> str:
    try:
        with path.open("rb") as file:
            head = file.read(HEADER_BYTES_MAX).decode("utf-8", errors="replace")
    except OSError:
        return ""
    match = SPDX_HEADER.search(head)
    return match.group(1).strip().strip("\"'") if match else ""


def _matching(root: Path, pattern: str) -> list[Path]:
    """Return the files that a promised name or pattern stands for, none of them outside the project."""
    if pattern.startswith("/") or ".." in Path(pattern).parts:
        return []
    try:
        return [path for path in root.glob(pattern) if path.is_file() and path.resolve().is_relative_to(root.resolve())]
    except (ValueError, NotImplementedError, OSError):
        return []
