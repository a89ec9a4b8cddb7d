"""Where on a machine the work of a tenant may read and write: in its own folders below the fleet's home, and nowhere else.

In each folder of the home what is a tenant's lies in a folder of that tenant's: `inputs/acme-1f0c…/` has the files that came with
its goals, `workspaces/acme-1f0c…/` what its tasks made, `deliverables/acme-1f0c…/` what they handed over. So whether a path
is a tenant's own can be read off it, once its links are followed. Work that is no tenant's may use what the host's user may.

Called by `Context.own` for whatever a task's input names, and by the routes that take and show files. Must never trust a path
that it hasn't resolved: a tenant's own tasks may have left links.
"""

import os
import re
from hashlib import blake2b
from pathlib import Path

from amas.errors import GiveUp

REFUSED = "folder_refused"
_SHOWN_CHARS = 24
_ODD = re.compile(r"[^A-Za-z0-9_-]+")


def tenant_folder(tenant: str) -> str:
    """Return what a tenant's folder is called in each folder of the home: a name that no other tenant's can be made to equal."""
    return f"{_ODD.sub('-', tenant)[:_SHOWN_CHARS]}-{blake2b(tenant.encode(), digest_size=8).hexdigest()}"


def workspace_of(workspaces: Path, *, tenant: str, workflow_id: str, task_id: str) -> Path:
    """Return a task's private folder, which need not be there."""
    return (workspaces / tenant_folder(tenant) if tenant else workspaces) / (workflow_id or "tasks") / task_id


def home_of(workspace: Path) -> Path:
    """Return the home in which the workspace of a tenant's task lies: HOME/workspaces/TENANT/WORKFLOW/TASK."""
    return workspace.parents[3]


def is_own(path: Path, *, tenant: str, home: Path) -> bool:
    """Return whether a path, its links followed, lies in the tenant's folder of one of the home's folders."""
    try:
        parts = path.resolve().relative_to(home.resolve()).parts
    except (OSError, ValueError, RuntimeError):  # not below it, no name of a file, or a loop of links
        return False
    return len(parts) > 1 and parts[1] == tenant_folder(tenant)


def own_path(named: str | Path, *, tenant: str, home: Path) -> Path:
    """Return a path that a tenant's task names, made absolute and its links followed; GiveUp (`folder_refused`) for others."""
    try:
        path = Path(named).expanduser()
    except RuntimeError:  # the home folder of a user whom nobody knows
        path = Path()
    if not path.is_absolute() or not is_own(path, tenant=tenant, home=home):
        raise GiveUp(
            f"the folder {str(named)[:200]!r} isn't the tenant's: its work reads files that came with its goals, and what its "
            "own tasks made of them",
            code=REFUSED,
        )
    return path.resolve()


def check_links(folder: Path) -> None:
    """Raise GiveUp (`folder_refused`) where a link below a folder, whose links are followed already, leads out of it."""
    for at, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(at, name)
            if path.is_symlink() and not _leads_within(path, folder):
                raise GiveUp(f"{path.relative_to(folder)} is a link that leaves the folder", code=REFUSED)


def _leads_within(link: Path, folder: Path) -> bool:
    try:
        return link.resolve().is_relative_to(folder)
    except (OSError, RuntimeError):
        return False
