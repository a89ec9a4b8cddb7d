"""The page on fleets at full size: its fleet file loads, and its commands and figures' names are there."""

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from amas.cli.main import app
from amas.fleet.load import load_fleet

PAGE = (Path(__file__).parents[2] / "docs" / "fleet-at-full-size.md").read_text()


def test_the_fleet_file_declares_a_place_for_a_skill_to_come(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "fleet.yaml").write_text(block)
    (pool,) = load_fleet(tmp_path / "fleet.yaml", agents=True).pools
    assert (pool.skill, pool.replicas, pool.labels["speciality"]) == ("none", 300, "relativity")


@pytest.mark.parametrize("option", ["--layer", "--capability", "--status", "--host", "--limit", "--json"])
def test_amas_ps_has_what_the_page_names(option: str) -> None:
    assert option in PAGE
    shown = CliRunner().invoke(app, ["ps", "--help"], env={"COLUMNS": "200", "TERM": "dumb"})
    assert shown.exit_code == 0 and option in shown.output
