"""`amas login`, `amas logout`, `amas whoami`: people and the control plane that AMAS_URL names."""

import sys
from pathlib import Path
from urllib.parse import urlsplit

from amas.cli.api import Api, home_at
from amas.cli.output import console, harmless, print_json
from amas.signin.provider import Ask


def login(url: str, *, browser: bool, as_json: bool) -> None:
    """Sign in, and say as whom."""
    from amas.signin.session import address, login

    kept = login(url, _show, browser=browser)
    if as_json:
        print_json({"url": address(url), "name": kept.name, "role": kept.role, "tenant": kept.tenant})
        return
    console().print(f"you are {_who(kept.name, kept.role, kept.tenant)} at {address(url)}")
    if not kept.refresh_token:
        console().print("the provider gave nothing to renew this with: it ends in a quarter of an hour")
    console().print(f"[dim]commands go there while AMAS_URL is set: export AMAS_URL={address(url)}[/dim]")


def logout(url: str, *, as_json: bool) -> None:
    """Sign out."""
    from amas.signin.session import address, logout

    gone = logout(url)
    if as_json:
        print_json({"url": address(url), "signed_out": gone})
    else:
        console().print(f"signed out of {address(url)}" if gone else f"nobody was signed in with {address(url)} here")


def whoami(folder: Path | None, *, as_json: bool) -> None:
    """Print who calls, as the control plane sees it."""
    said = Api.of(home_at(folder)).get("/api/session")
    who = {name: said[name] for name in ("name", "role", "tenant")}
    if as_json:
        print_json(who)
    elif who["name"]:
        console().print(_who(**who))
    else:
        console().print("nobody: sign in with `amas login`, or show an API key with AMAS_TOKEN")


def _who(name: str, role: str, tenant: str) -> str:
    return f"{name} ({role}{f' of tenant {tenant}' if tenant else ''})"


def _show(ask: Ask) -> None:
    """Tell a person what to do, past whatever reads the command's output."""
    words = f"open {ask.url} and enter the code {ask.code}" if ask.code else f"open {ask.url} in a browser on this machine"
    print(harmless(words), file=sys.stderr, flush=True)
    if ask.complete:
        print(harmless(f"or open {ask.complete}"), file=sys.stderr, flush=True)
    if not ask.code and urlsplit(ask.url).scheme in ("http", "https"):
        import webbrowser

        webbrowser.open(ask.url)
