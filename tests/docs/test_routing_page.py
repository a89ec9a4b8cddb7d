"""The example of docs/routing.md, as it stands: routes appear, and each task's way is told."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path
from urllib.request import Request, urlopen

from amas.fleet.load import load_fleet

PAGE = (Path(__file__).parents[2] / "docs" / "routing.md").read_text()
LIMIT_S = 60


def _block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return found


def test_the_fleet_file_says_what_the_page_says(tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text(_block("yaml"))
    routing = load_fleet(tmp_path / "fleet.yaml").routing
    assert (routing.enabled, routing.explore, routing.half_life_s) == (True, 0.05, 600.0)
    assert (routing.weights.failure, routing.weights.time, routing.weights.usd, routing.weights.agent_time) == (10, 1, 100, 0)


def test_the_example_runs(tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text(_block("yaml"))
    (tmp_path / "routed.py").write_text(_block("python"))
    environment = {**os.environ, "AMAS_HOME": str(tmp_path / "home"), "COLUMNS": "200"}

    def amas(*arguments: str) -> str:
        command = [sys.executable, "-m", "amas", *arguments]
        done = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    up = json.loads(amas("up", "--fleet", "./fleet.yaml", "--port", "0", "--metrics-port", "0", "--json"))
    try:
        give_up_at = time.monotonic() + LIMIT_S
        while not (found := json.loads(amas("routes", "--json")))["routes"]:
            assert time.monotonic() < give_up_at, "no route was published"
            time.sleep(0.3)
        assert found["routes"][0]["capability"] == "text.shout"
        assert "careful" in amas("routes")
        body = json.dumps({"capability": "text.shout", "input": "hello"}).encode()
        with urlopen(
            Request(f"http://{up['host']}:{up['port']}/api/tasks", body, {"content-type": "application/json"})
        ) as answer:
            task_id = json.load(answer)["id"]
        while json.loads(amas("tasks", task_id, "--json"))["state"] not in {"succeeded", "failed"}:
            assert time.monotonic() < give_up_at, "half of the hasty one's attempts fail, and are tried again"
            time.sleep(0.3)
        told = json.loads(amas("tasks", "why", task_id, "--json"))
        assert told["pool"] in {"careful", "hasty"}
        assert told["then"]
        assert f"{task_id} went to {told['pool']}" in amas("tasks", "why", task_id)
        assert task_id in amas("tasks", task_id)
        assert task_id in amas("tasks")
    finally:
        amas("down")
