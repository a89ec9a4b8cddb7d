"""Splitting files into groups of about the same size, a folder kept together where that is possible.

`partition()` is pure: leads import it, and `execution.partition` hands it out as a task. Files are `{path, lines}`, groups are
`{name, paths}`. Must never drop or repeat a file.
"""

from collections import defaultdict
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import cast

import msgspec

from amas.agents.base import agent
from amas.agents.context import Context
from amas.errors import GiveUp
from amas.model.task import Json


class SizedFile(msgspec.Struct, frozen=True):
    """A file and how much work it is."""

    path: str
    lines: int = 1


class Group(msgspec.Struct, frozen=True):
    """Files that one specialist gets."""

    name: str
    """Unique among the groups and fit for a task's key: `src-click`, `tests-2`."""
    paths: tuple[str, ...]


def partition(files: Sequence[SizedFile], groups_max: int) -> list[Group]:
    """Return at most `groups_max` groups, balanced by lines; a folder is cut only when it is larger than an even share."""
    if groups_max < 1:
        raise ValueError(f"groups_max must be at least 1, not {groups_max}")
    if not files:
        return []
    share = max(1.0, sum(_weight(file) for file in files) / groups_max)
    bins: list[list[SizedFile]] = [[] for _ in range(min(groups_max, len(files)))]
    pieces = sorted(_pieces(files, share), key=lambda piece: (-sum(map(_weight, piece)), piece[0].path))
    for piece in pieces:
        min(bins, key=lambda held: sum(map(_weight, held))).extend(piece)
    return _named([sorted(file.path for file in held) for held in bins if held])


def _weight(file: SizedFile) -> int:
    """Return a file's share of the work; an empty one costs something too."""
    return max(file.lines, 1)


def _pieces(files: Sequence[SizedFile], share: float) -> list[list[SizedFile]]:
    """Return the folders' files, those of a folder larger than `share` cut in order of their names."""
    folders: dict[str, list[SizedFile]] = defaultdict(list)
    for file in sorted({file.path: file for file in files}.values(), key=lambda file: file.path):
        folders[str(PurePosixPath(file.path).parent)].append(file)
    pieces: list[list[SizedFile]] = []
    for members in folders.values():
        piece: list[SizedFile] = []
        for file in members:
            if piece and sum(map(_weight, piece)) + _weight(file) > share:
                pieces.append(piece)
                piece = []
            piece.append(file)
        pieces.append(piece)
    return pieces


def _named(groups: list[list[str]]) -> list[Group]:
    """Name each group for the folder that all its files share, with a number where several would be called the same."""
    groups.sort()
    names = [_folder_of(paths) for paths in groups]
    counted: dict[str, int] = defaultdict(int)
    named = []
    for name, paths in zip(names, groups, strict=True):
        counted[name] += 1
        named.append(Group(f"{name}-{counted[name]}" if names.count(name) > 1 else name, tuple(paths)))
    return _made_unique(named)


def _made_unique(groups: list[Group]) -> list[Group]:
    """Return the groups, those whose name is taken already (`a-1` may be a folder) with one that isn't."""
    taken: set[str] = set()
    unique = []
    for group in groups:
        name = group.name
        while name in taken:
            name += "-x"
        taken.add(name)
        unique.append(Group(name, group.paths))
    return unique


def _folder_of(paths: list[str]) -> str:
    parents = [PurePosixPath(path).parent.parts for path in paths]
    common = [parts[0] for parts in zip(*parents, strict=False) if len(set(parts)) == 1] if parents else []
    return "-".join(common) or "all"


@agent("execution.partition")
async def partition_files(ctx: Context) -> Json:
    """Split the input's `files` into at most `groups_max` groups."""
    try:
        files = msgspec.convert(ctx.input["files"], list[SizedFile])
        groups = partition(files, int(ctx.input.get("groups_max", 8)))
    except (KeyError, TypeError, ValueError, msgspec.ValidationError) as error:
        raise GiveUp(
            f"execution.partition needs files:[{{path,lines}}] and groups_max: {error}", code="input_unusable"
        ) from error
    return {"groups": cast(list[Json], msgspec.to_builtins(groups))}
