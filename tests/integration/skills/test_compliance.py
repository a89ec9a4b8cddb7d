"""Licences, dependencies and the profile, read from files that are never run."""

from pathlib import Path

import pytest

from amas.agents.skills import dependencies, licences, profile
from amas.agents.skills.findings import Scope

MIT = "Permission is hereby granted, free of charge, to any person ... THE SOFTWARE IS PROVIDED as is"


def project(root: Path, **files: str) -> Scope:
    for name, text in files.items():
        path = root / name.replace("__", "/").replace("_dot_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return Scope(root=root, paths=tuple(sorted(path.relative_to(root).as_posix() for path in root.rglob("*") if path.is_file())))


def test_a_licence_that_all_agree_on_has_no_findings(tmp_path: Path) -> None:
    scope = project(tmp_path, pyproject_dot_toml='[project]\nname="p"\nlicense="mit"\n', LICENSE=MIT)
    analysis = licences.assess(scope)
    assert analysis.fields["licence"]["expression"] == "MIT"
    assert analysis.findings == []


def test_contradictions_are_errors(tmp_path: Path) -> None:
    metadata = '[project]\nname="p"\nlicense="Apache-2.0"\nclassifiers=["License :: OSI Approved :: MIT License"]\n'
    metadata += 'license-files=["NOPE"]\n'
    scope = project(tmp_path, pyproject_dot_toml=metadata, LICENSE=MIT, p_dot_py="# SPDX-License-Identifier: GPL-3.0-only\n")
    found = {(finding.rule, finding.path, finding.severity) for finding in licences.assess(scope).findings}
    assert found == {
        ("licence-contradiction", "LICENSE", "error"),
        ("licence-contradiction", "pyproject.toml", "error"),
        ("licence-contradiction", "p.py", "warning"),
        ("licence-file-missing", "pyproject.toml", "warning"),
    }


@pytest.mark.parametrize("pattern", ["/etc/passwd", "../../*", "**/../../*"])
def test_a_promised_file_outside_the_project_is_not_read(tmp_path: Path, pattern: str) -> None:
    scope = project(tmp_path, pyproject_dot_toml=f'[project]\nname="p"\nlicense="MIT"\nlicense-files=["{pattern}"]\n')
    assert licences.assess(scope).fields["licence"]["files"] == []


def test_declared_and_imported_are_compared(tmp_path: Path) -> None:
    metadata = '[project]\nname="p"\ndependencies=["pyyaml>=6,<7", "unused", "bad req"]\n'
    metadata += '[project.optional-dependencies]\nfast=["orjson"]\n'
    code = "import os, yaml\nimport missing_thing\ntry:\n    import orjson\nexcept ImportError:\n    orjson = None\n"
    code += "from p import other\n"
    scope = project(
        tmp_path, pyproject_dot_toml=metadata, src__p__a_dot_py=code, tests__test_a_dot_py="import pytest, p\n", x_dot_py="def ("
    )
    analysis = dependencies.assess(scope)
    found = {(finding.rule, finding.severity): finding.message for finding in analysis.findings}
    assert set(found) == {
        ("requirement-invalid", "error"),
        ("import-undeclared", "error"),
        ("import-undeclared", "note"),
        ("dependency-unused", "note"),
        ("dependency-unbounded", "note"),
    }
    assert "missing_thing" in found["import-undeclared", "error"]
    assert "pytest" in found["import-undeclared", "note"]
    assert [failed.path for failed in analysis.failed] == ["x.py"]


def test_setup_py_is_read_and_not_run(tmp_path: Path) -> None:
    text = 'import setuptools\nraise SystemExit\nsetuptools.setup(name="p", version="1", install_requires=["a<2"],'
    text += ' extras_require={"x": ["b"]}, license=go())'
    wanted, _ = dependencies.declared(
        project(tmp_path, setup_dot_py=text, requirements_dot_txt="c==1  # why\n-r other.txt\n").root
    )
    assert [(found.name, found.source.scope, found.bounded) for found in wanted] == [
        ("a", "runtime", True),
        ("b", "extra:x", False),
        ("c", "runtime", True),
    ]


def test_broken_metadata_is_reported_and_the_rest_still_counts(tmp_path: Path) -> None:
    scope = project(
        tmp_path,
        pyproject_dot_toml="[project\n",
        README_dot_md="# P\n\n[![x](y)](z)\n\nA library that does one thing, and does it well.\n",
    )
    analysis = profile.assess(scope)
    assert [failed.path for failed in analysis.failed] == ["pyproject.toml"]
    assert analysis.fields["profile"]["purpose"] == "A library that does one thing, and does it well."
