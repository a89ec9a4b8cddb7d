"""Options that many commands have."""

from pathlib import Path
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
HomeOption = Annotated[Path | None, typer.Option("--home", help="The fleet's data folder (AMAS_HOME, by default ~/.amas).")]
