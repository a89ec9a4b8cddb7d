"""`amas keys`, `amas audit`, `amas certs`, `amas kill`; `access.py` does what they say. Part of the `amas` command."""

from pathlib import Path
from typing import Annotated

import typer

from amas.cli import complete
from amas.cli.groups import Group, ShowFirst
from amas.cli.options import HomeOption, Json

app = typer.Typer()
ROLES = ("system-admin", "operator", "viewer", "agent")
keys_app = typer.Typer(cls=Group, help="API keys: who may call the control plane.", no_args_is_help=True)
app.add_typer(keys_app, name="keys")
audit_app = typer.Typer(help="Who changed what: `show`, which may be left out, and `verify`.", cls=ShowFirst)
app.add_typer(audit_app, name="audit")


@keys_app.command("create")
def create_key(
    name: Annotated[str, typer.Argument(help="Whose it is: what the audit calls its owner.")],
    role: Annotated[
        str, typer.Option(help="system-admin, operator, viewer or agent.", autocompletion=complete.one_of(*ROLES))
    ] = "operator",
    tenant: Annotated[str, typer.Option(help="Whose work alone it sees and changes.")] = "",
    expires: Annotated[str, typer.Option(help="After how long it opens nothing any more, such as 90d or 12h.")] = "90d",
    scope: Annotated[
        list[str] | None,
        typer.Option(help="A part of the API that it opens, such as tasks or workflows:read; may be said again."),
    ] = None,
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """Make an API key and print it, this once. From the first one on, nobody is let in without one."""
    from amas.cli import access

    access.create(name, home, said={"role": role, "tenant": tenant, "scopes": scope or []}, expires=expires, as_json=json)


@keys_app.command("list")
def list_keys(home: HomeOption = None, json: Json = False) -> None:
    """List all keys that were ever made, by what finds them."""
    from amas.cli import access

    access.keys(home, as_json=json)


@keys_app.command("revoke")
def revoke_key(
    prefix: Annotated[str, typer.Argument(help="As `amas keys list` shows it.", autocompletion=complete.keys)],
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """Let a key open nothing any more, at once; browsers that signed in with it are signed out."""
    from amas.cli import access

    access.revoke(prefix, home, as_json=json)


@keys_app.command("rotate-signing")
def rotate_signing(
    at_once: Annotated[
        bool, typer.Option("--at-once", help="No token counts any more that was signed so far: for a key that others may have.")
    ] = False,
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """Replace the keys that sign agents' tokens; those that agents have count until they expire."""
    from amas.cli import access

    access.rotate_signing(home, at_once=at_once, as_json=json)


@keys_app.command("revoke-agent")
def revoke_agent(
    name: Annotated[
        str,
        typer.Argument(
            metavar="AGENT|POOL", help="The agent, such as coder-3, or the pool.", autocompletion=complete.agents_or_pools
        ),
    ],
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """Let no token of an agent, or of a pool's agents, count any more. It may ask for new ones: `amas kill` stops it."""
    from amas.cli import access

    access.revoke_agent(name, home, as_json=json)


@audit_app.command("show")
def show_audit(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many to list, newest first.")] = 20,
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """List administrative acts, newest first."""
    from amas.cli import access

    access.audit(home, limit=limit, as_json=json)


@audit_app.command("verify")
def verify_audit(
    file: Annotated[
        Path | None, typer.Argument(help="The log, or a copy of it; by default audit/audit.jsonl in the data folder.")
    ] = None,
    key: Annotated[Path | None, typer.Option(help="The public key; by default audit.pub beside the log.")] = None,
    known: Annotated[
        str, typer.Option(metavar="DIGEST", help="What an earlier check printed: finds out whether lines were cut off since.")
    ] = "",
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """Check that no line was changed, removed or put in. Asks nobody, so it works without the fleet."""
    from amas.cli import access

    access.verify_audit(file, key, home, known=known, as_json=json)


@app.command()
def certs(
    folder: Annotated[Path, typer.Argument(help="Where they are written.")],
    name: Annotated[list[str] | None, typer.Option(help="A name or address of the server; may be said again.")] = None,
    json: Json = False,
) -> None:
    """Make certificates for development: an authority, a server's and a client's, for 90 days; again to renew them."""
    from amas.cli import access

    access.certs(folder, name or ["localhost", "127.0.0.1", "::1"], as_json=json)


@app.command()
def kill(
    who: Annotated[
        str,
        typer.Argument(
            metavar="AGENT|POOL", help="The agent, such as coder-3, or the pool.", autocompletion=complete.agents_or_pools
        ),
    ] = "",
    fleet: Annotated[bool, typer.Option("--fleet", help="All agents of the fleet.")] = False,
    why: Annotated[str, typer.Option(help="The reason, for those who find it tomorrow.")] = "killed by an operator",
    lift: Annotated[bool, typer.Option("--lift", help="Let it work again; without a name, all that is killed.")] = False,
    home: HomeOption = None,
    json: Json = False,
) -> None:
    """Stop an agent, a pool or the fleet at once, until the kill is lifted; without a name, list who is killed."""
    from amas.cli import access

    access.kill(who, home, said={"fleet": fleet, "why": why, "lift": lift}, as_json=json)
