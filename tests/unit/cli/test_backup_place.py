"""Where `amas restore` looks for back-ups when nobody says it."""

from pathlib import Path

import pytest

from amas.cli.backups import Wanted, restore
from amas.errors import BackupUnknown
from amas.platforms.local.home import FleetState, Home

FLEET = """
name: kept
backup: {{to: {place}}}
pools:
  - {{name: worker, agent: "my_agents:work", capabilities: [text.work], layer: executive}}
"""


def test_a_restore_looks_where_the_fleet_that_runs_keeps_its_back_ups(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    declared = tmp_path / "fleet.yaml"
    declared.write_text(FLEET.format(place=tmp_path / "declared"))
    monkeypatch.setenv("AMAS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("AMAS_BACKUP_URL", str(tmp_path / "elsewhere"))
    (tmp_path / "key").write_text("a secret of more than sixteen characters")
    (tmp_path / "key").chmod(0o600)
    monkeypatch.setenv("AMAS_BACKUP_KEY", f"file:{tmp_path / 'key'}")
    home, asked = Home(tmp_path / "home"), Wanted("", tmp_path / "restored", "", "", as_json=True)
    home.prepare()
    state = FleetState(
        name="kept",
        fleet_file=str(declared),
        engine_url=f"unix://{tmp_path}/nobody.sock",  # then what the file of the start says
        cell="local",
        artifacts_url=str(home.artifacts),
        host="127.0.0.1",
        port=0,
        metrics_port=0,
    )
    with home.hold():
        home.write_state(state)
        with pytest.raises(BackupUnknown, match=r"there are no back-ups in .*/declared:"):
            restore(asked)
        with pytest.raises(BackupUnknown, match=r"there are no back-ups in .*/said:"):
            restore(asked._replace(url=str(tmp_path / "said")))
    with pytest.raises(BackupUnknown, match=r"there are no back-ups in .*/elsewhere:"):  # nothing runs any more
        restore(asked)
