"""`python -m amas.cli.part WHAT HOME ...`: one part of a local fleet, as its supervisor starts it.

`serve HOME`, `host HOME NAME` and `model PORT` do what `amas serve`, `amas host` and `amas model serve` do. They don't read a
command line that people write, so what reads those isn't imported: it would double the time that a host takes to start.
"""

import sys
from pathlib import Path

from amas.cli.exit import reported
from amas.imports import uncollected
from amas.platforms.local.ready import await_turn, stands_by


def main(what: str, *arguments: str) -> None:
    """Run the part until it is told to stop; every expected error is one sentence and an exit code."""
    with reported():
        match what, arguments:
            case "host", (home, name):
                with uncollected():
                    from amas.platforms.local.host import run_host

                run_host(Path(home), name)
            case "serve", (home,):
                with uncollected():
                    from amas.server.process import run_control_plane

                    if stands_by():  # else that comes while the process leads already
                        import amas.server.serve  # noqa: F401
                await_turn()
                run_control_plane(Path(home))
            case "model", (port,):
                from amas.platforms.local.model import serve

                serve(int(port))
            case _:
                raise AssertionError(f"no part is {what} {arguments}")


if __name__ == "__main__":
    main(*sys.argv[1:])
