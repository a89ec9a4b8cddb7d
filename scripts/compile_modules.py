"""Compiles what the processes of a fleet import, by importing it once, and all of amas: `make setup` runs it.

Whoever sets PYTHONDONTWRITEBYTECODE, as container images do, would else pay for the compiler at each start of each process.
What isn't imported here (a skill's own libraries, say) isn't compiled: compiling every library takes ten times as long.
"""

import compileall
import importlib
from pathlib import Path

STARTS = (
    "amas.cli.lifecycle",
    "amas.cli.main",
    "amas.cli.part",
    "amas.agents.host",
    "amas.agents.seating",
    "amas.orchestration.coordinator",
    "amas.platforms.local.opening",
    "amas.platforms.local.supervisor",
    "amas.server.process",
    # imported at use
    "aiosqlite",
    "rich.progress",
    "structlog",
    "typer.completion",
    "uvloop",
)

for name in STARTS:
    importlib.import_module(name)
compileall.compile_dir(Path(__file__).parents[1] / "src", quiet=1)
