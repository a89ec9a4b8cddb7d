"""What kind of project this is: its name, purpose, Python versions, programs, layout and customs, from its own files.

Called by the hosts for `research.project_profile`. Every fact names the file that it comes from; nothing is guessed or run.
"""

import asyncio
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import msgspec

from amas.agents.base import agent
from amas.agents.context import Context
from amas.agents.skills.findings import Analysis, Scope, Tool, Unread, specialist
from amas.agents.skills.project_files import Metadata, Said, read_metadata, read_text
from amas.model.task import Json

CUSTOMS = {
    "README": ("README.md", "README.rst", "README.txt", "README"),
    "change log": (
        "CHANGELOG.md",
        "CHANGES.md",
        "CHANGES.rst",
        "CHANGELOG.rst",
        "HISTORY.rst",
        "HISTORY.md",
        "NEWS.rst",
        "CHANGELOG",
    ),
    "contributing guide": ("CONTRIBUTING.md", "CONTRIBUTING.rst", ".github/CONTRIBUTING.md"),
    "security policy": ("SECURITY.md", ".github/SECURITY.md"),
    "continuous integration": (".github/workflows", ".gitlab-ci.yml", "azure-pipelines.yml", ".circleci", ".travis.yml"),
    "documentation folder": ("docs", "doc"),
    "lock file": ("uv.lock", "poetry.lock", "pdm.lock", "Pipfile.lock"),
    "pre-commit": (".pre-commit-config.yaml",),
    "tox or nox": ("tox.ini", "noxfile.py", "tox.toml"),
}
"""Files that say how a project is run."""
PURPOSE_CHARS_MAX = 600


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """The facts, in the order in which a reader wants them."""

    name: str
    version: str
    summary: str
    purpose: str
    """The README's first paragraph."""
    requires_python: str
    pythons: list[str]
    """The versions that the classifiers name."""
    programs: list[str]
    """`name = module:function`."""
    urls: list[str]
    build_backend: str
    typed: bool
    """Whether it ships `py.typed`."""
    customs: dict[str, str]
    """What of `CUSTOMS` is there: kind to file."""
    languages: dict[str, int]
    """File name endings and how many files have them."""
    sources: list[str]


def profile_of(root: Path, paths: Sequence[str]) -> tuple[Profile, Metadata]:
    """Return the profile of the project in `root` with the files `paths`, and the metadata that it was made from."""
    said = read_metadata(root)
    readme = next((name for name in CUSTOMS["README"] if (root / name).is_file()), "")
    made = Profile(
        name=_first(said.names),
        version=_first(said.versions),
        summary=_first(said.summaries),
        purpose=first_paragraph(read_text(root / readme) or "") if readme else "",
        requires_python=_first(said.requires_python),
        pythons=_pythons(said),
        programs=sorted({found.value for found in said.entry_points}),
        urls=list(dict.fromkeys(found.value for found in said.urls)),
        build_backend=said.build_backend or ("setuptools (setup.py)" if (root / "setup.py").is_file() else ""),
        typed=_is_typed(root, paths),
        customs=_customs(root),
        languages=dict(Counter(PurePosixPath(path).suffix or "none" for path in paths).most_common(12)),
        sources=[*said.sources, *([readme] if readme else [])],
    )
    return made, said


def _pythons(said: Metadata) -> list[str]:
    found = {value for found in said.classifiers if (value := _python(found.value))}
    return sorted(found, key=lambda version: [int(number) for number in version.split(".")])


def _is_typed(root: Path, paths: Sequence[str]) -> bool:
    listed = any(PurePosixPath(path).name == "py.typed" for path in paths)
    return listed or any(root.glob("src/*/py.typed")) or any(root.glob("*/py.typed"))


def _customs(root: Path) -> dict[str, str]:
    there = {kind: next((name for name in names if (root / name).exists()), "") for kind, names in CUSTOMS.items()}
    return {kind: name for kind, name in there.items() if name}


def first_paragraph(text: str) -> str:
    """Return a README's first paragraph of prose, without headings, badges, pictures and markup of its own."""
    for block in re.split(r"\n\s*\n", text):
        lines = [line.strip() for line in block.splitlines()]
        if not lines[0:1] or any(re.fullmatch(r"[=\-~^#*_.]{3,}", line) for line in lines):
            continue
        if lines[0].startswith(("#", "[!", "![", "..", "<", "|", ":", "```", "===", "---", "$")):
            continue
        prose = " ".join(lines)
        prose = re.sub(r"!?\[([^\]]*)\](\([^)]*\)|\[[^\]]*\])?", r"\1", prose)
        prose = re.sub(r"`([^`<]+?)\s*(<[^>]*>)?`_*", r"\1", prose)
        prose = re.sub(r"[*`]+", "", prose).strip()
        if len(prose) > 30:
            return prose[:PURPOSE_CHARS_MAX]
    return ""


def assess(scope: Scope) -> Analysis:
    """Return the project's profile."""
    made, said = profile_of(scope.root, scope.paths)
    return Analysis(
        tool=Tool("amas profile", sys.version.split()[0], "cat " + (" ".join(made.sources) or ".")),
        covered=[path for path in made.sources if path not in {broken.file for broken in said.broken}],
        failed=[Unread(broken.file, broken.value) for broken in said.broken],
        figures={"programs": len(made.programs), "customs": len(made.customs)},
        fields={"profile": msgspec.to_builtins(made)},
    )


@agent("research.project_profile")
async def project_profile(ctx: Context) -> Json:
    """Describe the project from its own files."""
    return await specialist(ctx, lambda scope: asyncio.to_thread(assess, scope))


def _first(said: Sequence[Said]) -> str:
    return said[0].value if said else ""


def _python(classifier: str) -> str:
    match = re.fullmatch(r"Programming Language :: Python :: (\d+\.\d+)", classifier)
    return match.group(1) if match else ""
