"""A real Prometheus and its promtool for tests."""

import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from receivers import LIMIT_S, answering, free_port, get_json

PROMETHEUS, PROMTOOL = shutil.which("prometheus"), shutil.which("promtool")


def promtool(*arguments: str | Path, stdin: bytes | None = None) -> "subprocess.CompletedProcess[bytes]":
    assert PROMTOOL is not None
    command = [PROMTOOL, *map(str, arguments)]
    return subprocess.run(command, input=stdin, capture_output=True, timeout=LIMIT_S, check=False)


@contextmanager
def prometheus(folder: Path) -> Iterator[str]:
    """Run Prometheus by the configuration in a folder and give its address."""
    assert PROMETHEUS is not None
    port = free_port()
    command = [
        PROMETHEUS,
        f"--config.file={folder / 'prometheus.yml'}",
        f"--storage.tsdb.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
    ]
    url = f"http://127.0.0.1:{port}"
    with answering(command, folder, f"{url}/api/v1/status/buildinfo"):
        yield url


def query(url: str, expression: str) -> list[dict[str, Any]]:
    """Return what Prometheus answers: series with their labels and newest values."""
    answer = get_json(f"{url}/api/v1/query?{urlencode({'query': expression})}")
    assert answer["status"] == "success", answer
    found: list[dict[str, Any]] = answer["data"]["result"]
    return found
