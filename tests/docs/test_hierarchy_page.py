"""docs/python-hierarchy.md: its first program starts a fleet of its own, has a goal met, and ends without a word of complaint."""

import os
import re
import subprocess
import sys
from pathlib import Path

PAGE = (Path(__file__).parents[2] / "docs" / "python-hierarchy.md").read_text()
LIMIT_S = 180


def test_its_first_program_runs_as_it_stands_and_ends_with_its_fleet(tmp_path: Path) -> None:
    shop = tmp_path / "shop"
    shop.mkdir()
    (shop / "till.py").write_text(
        '"""A till."""\n\n\ndef add(a: int, b: int) -> int:\n    """Return the sum."""\n    return a + b\n'
    )
    program = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0].replace("/srv/shop", str(shop))
    environment = {**os.environ, "AMAS_HOME": str(tmp_path / "home")}
    done = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert f"completed {tmp_path / 'home' / 'deliverables'}" in done.stdout
    assert "'technical-lead'" in done.stdout.splitlines()[-1]
    assert not (tmp_path / "home" / "fleet.json").exists(), "its fleet is gone"
