"""The examples of docs/large-payloads.md and docs/back-pressure.md, as they stand, on a fleet whose artifacts are in S3."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx
from s3_server import s3_server

DOCS = Path(__file__).parents[2] / "docs"
LIMIT_S = 60


def _blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)


def test_the_examples_run_as_they_stand(tmp_path: Path) -> None:
    agent, large = _blocks("large-payloads.md", "python")
    (fleet,) = _blocks("back-pressure.md", "yaml")
    (patient,) = _blocks("back-pressure.md", "python")
    for name, text in (("repeat.py", agent), ("large.py", large), ("fleet.yaml", fleet), ("patient.py", patient)):
        (tmp_path / name).write_text(text)
    with s3_server() as address:
        httpx.put(f"{address.endpoint}/docs", timeout=60).raise_for_status()
        fleet_s = {**os.environ, **address.environ, "AMAS_HOME": str(tmp_path / "home")}

        def run(*command: str, **more: str) -> str:
            done = subprocess.run(
                command, cwd=tmp_path, env={**fleet_s, **more}, capture_output=True, text=True, timeout=LIMIT_S, check=False
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        amas = (sys.executable, "-m", "amas")
        up = run(
            *amas,
            "up",
            "--fleet",
            "./fleet.yaml",
            "--port",
            "0",
            "--metrics-port",
            "0",
            "--json",
            AMAS_ARTIFACTS_URL="s3://docs/x",
        )
        try:
            found = json.loads(run(*amas, "doctor", "--fleet", "./fleet.yaml", "--json", AMAS_ARTIFACTS_URL="s3://docs/x"))
            assert {"check": "artifacts", "ok": True, "found": "s3://docs/x"} in found
            wrong = subprocess.run(
                [*amas, "doctor", "--fleet", "./fleet.yaml", "--json"],
                cwd=tmp_path,
                env={**fleet_s, "AMAS_ARTIFACTS_URL": "s3://nobodys-bucket"},
                capture_output=True,
                text=True,
                timeout=LIMIT_S,
                check=False,
            )
            assert wrong.returncode == 3
            assert "NoSuchBucket: The specified bucket does not exist" in wrong.stdout
            assert json.loads(up)["artifacts_url"] == "s3://docs/x"
            assert run(sys.executable, "large.py").strip() == "1200000"  # the client learns from the home where the store is
            assert not list((tmp_path / "home" / "artifacts").iterdir())
            assert run(sys.executable, "patient.py").splitlines() == ["100", "text.repeat 10 11"]
            pruned = json.loads(run(*amas, "artifacts", "prune", "--older-than", "30d", "--json"))
            assert pruned["removed"] == 0
            metrics = httpx.get(f"http://127.0.0.1:{json.loads(up)['metrics_port']}/metrics", timeout=60).text
            assert 'amas_queue_bound{queue="text.repeat"} 10.0' in metrics
        finally:
            run(*amas, "down")
