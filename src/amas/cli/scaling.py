"""`amas scaling`: pools whose size follows their work, and why each has the size that it has."""

from pathlib import Path
from typing import Any

from amas.cli.api import Api, home_at, quoted
from amas.cli.output import console, moment, print_json

COLUMNS = ["pool", "agents", "from", "to", "advised", "grown", "shrunk", "why"]


def scaling(pool: str, folder: Path | None, *, as_json: bool) -> None:
    """Show all scaled pools, or one with its signals and last changes."""
    found = Api.of(home_at(folder)).get(f"/api/scaling/{quoted(pool)}" if pool else "/api/scaling")
    if as_json:
        print_json(found)
    elif pool:
        _print_one(found)
    else:
        _print_all(found["pools"])
        if found["hosts"]:
            print_hosts(found["hosts"])


def print_hosts(found: dict[str, Any]) -> None:
    """Say how many hosts load asks for, why, and the last changes."""
    console().print(
        f"{found['replicas']} hosts, {found['min']} to {found['max']} by load: {found['reason']}", markup=False, soft_wrap=True
    )
    _print_steps(found)


def _print_all(pools: list[dict[str, Any]]) -> None:
    from amas.cli.tree import table

    if not pools:
        console().print("no pool follows its work: scaling: in the fleet file has one do so (docs/scaling.md)")
        return
    names = ("pool", "replicas", "min", "max", "recommended", "grown", "shrunk")
    rows: list[list[object]] = [[*(each[name] for name in names), _why(each)] for each in pools]
    console().print(table("scaled pools", COLUMNS, rows))


def _print_one(found: dict[str, Any]) -> None:
    from amas.cli.tree import table

    console().print(
        f"{found['pool']}: {found['replicas']} agents, {found['min']} to {found['max']}", f"as of {moment(found['at_ms'])}"
    )
    console().print(_why(found), markup=False, soft_wrap=True)
    signals: list[list[object]] = [[each["name"], each["agents"], each["words"]] for each in found["signals"]]
    console().print(table("signals", ["signal", "agents", "because"], signals))
    _print_steps(found)

    if limit := found["limit"]:
        console().print(f"memory limit: {limit['reason']}", markup=False, soft_wrap=True)
        _print_steps({**limit, "recommend_only": found["recommend_only"]})


def _print_steps(found: dict[str, Any]) -> None:
    from amas.cli.tree import table

    steps: list[list[object]] = [
        [moment(each["at_ms"]), each["before"], each["replicas"], each["reason"]] for each in found["steps"]
    ]
    if steps:
        console().print(table("advice" if found["recommend_only"] else "last changes", ["at", "from", "to", "why"], steps))


def _why(found: dict[str, Any]) -> str:
    if found["pinned_by"]:
        return f"set to {found['replicas']} by {found['pinned_by']}; else: {found['reason']}"
    return f"advice only: {found['reason']}" if found["recommend_only"] else str(found["reason"])
