"""docs/backup.md: its fleet file is one, and its drill runs word for word."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from host_bench import SAMPLES

from amas.fleet.load import load_fleet
from amas.model.backup import BackupSpec

PAGE = (Path(__file__).parents[2] / "docs" / "backup.md").read_text()


def test_the_declaration_is_a_fleets_and_its_times_are_the_defaults(tmp_path: Path) -> None:
    (block,) = re.findall(r"```yaml\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "fleet.yaml").write_text(block)
    assert load_fleet(tmp_path / "fleet.yaml", environ={}).backup == BackupSpec(to="s3://backups/kept")


@pytest.mark.requirement("M9")
@pytest.mark.timeout(600)
def test_the_drill_runs(tmp_path: Path) -> None:
    (drill,) = re.findall(r"```bash\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "fleet.yaml").write_text((SAMPLES / "ledger.yaml").read_text() + "    options: {ledger: ./x, steps: 1}\n")
    (tmp_path / "sample_agents.py").write_text((SAMPLES / "sample_agents.py").read_text())
    program = f'set -eEu\namas() {{ {sys.executable} -m amas "$@"; }}\n'
    program += "trap 'amas down || true; amas down --home ./restored || true' ERR\n"
    environment = {name: value for name, value in os.environ.items() if not name.startswith("AMAS_")}
    done = subprocess.run(
        ["bash", "-c", program + drill], cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=500, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"backed up as \S+ \(full\)", done.stdout)
    assert re.search(r"backed up as \S+ \(incremental, after \S+\)", done.stdout)
    assert "is whole" in done.stdout
    assert "goes on where it stood" in done.stdout
    assert re.search(r"host-2 +running", done.stdout), done.stdout
