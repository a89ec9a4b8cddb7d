"""The program in docs/messages.md runs and prints what the text says; the page has every setting of messages."""

import re
import subprocess
import sys
from pathlib import Path

from amas.settings import MessageSettings

PAGE = (Path(__file__).parents[2] / "docs" / "messages.md").read_text()


def test_the_program_runs() -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60).stdout
    assert shown.startswith("lead-1 {'found': 3}\n{'state': 'ok', 'backlog': 1,")


def test_every_setting_is_there() -> None:
    assert [field.variable.name for field in MessageSettings.fields() if field.variable.name not in PAGE] == []
