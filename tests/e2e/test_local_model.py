"""The local model as a part of a fleet: `AMAS_MODEL=local` starts it, and it ends with the fleet."""

import json
import urllib.request
from typing import Any

import pytest
from command import Command
from local_model import NEEDS_LOCAL_MODEL

pytestmark = NEEDS_LOCAL_MODEL

SCHEMA = {
    "type": "object",
    "properties": {"colour": {"type": "string", "enum": ["red", "green"]}},
    "required": ["colour"],
    "additionalProperties": False,
}


def ask(url: str, **more: Any) -> Any:
    body = {"model": "local", "messages": [{"role": "user", "content": "Name a colour."}], "max_tokens": 30, **more}
    request = urllib.request.Request(
        f"{url}/chat/completions", data=json.dumps(body).encode(), headers={"content-type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def test_a_fleet_has_it_as_a_part_that_answers_by_schema_and_says_what_was_used(amas: Command) -> None:
    up = amas("up", "--json", AMAS_MODEL="local")
    assert up.returncode == 0, up.stderr
    state = json.loads(up.stdout)
    assert {part["name"]: part["status"] for part in state["parts"]}["model"] == "running"
    wanted = {"type": "json_schema", "json_schema": {"name": "Colour", "schema": SCHEMA}}
    said = ask(f"http://127.0.0.1:{state['model_port']}/v1", response_format=wanted)
    assert json.loads(said["choices"][0]["message"]["content"])["colour"] in {"red", "green"}
    assert said["usage"]["prompt_tokens"] > 0
    assert said["usage"]["completion_tokens"] > 0
    assert amas("down").returncode == 0
    with pytest.raises(OSError, match="refused"):
        ask(f"http://127.0.0.1:{state['model_port']}/v1")


def test_it_plans_without_a_fleet(amas: Command) -> None:
    shown = amas("plan", "Review the code", "--input", ".", "--json", AMAS_MODEL="local")
    assert shown.returncode == 0, shown.stderr
    assert "the model local" in " ".join(json.loads(shown.stdout)["notes"])
