"""The commands of the small language model on this machine; `platforms/local/model.py` does what they say."""

from typing import Annotated

import typer

from amas.cli.groups import Group
from amas.cli.options import Json

model_app = typer.Typer(
    cls=Group, help="A small language model on this machine, for tests and for goals without a key.", no_args_is_help=True
)


@model_app.command("install")
def install_model(json: Json = False) -> None:
    """Install it into this Python; AMAS_MODEL=local has a fleet start it."""
    from amas.platforms.local import model

    model.install()
    if json:
        from amas.cli.output import print_json

        print_json({"installed": True, "variables": {"AMAS_MODEL": "local"}})
        return
    print("the local model is installed: AMAS_MODEL=local has a fleet use it")


@model_app.command("serve")
def serve_model(port: Annotated[int, typer.Option(min=0, max=65_535, help="The port; 0 for any free one.")] = 0) -> None:
    """Serve it in the foreground, on loopback, for whatever speaks OpenAI's chat completions."""
    from amas.platforms.local import model

    model.serve(port)
