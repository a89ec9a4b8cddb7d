"""`amas keys`, `amas audit` and `amas kill`: through the API of the running fleet, but for `verify`, which reads a file."""

import re
from datetime import datetime
from pathlib import Path
from typing import Any

from amas.cli.api import Api, home_at, quoted
from amas.cli.output import console, harmless, moment, print_json, remark
from amas.cli.who import me
from amas.errors import InputUnusable

_SPAN = re.compile(r"(\d+(?:\.\d+)?)([dh])")
_DAYS = {"d": 1.0, "h": 1 / 24}


def create(name: str, folder: Path | None, *, said: dict[str, Any], expires: str, as_json: bool) -> None:
    """Make a key and print it."""
    span = _SPAN.fullmatch(expires)
    if span is None:
        raise InputUnusable(f"--expires is {expires!r}, but must be a number of days or hours, such as 90d or 12h")
    made = Api.of(home_at(folder)).post("/api/keys", {"name": name, **said, "expires_days": float(span[1]) * _DAYS[span[2]]})
    if as_json:
        print_json(made)
        return
    print(harmless(made["key"]))
    remark(f"{name}, {made['role']}, until {moment(made['expires_ms'])}: it isn't shown again")


def keys(folder: Path | None, *, as_json: bool) -> None:
    """List all keys."""
    found = Api.of(home_at(folder)).all("/api/keys")
    if as_json:
        print_json(found)
        return
    rows = [
        [
            key["prefix"],
            key["name"],
            key["role"],
            key["tenant"],
            ", ".join(key["scopes"]),
            moment(key["expires_ms"]),
            f"revoked {moment(key['revoked_ms'])}" if key["revoked_ms"] else "",
            key["by"],
        ]
        for key in found["items"]
    ]
    _print(["prefix", "name", "role", "tenant", "scopes", "until", "", "made by"], rows, nothing="no key was ever made")


def revoke(prefix: str, folder: Path | None, *, as_json: bool) -> None:
    """Let a key open nothing any more."""
    gone = Api.of(home_at(folder)).delete(f"/api/keys/{quoted(prefix)}")
    if as_json:
        print_json(gone)
    else:
        console().print(f"the key {gone['prefix']} of {gone['name']} is revoked")


def rotate_signing(folder: Path | None, *, at_once: bool, as_json: bool) -> None:
    """Replace the keys that sign."""
    found = Api.of(home_at(folder)).post("/api/signing-keys/rotate", {"at_once": at_once})
    if as_json:
        print_json(found)
    else:
        console().print("tokens count that were signed with " + ", ".join(key["kid"] for key in found["keys"]))


def revoke_agent(name: str, folder: Path | None, *, as_json: bool) -> None:
    """Let no token count any more that an agent or a pool has."""
    gone = Api.of(home_at(folder)).delete(f"/api/tokens/{quoted(name)}")
    if as_json:
        print_json(gone)
    else:
        console().print(f"the tokens of {gone['name']} are revoked")


def audit(folder: Path | None, *, limit: int, as_json: bool) -> None:
    """List administrative acts."""
    found = Api.of(home_at(folder)).get("/api/audit", limit=limit)
    if as_json:
        print_json(found)
        return
    rows = [
        [line["seq"], _at(line["at"]), line["who"], line["role"], line["did"], line["about"], _outcome(line["outcome"])]
        for line in found["items"]
    ]
    _print(["", "at", "who", "role", "did", "whom or what", "outcome"], rows, nothing="nobody has changed anything so far")


def _at(said: str) -> str:
    """Return a time in the reader's zone; what isn't one stays as it was said."""
    try:
        return moment(round(datetime.fromisoformat(said).timestamp() * 1000))
    except ValueError:
        return said


def _outcome(status: int) -> str:
    """Return how an act came out; what the log says of itself has no status."""
    if status < 400:
        return "done" if status else ""
    return f"refused ({status})" if status < 500 else f"failed ({status})"


def verify_audit(file: Path | None, key: Path | None, folder: Path | None, *, known: str, as_json: bool) -> None:
    """Check a log, by default the home's; AuditDamaged names the first line that isn't sound."""
    from amas.policy.audit import LOG, verify

    lines, digest = verify(file or home_at(folder).folder / "audit" / LOG, key, known=known)
    if as_json:
        print_json({"lines": lines, "digest": digest})
    elif lines:
        console().print(f"{lines} line{'' if lines == 1 else 's'}, all sound; the last one's digest is {digest}")
    else:
        console().print("the log is empty: nobody has changed anything so far")


def certs(folder: Path, names: list[str], *, as_json: bool) -> None:
    """Make certificates and say which variables name them."""
    from amas.policy.certs import make_certificates

    make_certificates(folder, names)
    at = folder.absolute()
    if as_json:
        variables = {"AMAS_TLS_CERT": str(at / "server.pem"), "AMAS_TLS_KEY": str(at / "server.key")}
        print_json({"variables": variables, "authority": str(at / "ca.pem"), "client": str(at / "client.pem"), "names": names})
        return
    print(f"AMAS_TLS_CERT={at / 'server.pem'}\nAMAS_TLS_KEY={at / 'server.key'}")
    remark(f"clients trust {at / 'ca.pem'}; where AMAS_TLS_CA names it they must show {at / 'client.pem'}")


def kill(who: str, folder: Path | None, *, said: dict[str, Any], as_json: bool) -> None:
    """Kill, or lift a kill; a name with a number at its end is an agent's. Nobody named: say who is killed."""
    kind, api = "agent" if who.rpartition("-")[2].isdigit() else "pool", Api.of(home_at(folder))
    asks = not (who or said["fleet"] or said["lift"])
    found = api.get("/api/kill") if asks else api.post("/api/kill", {**said, kind: who, "by": me()})
    if as_json:
        print_json(found)
        return
    rows = [
        ["the whole fleet" if item["target"] == "*" else item["target"], item["why"], item["by"], moment(item["at_ms"])]
        for item in found["items"]
    ]
    _print(["killed", "why", "by", "since"], rows, nothing="nothing is killed")


def _print(columns: list[str], rows: list[list[object]], *, nothing: str) -> None:
    if not rows:
        console().print(nothing)
        return
    from amas.cli.tree import table

    console().print(table("", columns, rows))
