"""The YAML in docs/ is what the loaders take."""

import re
from pathlib import Path

import msgspec

from amas.fleet.load import load_fleet
from amas.model.authority import AUTHORITY, Right
from amas.model.breaker import BreakerSpec
from amas.model.healing import CAUSES, HealingSpec
from amas.model.limits import Amounts
from amas.model.states import Layer
from amas.orchestration.playbooks import load_playbook

DOCS = Path(__file__).parents[2] / "docs"


def _yaml(page: str, folder: Path) -> Path:
    (block,) = re.findall(r"```yaml\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    path = folder / "block.yaml"
    path.write_text(block)
    return path


def test_the_fleet_file_is_a_fleet(tmp_path: Path) -> None:
    spec = load_fleet(_yaml("fleet-files.md", tmp_path), environ={})
    assert spec.limits.quality_threshold == 0.9
    assert spec.pool("editor").timeout_s == 90
    assert spec.pool("editor").limits.memory_mb == 512


def test_the_limits_are_a_fleets(tmp_path: Path) -> None:
    spec = load_fleet(_yaml("limits.md", tmp_path), environ={})
    assert [(each.name, each.requests_per_min) for each in spec.providers] == [("openai", 500)]
    assert (spec.pool("writer").provider, spec.tenants["acme"].budget) == ("openai", Amounts(usd=50.0))


def test_the_healing_page_is_a_fleets_and_its_defaults_are_true(tmp_path: Path) -> None:
    spec = load_fleet(_yaml("healing.md", tmp_path), environ={})
    assert spec.pool("clerk").healing == msgspec.structs.replace(HealingSpec(), stuck_after_s=300.0)
    assert spec.breakers == {"payments-api": BreakerSpec()}
    page = (DOCS / "healing.md").read_text()
    assert re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE) == list(CAUSES)


def test_the_hierarchys_rights_are_a_fleets(tmp_path: Path) -> None:
    rights = {member.pool: member.rights for member in load_fleet(_yaml("hierarchy.md", tmp_path), environ={}).members}
    assert rights["editor"] == AUTHORITY[Layer.MANAGEMENT] - {Right.PLAN} | {Right.APPROVE}
    page = (DOCS / "hierarchy.md").read_text()
    for layer in (Layer.MANAGEMENT, Layer.SPECIALIST, Layer.EXECUTION):
        assert f"| `{layer}` | {', '.join(f'`{right}`' for right in Right if right in AUTHORITY[layer])} |" in page


def test_the_playbook_is_a_playbook(tmp_path: Path) -> None:
    playbook = load_playbook(_yaml("playbooks.md", tmp_path))
    assert playbook.capabilities == {
        "execution.ingest", "execution.publish", "executive.quality", "management.creative", "text.shorten",
    }  # fmt: skip


def test_every_field_of_a_pool_is_in_the_table() -> None:
    import msgspec

    from amas.fleet.declared import DeclaredPool

    page = (DOCS / "fleet-files.md").read_text()
    assert [field.name for field in msgspec.structs.fields(DeclaredPool) if f"`{field.name}`" not in page] == []


def test_the_durability_page_names_its_settings_with_their_defaults() -> None:
    from amas.settings import EngineSettings

    page = (DOCS / "durability.md").read_text()
    rows = dict(re.findall(r"^\| `(AMAS_\w+)` \| .* \| (\S+) \|$", page, re.MULTILINE))
    shown = [field for field in EngineSettings.fields() if field.name.startswith("ack_") or field.name == "timeout_s"]
    assert rows == {
        field.variable.name: str(field.default).lower() if field.kind is bool else f"{field.default:g}" for field in shown
    }
    (url,) = re.findall(r"AMAS_ENGINE_URL='(.*)'", page)
    assert EngineSettings.read({"AMAS_ENGINE_URL": url, "AMAS_ACK_REPLICAS": "1"}).url == url


def test_the_planning_page_names_its_settings() -> None:
    from amas.settings import ModelSettings

    rows = re.findall(r"^\| `(AMAS_\w+)` \|", (DOCS / "planning.md").read_text(), re.MULTILINE)
    assert rows == [field.variable.name for field in ModelSettings.fields()]
