"""Receivers of alerts for tests: a real HTTP server on loopback, and a real Alertmanager where the machine has one."""

import json
import shutil
import subprocess
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

from http_served import Whole, bound, running

from amas.platforms.local.ports import claim_ports

ALERTMANAGER = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
LIMIT_S = 60.0


class Post(NamedTuple):
    path: str
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Receiver:
    """Takes posts; answers with `status`, a redirect to `elsewhere` included."""

    def __init__(self) -> None:
        self.posts: list[Post] = []
        self.status = 200
        self.elsewhere = ""
        self.answering = threading.Event()
        """Cleared, who posts gets a byte of an answer now and then, and never all of it."""
        self.answering.set()
        outer = self

        class Handler(Whole):
            def do_POST(self) -> None:
                outer.posts.append(Post(self.path, dict(self.headers), self.read()))
                while not outer.answering.wait(0.1):
                    with suppress(OSError):  # who posts had enough
                        self.wfile.write(b"H")
                        continue
                    return
                self.send_response(outer.status)
                if outer.elsewhere:
                    self.send_header("Location", outer.elsewhere)
                self.end_headers()
                self.wfile.write(b"because")

        self.server = bound(Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/hook"
        self._running = ExitStack()

    def __enter__(self) -> "Receiver":
        self._running.enter_context(running(self.server))
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()


def free_port() -> int:
    """Return a port that no connection gets by chance before, or between two runs of, the server that it is for."""
    return claim_ports("127.0.0.1", {"port": 0})["port"]


def get_json(url: str) -> Any:
    with urllib.request.urlopen(url, timeout=60) as answer:
        return json.load(answer)


@contextmanager
def answering(command: list[str], folder: Path, url: str) -> Iterator[None]:
    """Run a server's command, whose output goes to `folder`, and begin the block when it answers at `url`."""
    with (folder / "log").open("wb") as log, subprocess.Popen(command, stdout=log, stderr=log) as process:
        try:
            give_up_at = time.monotonic() + LIMIT_S
            while True:
                try:
                    get_json(url)
                    break
                except OSError:
                    assert process.poll() is None and time.monotonic() < give_up_at, (folder / "log").read_text()
                    time.sleep(0.05)
            yield
        finally:
            process.terminate()
            process.wait()


@contextmanager
def alertmanager(folder: Path) -> Iterator[str]:
    """Run Alertmanager in a folder and give its address."""
    assert ALERTMANAGER is not None
    (folder / "alertmanager.yml").write_text("route: {receiver: nobody}\nreceivers: [{name: nobody}]\n")
    port = free_port()
    command = [
        ALERTMANAGER,
        f"--config.file={folder / 'alertmanager.yml'}",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    url = f"http://127.0.0.1:{port}"
    with answering(command, folder, f"{url}/api/v2/status"):
        yield url
