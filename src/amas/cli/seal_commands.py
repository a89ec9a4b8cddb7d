"""The commands of `amas seal`; their work lies in `seal.py`, loaded when one is called."""

import typer

from amas.cli.groups import Group
from amas.cli.options import HomeOption, Json

seal = typer.Typer(cls=Group, no_args_is_help=True, help="The keys that payloads are sealed with.")


@seal.command()
def rotate(home: HomeOption = None, json: Json = False) -> None:
    """Seal anew what older keys have sealed, with the first of AMAS_SEAL_KEY, and say which keys are needed no more."""
    from amas.cli import seal as module

    module.rotate(home, as_json=json)
