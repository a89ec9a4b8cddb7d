"""docs/model-agents.md: the page shows the example as it is, and it runs as it stands against a model server on loopback."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from model_server import call, model_server

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "model-agents.md").read_text()
EXAMPLE = ROOT / "examples" / "model-agent"
LIMIT_S = 60


def test_the_page_shows_the_example_as_it_is() -> None:
    shown = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    assert shown == [(EXAMPLE / "fleet.yaml").read_text(), (EXAMPLE / "writer.yaml").read_text()]


def test_the_example_runs_as_it_stands(tmp_path: Path) -> None:
    folder = tmp_path / "model-agent"
    shutil.copytree(EXAMPLE, folder)
    headline = {"headline": "Old dock pump stops", "words": 4}
    answers = [call("word_count", {"text": headline["headline"]}), call("final_result", headline, "call_2")]
    with model_server(answers) as server:
        environment = {
            **os.environ, "AMAS_HOME": str(tmp_path / "home"), "OPENAI_API_KEY": "none", "OPENAI_BASE_URL": server.url
        }  # fmt: skip

        def run(*command: str) -> str:
            done = subprocess.run(
                command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
            )
            assert done.returncode == 0, done.stderr
            return done.stdout

        amas = (sys.executable, "-m", "amas")
        run(*amas, "up", "--fleet", "./fleet.yaml", "--port", "0", "--metrics-port", "0")
        try:
            assert run(sys.executable, "headline.py").splitlines() == ["Old dock pump stops", "2 calls, 240 tokens"]
            assert server.asked() == [0, 1]
            while not (made := json.loads(run(*amas, "costs", "--by", "model", "--json")))["items"]:
                pass  # the records follow within a second
            (model,) = made["items"]
            assert (model["name"], model["provider"], model["tokens"], model["calls"]) == ("gpt-4o-mini", "openai", 240, 2)
            shown = run(*amas, "costs", "--by", "model", "--since", "24h").splitlines()
            assert next(line.split() for line in shown if "gpt-4o-mini" in line)[:3] == ["gpt-4o-mini", "0.000054", "240"]
        finally:
            run(*amas, "down")
