"""Options that many commands have."""

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Watch = Annotated[bool, typer.Option("--watch", "-w", help="Show it anew every two seconds; Ctrl-C ends it.")]
HomeOption = Annotated[Path | None, typer.Option("--home", help="The fleet's data folder (AMAS_HOME, by default ~/.amas).")]
