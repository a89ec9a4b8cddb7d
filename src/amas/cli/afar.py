"""Files of a goal that a fleet elsewhere meets: the input folder goes there, the deliverable comes here.

What is sent is what the fleet would look at (`skills.ingest`): nothing that `.gitignore` names, no junk. What comes is written by
the same rules as here (`skills.publish`): no foreign file is overwritten, and no name leads out of the folder.
"""

from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

from amas.cli.api import Api
from amas.errors import GiveUp, InputUnusable

_MEND = "put the folder on the fleet's machine and start the goal there, or give a smaller one"


def send(api: Api, folder: Path) -> str:
    """Send what counts of a folder and return the one on the fleet's machine that has it; InputUnusable where it takes none."""
    from amas.agents.skills.ingest import check_input, take_snapshot

    bounds = api.get("/api/inputs")
    if bounds["closed"]:
        raise InputUnusable(f"--input can't be sent to the fleet that AMAS_URL names: {bounds['closed']}")
    with TemporaryDirectory() as copy:
        try:
            files = take_snapshot(check_input(str(folder)), Path(copy)).files
        except GiveUp as error:
            raise InputUnusable(str(error)) from error
        large = next((file for file in files if file.bytes > bounds["file_bytes_max"]), None)
        if large is not None:
            raise InputUnusable(
                f"{folder / large.path} is larger than the {bounds['file_bytes_max'] >> 20} MiB that may be sent: {_MEND}"
            )
        total = sum(file.bytes for file in files)
        if len(files) > bounds["files_max"] or total > bounds["bytes_max"]:
            raise InputUnusable(
                f"{folder} holds {len(files):,} files of {total / 2**20:,.1f} MiB; {bounds['files_max']:,} files of "
                f"{bounds['bytes_max'] >> 20} MiB may be sent: {_MEND}"
            )
        made = api.post("/api/inputs")
        for file in files:
            api.send(f"/api/inputs/{made['id']}/{quote(file.path)}", (Path(copy) / file.path).read_bytes())
    return str(made["folder"])


def fetch(api: Api, workflow: dict[str, Any], output: Path) -> dict[str, Any]:
    """Write a finished goal's deliverable to a folder here and return it with that in the place of the fleet's own.

    InputUnusable where the folder can't be written. A deliverable that is no folder of files comes back as it is.
    """
    from amas.agents.skills.publish import publish_folder

    found: dict[str, Any] = workflow["result"]
    if not isinstance(found, dict) or "folder" not in found:
        return found
    names = [str(file["name"]) for file in found.get("files") or []]
    with TemporaryDirectory() as copy:
        for name in names:
            target = PurePosixPath(name)
            if target.is_absolute() or ".." in target.parts or not target.parts:
                raise InputUnusable(f"the deliverable names a file outside its folder, which isn't written: {name!r}")
            path = Path(copy).joinpath(*target.parts)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(api.fetch(f"/api/workflows/{quote(workflow['id'], safe='')}/deliverable/{quote(name)}"))
        try:
            publish_folder(Path(copy), names, output.absolute())
        except GiveUp as error:
            raise InputUnusable(f"{error}; the goal's page has it, and so does the fleet's machine: {found['folder']}") from error
    return {**found, "folder": str(output.absolute())}
