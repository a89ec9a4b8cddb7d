"""docs/remote-agents.md: its fleet files load, its calls are those of the API, and its defaults the settings'."""

import re
from pathlib import Path

from amas.fleet.load import load_fleet
from amas.model.remote import RemoteSpec
from amas.server.guard import SESSIONS
from amas.server.routes.remote import router
from amas.settings import RemoteSettings

PAGE = (Path(__file__).parents[2] / "docs" / "remote-agents.md").read_text()


def test_its_fleet_files_are_fleets(tmp_path: Path) -> None:
    specs = []
    for block in re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL):
        path = tmp_path / f"{len(specs)}.yaml"
        path.write_text(block)
        specs.append(load_fleet(path, environ={}))
    afar, proxied = specs
    assert afar.remote == RemoteSpec(agents="listed", capabilities=("text.words", "text.turn"))
    assert afar.capabilities == {"text.edit", "text.words", "text.turn"}
    assert afar.queue_bounds["text.turn"] == afar.limits.max_queued
    assert proxied.pool("translator").options["http"]["timeout_s"] == 30.0


def test_the_environment_goes_before_the_file(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)[0])
    assert load_fleet(path, environ={"AMAS_REMOTE_AGENTS": "off"}).capabilities == {"text.edit"}
    assert load_fleet(path, environ={"AMAS_REMOTE_AGENTS": "any"}).remote.agents == "any"


def test_its_table_has_every_call() -> None:
    told = {tuple(call.split(" ")) for call in re.findall(r"^\| `((?:POST|GET|DELETE) [^`]+)`", PAGE, re.MULTILINE)}
    real = set()
    for route in router.routes:
        path = route.path.replace("{session_id}", "{session}").replace("{task_id}", "{task}")
        path = path.replace(f"{SESSIONS}/{{session}}/tasks", ".../tasks").replace(f"{SESSIONS}/", ".../")
        real |= {(method, path) for method in route.methods}
    assert told == real


def test_its_defaults_are_the_settings() -> None:
    rows = dict(re.findall(r"^\| `(AMAS_REMOTE_\w+)` \|.*\| (\w+) \|$", PAGE, re.MULTILINE))
    shown = {field.variable.name: str(field.default or "empty").removesuffix(".0") for field in RemoteSettings.fields()}
    assert rows == shown
