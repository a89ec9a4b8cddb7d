"""A program with the two parts that the supervisor starts, `serve HOME` and `host HOME NAME`, and nothing behind them.

It notes its life in `<home>/life.txt`. A file `<home>/<name>.mode` makes it misbehave: `crash` (ends before it is ready), `mute`
(never gets ready), `deaf` (ignores SIGTERM).
"""

import argparse
import os
import signal
import socket
import sys
from pathlib import Path

from amas.platforms.local.home import Home
from amas.platforms.local.ready import tell_ready


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("command", choices=["serve", "host"])
    parser.add_argument("home", type=Path)
    parser.add_argument("name", nargs="?", default="control-plane")
    arguments = parser.parse_args()
    home, name = Home(arguments.home), arguments.name
    mode_file = home.folder / f"{name}.mode"
    mode = mode_file.read_text() if mode_file.exists() else ""

    def note(what: str) -> None:
        with (home.folder / "life.txt").open("a") as life:
            life.write(f"{name} {what} {os.getpid()}\n")

    def stop(*_: object) -> None:
        if mode != "deaf":
            note("stopped")
            os._exit(0)

    signal.signal(signal.SIGTERM, stop)
    note("began")
    if mode == "crash":
        sys.exit("it won't")
    state = home.read_state()
    assert state.engine_url.startswith("unix://")
    if mode == "mute":
        signal.pause()
    listener = socket.create_server((state.host, state.port)) if arguments.command == "serve" else None  # noqa: F841  held
    tell_ready()
    while True:
        signal.pause()


main()
