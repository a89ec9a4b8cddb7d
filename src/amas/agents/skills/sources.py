"""Reading a scope's Python files, and naming many files by few folders, so that printed commands stay short.

Called by the specialists that give files to tools. Must never write, nor follow a path out of the scope's root.
"""

import os
import re
import tokenize
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from amas.agents.skills.findings import Scope, Unread

PYTHON_SUFFIXES = (".py", ".pyi")
OUTSIDE = "lies outside the folder that is worked on"

SURELY_PARSEABLE_BYTES = 256 << 10
PYTHON_BYTES_MAX = 4 << 20
PYTHON_WORDS_MAX = 250_000
"""Words and signs of one Python file: parsing takes up to a kilobyte of memory for each, whichever they are."""
TOO_DENSE = f"no Python that people write: over {PYTHON_BYTES_MAX >> 20} MiB, or over {PYTHON_WORDS_MAX} words and signs"
_WORD = re.compile(rb"\w+|[^\w \t\r]")

JUNK_FOLDERS = frozenset(
    (
        *(".bzr", ".direnv", ".eggs", ".git", ".git-rewrite", ".hg", ".ipynb_checkpoints", ".mypy_cache", ".nox", ".pants.d"),
        *(".pyenv", ".pytest_cache", ".pytype", ".ruff_cache", ".svn", ".tox", ".venv", ".vscode", "__pypackages__", "_build"),
        *("buck-out", "build", "dist", "node_modules", "site-packages", "venv", "__pycache__", ".amas", ".hypothesis"),
    )
)
"""Never looked at: ruff's own default list, so that ruff on the original folder sees the same files, and caches."""


def is_junk(name: str) -> bool:
    """Return whether a folder of this name holds nothing that somebody wrote."""
    return name in JUNK_FOLDERS or name.endswith(".egg-info")


def is_parseable(blob: bytes) -> bool:
    """Return whether parsing this Python file can't take more memory than a host has to spare."""
    if len(blob) <= SURELY_PARSEABLE_BYTES:
        return True
    return len(blob) <= PYTHON_BYTES_MAX and sum(1 for _ in _WORD.finditer(blob)) <= PYTHON_WORDS_MAX


def usable(scope: Scope, suffixes: tuple[str, ...] = PYTHON_SUFFIXES) -> tuple[list[str], list[Unread]]:
    """Return the scope's files that tools can be given, in order and once each, and the others with the reason."""
    good: list[str] = []
    bad: list[Unread] = []
    root = scope.root.resolve()
    for path in sorted(set(scope.paths)):
        if not path.endswith(suffixes):
            continue
        full = root / path
        if not full.resolve().is_relative_to(root):
            bad.append(Unread(path, OUTSIDE))
        elif not full.is_file():
            bad.append(Unread(path, "no such file"))
        else:
            good.append(path)
    return good, bad


def read_python(path: Path) -> str:
    """Return a Python file's text, by the encoding that it declares; ValueError says in a sentence why it can't be read."""
    try:
        with tokenize.open(path) as file:
            return file.read()
    except SyntaxError as error:
        raise ValueError(f"declares an encoding that Python doesn't know: {error.msg}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"is not {error.encoding} text (byte {error.start})") from error
    except OSError as error:
        raise ValueError(f"can't be read: {error.strerror}") from error


def cover(root: Path, paths: Iterable[str]) -> list[str]:
    """Return the fewest folders and files that name `paths`: a folder only where a tool that walks it finds just those files."""
    wanted = set(paths)
    found = list(_files_that_tools_find(root))
    spoilt = {
        parent for path in found if path not in wanted or _is_hidden(path) or path.endswith(".pyi") for parent in _parents(path)
    }
    named: set[str] = set()
    for path in wanted:
        whole = [parent for parent in _parents(path) if parent not in spoilt]
        named.add(path if not whole or path not in found else whole[-1])
    return sorted(f"./{name}" if name.startswith("-") else name for name in named)


def _files_that_tools_find(root: Path) -> Iterator[str]:
    """Yield what ruff, radon or vulture would take for Python when they walk `root`."""
    for folder, _, names in os.walk(root):
        for name in names:
            full = Path(folder, name)
            if name.endswith((*PYTHON_SUFFIXES, ".pyw", ".ipynb")) or _is_script(full):
                yield full.relative_to(root).as_posix()


def _is_script(path: Path) -> bool:
    """Return whether a file without a suffix begins with `#!`: radon takes such a one for Python."""
    if path.suffix or not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(2) == b"#!"


def _is_hidden(path: str) -> bool:
    return any(part.startswith(".") or is_junk(part) for part in PurePosixPath(path).parts)


def _parents(path: str) -> list[str]:
    """Return the folders around a file, the innermost first and `.` last."""
    return [str(parent) for parent in PurePosixPath(path).parents]
