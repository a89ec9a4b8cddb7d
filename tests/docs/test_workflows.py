"""docs/workflows.md: its example runs as it stands, its flows are sound, and it names every option there is."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec

from amas import Workflow
from amas.core.flow_check import problems
from amas.model.flow import Flow, FlowTask, MapOver
from amas.model.yamlfile import YamlFile

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "workflows.md").read_text()
EXAMPLE = ROOT / "examples" / "digest"
LIMIT_S = 60


def _blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_page_shows_the_example_as_it_is() -> None:
    assert _blocks("python")[0] == (EXAMPLE / "digest.py").read_text()
    assert _blocks("yaml") == [(EXAMPLE / "digest.yaml").read_text()]


def test_the_file_says_what_the_program_says() -> None:
    namespace: dict[str, Any] = {"__name__": "digest"}
    exec(_blocks("python")[0], namespace)
    flow = YamlFile.read(EXAMPLE / "digest.yaml").decode(Flow)
    assert list(problems(flow)) == []
    built = namespace["digest"]().built()
    assert msgspec.structs.replace(built, tasks=()) == msgspec.structs.replace(flow, tasks=())
    for one, other in zip(built.tasks, flow.tasks, strict=True):
        expected = {"over": "needs.fetch"} if one.map else {}
        mapped = msgspec.structs.replace(one.map, **expected) if one.map else None
        assert msgspec.structs.replace(one, map=mapped) == other


def test_the_other_flows_are_sound() -> None:
    namespace: dict[str, Any] = {"Workflow": Workflow}
    for block in _blocks("python")[1:]:
        exec(block, namespace)
    assert namespace["follow"].capabilities == ("order.follow",)


def test_every_option_is_told() -> None:
    fields = [field.name for kind in (FlowTask, MapOver) for field in msgspec.structs.fields(kind)]
    assert [name for name in fields if f"`{name}" not in PAGE and name != "key"] == []


def test_the_example_runs_as_it_stands(tmp_path: Path) -> None:
    folder = tmp_path / "digest"
    shutil.copytree(EXAMPLE, folder)
    environment = {**os.environ, "AMAS_HOME": str(tmp_path / "home")}

    def run(*command: str) -> str:
        done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout

    amas = (sys.executable, "-m", "amas")
    run(*amas, "up", "--fleet", "./fleet.yaml", "--port", "0", "--metrics-port", "0")
    try:
        assert run(sys.executable, "digest.py").splitlines() == [
            "sent to everybody",
            "Engines: Engines turn heat into motion.",
            "Valves: Valves let flow pass or stop it.",
        ]
        assert json.loads(run(*amas, "workflows", "start", "digest.yaml", "--json"))["workflow_id"]
    finally:
        run(*amas, "down")
