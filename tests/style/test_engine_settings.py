"""Who opens an engine goes by what the environment says of it: what counts as written, and how long an answer may take."""

import ast
from pathlib import Path

SOURCE = Path(__file__).parents[2] / "src/amas"
WITHOUT = {"backup/check.py"}
"""Which starts an engine of its own, that has no replicas and whose answers nobody waits for."""


def test_no_client_of_a_fleets_engine_is_made_without_settings() -> None:
    wrong = []
    for path in SOURCE.rglob("*.py"):
        calls = (node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call))
        made = [call for call in calls if isinstance(call.func, ast.Name) and call.func.id == "Engine"]
        wrong += [
            f"{path.relative_to(SOURCE)}:{call.lineno}" for call in made if "settings" not in {each.arg for each in call.keywords}
        ]
    assert [place for place in wrong if place.partition(":")[0] not in WITHOUT] == []
