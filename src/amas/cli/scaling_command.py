"""The command `amas scaling` with its options; its work lies in `cli/scaling.py`, which loads when it is called."""

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer()


@app.command()
def scaling(
    pool: Annotated[str, typer.Argument(metavar="[POOL]", help="One pool, with its signals and last changes.")] = "",
    home: Annotated[Path | None, typer.Option("--home", help="The fleet's data folder (AMAS_HOME, by default ~/.amas).")] = None,
    json: Annotated[bool, typer.Option("--json", help="Print JSON for programs.")] = False,
) -> None:
    """Show pools whose size follows their work: how many agents, how many there should be, and why."""
    from amas.cli import scaling as module

    module.scaling(pool, home, as_json=json)
