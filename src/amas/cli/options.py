"""Options that many commands have."""

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Show it anew every two seconds; Ctrl-C ends it.")]
HomeOption = Annotated[Path | None, typer.Option("--home", help="The fleet's data folder (AMAS_HOME, by default ~/.amas).")]
Port = Annotated[
    int | None, typer.Option("--port", min=0, max=65_535, help="The API's port (AMAS_PORT, by default 8000; 0 for any free one).")
]
MetricsPort = Annotated[
    int | None,
    typer.Option("--metrics-port", min=0, max=65_535, help="The port of /metrics (AMAS_METRICS_PORT, by default 9090)."),
]
