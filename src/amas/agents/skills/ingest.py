"""`execution.ingest`: a snapshot of the folder that a goal is about, and what is in it.

`files` rows are `{path, bytes, lines, language}`; `packages` `{name, path, files}`; `broken` and `skipped` `{path, ..}`. All
paths are relative and use `/`. The snapshot leaves out what a checkout's `.gitignore` files name, junk folders, and links that
leave the folder. Called by the host. Must never write into the input folder, run its code, or follow a link out of it.
"""

import ast
import errno
import os
import shutil
import warnings
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, cast

import msgspec

from amas.agents.base import agent
from amas.agents.context import Context
from amas.agents.skills.project import configured_test_paths, project_facts
from amas.agents.skills.sources import PYTHON_SUFFIXES, TOO_DENSE, is_junk, is_parseable
from amas.artifacts.store import ArtifactStore
from amas.errors import GiveUp
from amas.model.task import Json

if TYPE_CHECKING:
    from pathspec import GitIgnoreSpec

    Rules = list[tuple[str, GitIgnoreSpec]]
    """What `.gitignore` files say, by the folder of each, the innermost last."""

FILES_MAX = 100_000
"""A folder with more files is a home folder or a data set, not a code base."""

FILE_BYTES_MAX = 256 << 20
"""A larger file is data, and would be read into memory as a whole; a sparse one costs nothing to make."""
RULES_CHARS_MAX = 1 << 20
"""Of a `.gitignore`; what comes after isn't read."""
FOLDER_BYTES_MAX = 4 << 30
"""What the files of a folder may come to, since the host keeps a copy."""

LANGUAGES = {
    **{".py": "python", ".pyi": "python", ".c": "c", ".h": "c", ".cpp": "c++", ".rs": "rust", ".js": "javascript"},
    **{".ts": "typescript", ".md": "markdown", ".rst": "restructuredtext", ".toml": "toml", ".yaml": "yaml", ".yml": "yaml"},
    **{
        ".json": "json",
        ".cfg": "ini",
        ".ini": "ini",
        ".txt": "text",
        ".sh": "shell",
        ".html": "html",
        ".css": "css",
        ".sql": "sql",
    },
}
TEST_FOLDERS = ("tests", "test")
NOT_API = ("setup.py", "conftest.py", "noxfile.py", "tasks.py", "fabfile.py")
"""Modules at the top of a project that nobody imports."""


class SourceFile(msgspec.Struct, frozen=True):
    """A file of the snapshot."""

    path: str
    bytes: int
    lines: int
    language: str


class Skipped(msgspec.Struct, frozen=True):
    """A file that isn't in the snapshot though nothing ignores it."""

    path: str
    reason: str


class Broken(msgspec.Struct, frozen=True):
    """A Python file that doesn't parse."""

    path: str
    line: int
    message: str


class Package(msgspec.Struct, frozen=True):
    """What somebody can import: a folder with `__init__.py` that lies in no other, or a module at the top."""

    name: str
    path: str
    files: tuple[str, ...]


class Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """A copied folder."""

    files: list[SourceFile]
    skipped: list[Skipped]
    digest: str
    """SHA-256 over every path and content: two folders with the same digest get the same results."""


def check_input(text: str) -> Path:
    """Return the input folder; GiveUp (`input_unusable`) with one sentence when it isn't one that can be read."""
    problem = ""
    try:
        folder = Path(text).expanduser()
        exists = folder.exists()
    except (OSError, ValueError, RuntimeError) as error:  # too long a name, or the home folder of nobody
        why = getattr(error, "strerror", None) or error
        raise GiveUp(f"the input folder {text[:200]!r} can't be one: {why}", code="input_unusable") from error
    if not text:
        problem = "the goal names no input folder: pass --input FOLDER"
    elif not exists:
        problem = f"the input folder {text} doesn't exist"
    elif not folder.is_dir():
        problem = f"the input {text} is a file: pass the folder that holds the project"
    elif not os.access(folder, os.R_OK | os.X_OK):
        problem = f"the input folder {text} can't be read by this user: check its permissions"
    elif not any(folder.iterdir()):
        problem = f"the input folder {text} is empty"
    if problem:
        raise GiveUp(problem, code="input_unusable")
    return folder.resolve()


def take_snapshot(source: Path, target: Path) -> Snapshot:
    """Copy what counts of `source` to `target`, which is made anew, and return what was copied."""
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir(parents=True)
    files: list[SourceFile] = []
    skipped: list[Skipped] = []
    digest = sha256()
    taken = 0
    for path in sorted(_walk(source, [] if _is_checkout(source) else None)):
        if len(files) >= FILES_MAX:
            raise GiveUp(f"{source} holds more than {FILES_MAX} files: name a smaller folder", code="input_unusable")
        if reason := _unfit(source, path):
            skipped.append(Skipped(path.encode("utf-8", "backslashreplace").decode(), reason))
            continue
        try:
            with (source / path).open("rb") as file:
                blob = file.read(FILE_BYTES_MAX + 1)
        except OSError as error:
            skipped.append(Skipped(path, f"can't be read: {error.strerror}"))
            continue
        if len(blob) > FILE_BYTES_MAX:
            skipped.append(Skipped(path, f"larger than {FILE_BYTES_MAX >> 20} MiB"))
            continue
        if path.endswith(PYTHON_SUFFIXES) and not is_parseable(blob):
            skipped.append(Skipped(path, TOO_DENSE))
            continue
        taken += len(blob)
        if taken > FOLDER_BYTES_MAX:
            raise GiveUp(f"{source} holds more than {FOLDER_BYTES_MAX >> 30} GiB: name a smaller folder", code="input_unusable")
        if not _copy(blob, target / path):
            skipped.append(Skipped(path, "its path is too long"))
            continue
        digest.update(f"{path}\0{sha256(blob).hexdigest()}\n".encode())
        language = LANGUAGES.get(PurePosixPath(path).suffix.lower(), "other")
        files.append(SourceFile(path, len(blob), _lines(blob), language))
    return Snapshot(files=files, skipped=skipped, digest=digest.hexdigest())


def _copy(blob: bytes, target: Path) -> bool:
    """Write a file where it may be the first of its folder; return whether the system can have one of that name."""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(blob)
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return False
    return True


def _is_checkout(source: Path) -> bool:
    """Return whether git keeps this folder. A source distribution holds generated files that its own `.gitignore` names."""
    return any((folder / ".git").exists() for folder in (source, *source.parents))


def _walk(root: Path, ignored: "Rules | None") -> Iterator[str]:
    """Yield the files below `root` that nothing ignores; folders that are links are never entered, so there are no loops.

    `ignored`: the `.gitignore` files above, by folder; None where they aren't asked.
    """
    waiting = [("", ignored)]
    while waiting:
        below, above = waiting.pop()
        try:
            rules = above if above is None else [*above, *_own_rules(root, below)]
            entries = list(os.scandir(root / below))
        except OSError:
            yield f"{below}/" if below else ""  # reported as skipped
            continue
        for entry in entries:
            path = f"{below}/{entry.name}" if below else entry.name
            folder = entry.is_dir(follow_symlinks=False)
            if (folder and is_junk(entry.name)) or _is_ignored(f"{path}/" if folder else path, rules):
                continue
            if folder:
                waiting.append((path, rules))
            else:
                yield path


def _own_rules(root: Path, below: str) -> "Rules":
    """Return what a folder's own `.gitignore` says, if it has one."""
    from pathspec import GitIgnoreSpec

    file = root / below / ".gitignore"
    if not file.is_file():
        return []
    with file.open(encoding="utf-8", errors="replace") as text:
        return [(below, GitIgnoreSpec.from_lines(text.read(RULES_CHARS_MAX).splitlines()))]


def _is_ignored(path: str, ignored: "Rules | None") -> bool:
    """Return what the innermost `.gitignore` with an opinion says."""
    for below, spec in reversed(ignored or []):
        verdict = spec.check_file(path[len(below) + 1 :] if below else path).include
        if verdict is not None:
            return verdict
    return False


def _unfit(source: Path, path: str) -> str:
    """Return why a file can't be in the snapshot; empty when it can."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return "its name is not UTF-8"
    full = source / path
    if path.endswith("/"):
        return "the folder can't be read"
    try:
        inside = full.resolve(strict=True).is_relative_to(source)
    except (OSError, RuntimeError):  # RuntimeError: a loop of links, before Python 3.13
        return "a link that leads nowhere"
    if not inside:
        return "a link that leaves the folder"
    if full.is_dir():
        return "a link to a folder, which is not followed"
    return "" if full.is_file() else "neither a file nor a folder"


def _lines(blob: bytes) -> int:
    """Return the number of lines; 0 for what isn't text."""
    if b"\0" in blob[:8192]:
        return 0
    return blob.count(b"\n") + bool(blob and not blob.endswith(b"\n"))


def broken_files(root: Path, files: list[SourceFile]) -> list[Broken]:
    """Return the Python files that this interpreter can't parse, with the place."""
    found = []
    for file in files:
        if file.language != "python":
            continue
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # an invalid escape is ruff's to report
                ast.parse((root / file.path).read_bytes(), file.path)
        except SyntaxError as error:
            found.append(Broken(file.path, error.lineno or 0, error.msg))
        except (ValueError, RecursionError, MemoryError) as error:
            found.append(Broken(file.path, 0, str(error) or "is nested too deeply"))
    return found


def is_test(path: str) -> bool:
    """Return whether a file is part of a test suite, by its folder's or its own name."""
    pure = PurePosixPath(path)
    return any(part in TEST_FOLDERS for part in pure.parts[:-1]) or _is_test_module(pure.name)


def _is_test_module(name: str) -> bool:
    return name.endswith(".py") and (name.startswith("test_") or name.endswith("_test.py"))


def find_test_paths(root: Path, paths: list[str]) -> list[str]:
    """Return what to give to pytest: its configured `testpaths`, else the outermost test folders and the test files elsewhere."""
    if configured := configured_test_paths(root):
        return configured
    found = set()
    for path in map(PurePosixPath, paths):
        if not _is_test_module(path.name):
            continue
        folders = [parent for parent in path.parents if parent.name in TEST_FOLDERS]
        found.add(str(folders[-1] if folders else path))
    return sorted(found)


def find_packages(paths: list[str]) -> list[Package]:
    """Return what can be imported, tests left out."""
    python = [path for path in paths if path.endswith((".py", ".pyi")) and not is_test(path)]
    folders = {str(PurePosixPath(path).parent) for path in python if PurePosixPath(path).stem == "__init__"} - {"."}
    tops = sorted(folder for folder in folders if str(PurePosixPath(folder).parent) not in folders)
    packages = [Package(_import_name(top), top, tuple(path for path in python if path.startswith(f"{top}/"))) for top in tops]
    modules = [path for path in python if str(PurePosixPath(path).parent) in (".", "src") and path.endswith(".py")]
    loose = [path for path in modules if PurePosixPath(path).name not in NOT_API and PurePosixPath(path).stem != "__init__"]
    return packages + [Package(PurePosixPath(path).stem, path, (path,)) for path in loose]


def _import_name(folder: str) -> str:
    parts = PurePosixPath(folder).parts
    return ".".join(parts[1:]) if parts[0] == "src" and len(parts) > 1 else parts[-1]


def ingest_folder(input_dir: str, target: Path, store: ArtifactStore) -> dict[str, Json]:
    """Take the snapshot and return the task's result."""
    source = check_input(input_dir)
    snapshot = take_snapshot(source, target)
    python = [file for file in snapshot.files if file.language == "python"]
    if not python:
        raise GiveUp(f"the input folder {input_dir} holds no Python file that isn't ignored", code="input_unusable")
    paths = [file.path for file in snapshot.files]
    return {
        "root": str(target),
        "source": str(source),
        "files_ref": store.put_json(snapshot.files),
        "files": len(snapshot.files),
        "python_files": len(python),
        "lines": sum(file.lines for file in snapshot.files),
        "python_lines": sum(file.lines for file in python),
        "packages": msgspec.to_builtins(find_packages(paths)),
        "test_paths": find_test_paths(target, paths),
        "project": cast(Json, project_facts(target)),
        "broken": msgspec.to_builtins(broken_files(target, snapshot.files)),
        "skipped": msgspec.to_builtins(snapshot.skipped),
        "digest": snapshot.digest,
    }


def named_input(ctx: Context) -> str:
    """Return the folder that a task's input names as `input_dir`, "" for none; GiveUp where its tenant may not name it."""
    named = ctx.input.get("input_dir") if isinstance(ctx.input, dict) else None
    return str(ctx.own(str(named))) if named else ""


@agent("execution.ingest")
async def ingest(ctx: Context) -> Json:
    """Copy the input folder into the workspace and say what is in it."""
    input_dir = named_input(ctx)
    result = await ctx.step("ingest", lambda: ingest_folder(input_dir, ctx.workspace / "snapshot", ctx.artifacts))
    return {**result, "task_id": ctx.id, "agent_id": ctx.agent_id}
