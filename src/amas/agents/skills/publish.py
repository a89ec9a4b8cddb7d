"""Puts a finished deliverable where the user wants it.

Each file is written beside its place, synced and renamed, so a reader sees the old one or the new one, whole. Before the first is
moved all have been written, so a full disk changes nothing. A foreign file (one that an earlier deliverable didn't list in its
`.amas-deliverable.json`) is never overwritten, and nothing is ever deleted that wasn't written here.
Called by the hosts for `execution.publish`. Must never follow a name out of the output folder.
"""

import asyncio
import errno
import os
import tempfile
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path, PurePosixPath

import msgspec

from amas.agents.base import agent
from amas.agents.context import Context
from amas.agents.grounds import check_links
from amas.errors import GiveUp
from amas.model.task import Json

MANIFEST = ".amas-deliverable.json"
_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "the disk quota is used up",
    errno.EACCES: "permission is denied",
    errno.EPERM: "permission is denied",
    errno.EROFS: "the file system is read-only",
    errno.ENOTDIR: "a part of its path is a file",
    errno.EEXIST: "a file has its name",
    errno.ENAMETOOLONG: "its path is too long",
}


class Published(msgspec.Struct, frozen=True):
    """One file of the deliverable, as it lies in the output folder."""

    name: str
    """Relative to the folder, with `/`."""
    bytes: int
    sha256: str


def publish_folder(source: Path, names: Sequence[str], output: Path) -> list[Published]:
    """Copy the files `names` of `source` to `output` and return what lies there; GiveUp says in one sentence why it can't."""
    targets = {name: _target(output, name) for name in names}
    try:
        output.mkdir(parents=True, exist_ok=True)
        _refuse_foreign(output, source, targets)
        written = _stage(source, output, targets)
    except OSError as error:
        raise GiveUp(f"the deliverable can't be written to {output}: {_reason(error)}", code="output_unusable") from error
    return written


@agent("execution.publish")
async def publish(ctx: Context) -> Json:
    """Copy the approved deliverable to the output folder that the task's input names."""
    report = _report_in(ctx.results)
    output = (ctx.input or {}).get("output_dir")
    if not isinstance(output, str) or not output:
        raise GiveUp("the task's input names no output folder (output_dir)", code="input_unusable")
    folder = await asyncio.to_thread(lambda: ctx.own(output).expanduser().absolute())
    source, names = ctx.own(str(report["folder"])), [_name(file) for file in report["files"]]
    if ctx.spec.tenant:
        await asyncio.to_thread(check_links, source)

    async def work() -> Json:
        written = await asyncio.to_thread(publish_folder, source, names, folder)
        return {"files": msgspec.to_builtins(written)}

    done = await ctx.step("publish", work)
    return {
        "folder": str(folder),
        **done,
        "summary": report.get("summary", {}),
        "table": report.get("table", []),
    }


def _report_in(results: Mapping[str, Json]) -> dict[str, Json]:
    """Return the report among the results: itself, or inside `approve`."""
    waiting = [results.get("approve"), results.get("report"), *results.values()]
    while waiting:
        found = waiting.pop(0)
        if isinstance(found, dict) and "folder" in found and "files" in found:
            return found
        if isinstance(found, dict) and isinstance(found.get("report"), dict):
            waiting.insert(0, found["report"])
    raise GiveUp("there is no report to publish", code="input_unusable")


def _name(file: Json) -> str:
    return str(file["name"]) if isinstance(file, dict) else str(file)


def _target(output: Path, name: str) -> Path:
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts or not parts.parts:
        raise GiveUp(f"the deliverable names a file outside its folder: {name!r}", code="output_unusable")
    return output.joinpath(*parts.parts)


def _refuse_foreign(output: Path, source: Path, targets: Mapping[str, Path]) -> None:
    ours = listed(output)
    for name, target in targets.items():
        if not target.parent.resolve().is_relative_to(output.resolve()):
            raise GiveUp(f"{target.parent} leads out of the output folder", code="output_unusable")
        foreign = target.is_symlink() or (target.exists() and name not in ours)
        if foreign and not (target.is_file() and not target.is_symlink() and target.read_bytes() == (source / name).read_bytes()):
            raise GiveUp(
                f"{target} is there already and no deliverable wrote it: choose another output folder", code="output_unusable"
            )


def listed(output: Path) -> frozenset[str]:
    """Return the names of the files that a deliverable has in a folder; none where no deliverable was published."""
    try:
        manifest = msgspec.json.decode((output / MANIFEST).read_bytes(), type=list[Published])
    except (FileNotFoundError, msgspec.MsgspecError):
        return frozenset()
    return frozenset(file.name for file in manifest)


def _stage(source: Path, output: Path, targets: Mapping[str, Path]) -> list[Published]:
    """Write everything under temporary names, then move it all; on any failure the temporary files are gone again."""
    staged: list[tuple[Path, Path]] = []
    written = []
    try:
        for name, target in targets.items():
            blob = _content(source, name)
            target.parent.mkdir(parents=True, exist_ok=True)
            staged.append((_write_beside(target, blob), target))
            written.append(Published(name, len(blob), sha256(blob).hexdigest()))
        kept = [Published(name, 0, "") for name in sorted(listed(output) - targets.keys())]
        manifest = output / MANIFEST
        staged.insert(0, (_write_beside(manifest, msgspec.json.encode([*written, *kept])), manifest))
        while staged:
            temporary, target = staged[0]
            temporary.replace(target)
            staged.pop(0)
    finally:
        for temporary, _ in staged:
            temporary.unlink(missing_ok=True)
    return written


def _content(source: Path, name: str) -> bytes:
    path = source / name
    if not path.is_file() or not path.resolve().is_relative_to(source.resolve()):
        raise GiveUp(f"the deliverable has no file {name!r}", code="input_unusable")
    return path.read_bytes()


def _write_beside(target: Path, blob: bytes) -> Path:
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=".amas-")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(blob)
            file.flush()
            os.fsync(file.fileno())
            os.fchmod(file.fileno(), 0o644)  # mkstemp makes it private; a report is for reading
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    return Path(temporary)


def _reason(error: OSError) -> str:
    where = f" ({error.filename})" if error.filename else ""
    return _REASONS.get(error.errno or 0, str(error.strerror or error)) + where
