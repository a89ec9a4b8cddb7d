"""`amas login`, `amas logout`, `amas whoami`; `signing_in.py` does what they say. Part of the `amas` command."""

from typing import Annotated

import typer

from amas.cli.options import HomeOption, Json

app = typer.Typer()

Url = Annotated[str, typer.Argument(envvar="AMAS_URL", help="The control plane, such as https://fleet.example (AMAS_URL).")]


@app.command()
def login(
    url: Url,
    browser: Annotated[
        bool, typer.Option("--browser", help="Sign in with a browser on this machine, also where a code would do.")
    ] = False,
    json: Json = False,
) -> None:
    """Sign in with a control plane elsewhere (your organisation's account); commands use it while AMAS_URL names it."""
    from amas.cli import signing_in

    signing_in.login(url, browser=browser, as_json=json)


@app.command()
def logout(url: Url, json: Json = False) -> None:
    """End the sign-in with a control plane: here, there and with the organisation's provider."""
    from amas.cli import signing_in

    signing_in.logout(url, as_json=json)


@app.command()
def whoami(home: HomeOption = None, json: Json = False) -> None:
    """Say whom the control plane takes you for, and what you may do."""
    from amas.cli import signing_in

    signing_in.whoami(home, as_json=json)
