"""`execution.collect`: a snapshot of the documents that a goal gives, or the plain fact that it gives none.

The result has `execution.ingest`'s shape, as far as leads and the gate read it: `{root, source, files_ref, files, skipped,
broken, digest}`, and `goal`, which specialists search for. An empty folder, or none, is no error: the report then says so.
"""

from pathlib import Path, PurePosixPath

import msgspec

from amas.agents.base import agent
from amas.agents.context import Context
from amas.agents.skills.ingest import Skipped, SourceFile, check_input, named_input, take_snapshot
from amas.agents.skills.research.read import READERS
from amas.artifacts.store import ArtifactStore
from amas.model.task import Json

LINE_BYTES = 100
"""What counts as a line where there are none, as in a PDF: the work is shared out by lines."""


def collect_documents(input_dir: str, target: Path, store: ArtifactStore) -> dict[str, Json]:
    """Copy the documents of a folder to `target` and return what was copied; GiveUp when the folder can't be read."""
    if not input_dir or _is_empty(input_dir):
        target.mkdir(parents=True, exist_ok=True)
        return _result(input_dir, target, store, files=[], skipped=[], digest="")
    snapshot = take_snapshot(check_input(input_dir), target)
    known = [file for file in snapshot.files if PurePosixPath(file.path).suffix.lower() in READERS]
    other = [
        Skipped(file.path, "its kind isn't read")
        for file in snapshot.files
        if PurePosixPath(file.path).suffix.lower() not in READERS
    ]
    return _result(input_dir, target, store, files=known, skipped=[*snapshot.skipped, *other], digest=snapshot.digest)


def _is_empty(input_dir: str) -> bool:
    try:
        folder = Path(input_dir).expanduser()
        return folder.is_dir() and not any(folder.iterdir())
    except (OSError, ValueError, RuntimeError):  # which `check_input` says in a sentence
        return False


@agent("execution.collect")
async def collect(ctx: Context) -> Json:
    """Copy the goal's documents into the workspace and say what there is."""
    given = ctx.input if isinstance(ctx.input, dict) else {}
    input_dir = named_input(ctx)
    result = await ctx.step("collect", lambda: collect_documents(input_dir, ctx.workspace / "snapshot", ctx.artifacts))
    return {**result, "goal": str(given.get("goal") or ""), "task_id": ctx.id, "agent_id": ctx.agent_id}


def _result(
    source: str, target: Path, store: ArtifactStore, *, files: list[SourceFile], skipped: list[Skipped], digest: str
) -> dict[str, Json]:
    sized = [SourceFile(file.path, file.bytes, max(file.lines, file.bytes // LINE_BYTES), "document") for file in files]
    return {
        "root": str(target),
        "source": source,
        "files_ref": store.put_json(msgspec.to_builtins(sized)),
        "files": len(files),
        "broken": [],
        "skipped": msgspec.to_builtins(skipped),
        "digest": digest,
    }
