"""What a process may load at its start."""

import subprocess
import sys

import pytest

HEAVY = {"rich.console", "httpx", "redis", "sqlalchemy", "fastapi", "structlog", "yaml", "griffe", "asyncio", "textual"}
"""Not pydantic: typer itself loads it to check a command's own options."""


@pytest.mark.parametrize("arguments", ["['--help']", "['run', '--help']"])
def test_help_loads_nothing_heavy(arguments: str) -> None:
    program = (
        "import sys\n"
        f"sys.argv = ['amas', *{arguments}]\n"
        "from amas.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        f"print('LOADED', sorted({HEAVY!r} & set(sys.modules)))\n"
    )
    shown = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60).stdout
    assert shown.rstrip().endswith("LOADED []"), shown
