"""docs/secrets.md: its fleet is a fleet, its agent an agent, its references references."""

import re
from pathlib import Path

from amas.agents.base import AgentDefinition
from amas.fleet.load import load_fleet
from amas.secrets import SCHEMES, secrets_in

PAGE = (Path(__file__).parents[2] / "docs" / "secrets.md").read_text()


def block(language: str) -> str:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)[0]


def test_the_fleet_and_the_agent_of_the_page_go_together(tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text(block("yaml"))
    (tmp_path / "my_agents.py").write_text(block("python"))
    spec = load_fleet(tmp_path / "fleet.yaml", agents=True, environ={})
    assert list(secrets_in(spec.pools[0].options)) == ["vault:kv/openai#key"]
    scope: dict[str, object] = {}
    exec(block("python"), scope)
    assert isinstance(scope["write"], AgentDefinition)


def test_every_scheme_is_explained() -> None:
    assert set(re.findall(r"`(\w+):[^`]*`(?:, `k8s:[^`]*`)? \|", PAGE)) == set(SCHEMES)
