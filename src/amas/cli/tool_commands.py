"""`amas tools`; `tools.py` does what it says. Part of the `amas` command."""

from typing import Annotated

import typer

from amas.cli.options import HomeOption, Json

app = typer.Typer()


@app.command("tools")
def list_tools(
    fleet: Annotated[str, typer.Argument(help="A fleet file or a blueprint's name; by default the one that was started.")] = "",
    probe: Annotated[
        bool, typer.Option("--probe", help="Ask each tool what it takes; this starts MCP servers and shows their tools' digests.")
    ] = False,
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """List a fleet's tools: of which kinds they are, and the pools that may use them."""
    from amas.cli import tools

    raise typer.Exit(tools.show(fleet, home, probe=probe, as_json=json))
