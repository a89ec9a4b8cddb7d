"""What a shell asks the command when the user presses tab."""

import os
import subprocess
import sys
from pathlib import Path


def test_a_shell_completes_commands() -> None:
    asked = {"_AMAS_COMPLETE": "complete_bash", "COMP_WORDS": "amas to", "COMP_CWORD": "1"}
    amas = Path(sys.executable).with_name("amas")
    done = subprocess.run([amas], env={**os.environ, **asked}, capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == ["top", "tools"]
