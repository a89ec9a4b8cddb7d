"""`amas top`: the fleet's figures, pools, queues, hosts and newest failures, live on one screen; or once, for programs."""

import os
import sys
from pathlib import Path

from amas.cli.api import Api, home_at
from amas.cli.output import print_json
from amas.errors import InputUnusable

FAILURES = 20
PATIENCE_S = 6.0
"""What answers later is said to be away."""


def top(folder: Path | None, *, as_json: bool) -> None:
    """Show the screen until the user quits, or print one snapshot."""
    api = Api.of(home_at(folder), timeout_s=PATIENCE_S)
    if as_json:
        print_json(
            {
                "figures": api.get("/api/metrics"),
                "pools": api.get("/api/pools")["items"],
                "failures": api.get("/api/tasks", state="failed", limit=FAILURES)["items"],
            }
        )
        return
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise InputUnusable("this is no terminal: `amas top --json` prints one snapshot")
    if os.environ.get("TERM", "") in ("", "dumb"):
        raise InputUnusable("this terminal can't show a screen (TERM): `amas ps --watch` and `amas status` print lines")
    from amas.cli.top_app import Top

    app = Top(api)
    app.run()
    raise SystemExit(app.return_code)
