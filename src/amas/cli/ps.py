"""`amas ps`: a fleet at a glance, a line for each pool; its agents on request, a page of the API at a time."""

from pathlib import Path
from typing import Any

from typer import BadParameter

from amas.cli.api import Api, home_at
from amas.cli.look import agent_rows, print_killed
from amas.cli.output import console, counted, print_json, remark
from amas.model.remote import REMOTE_POOL

PAGE = 1000
"""Agents that the API gives at a time."""
AFAR_SHOWN = 20
"""Agents that run elsewhere, beside the pools."""
STATUSES = ("idle", "working", "error", "healing")


def pools(folder: Path | None, *, as_json: bool) -> None:
    """List the pools with how many of their agents do what, and the agents that run elsewhere."""
    api = Api.of(home_at(folder))
    found = api.get("/api/pools")
    if as_json:
        print_json(found)
        return
    from amas.cli.tree import table

    whys = [pool["why"] for pool in api.get("/api/fleet/desired")["pools"] if pool["why"]]
    afar = api.get("/api/agents", pool=REMOTE_POOL, limit=AFAR_SHOWN)
    if not found["items"]:
        console().print("no agent is seated yet: `amas status` and `amas hosts` say why")
    else:
        _print_pools(found)
    for why in whys:
        console().print(why, markup=False, soft_wrap=True)
    print_killed(api.get("/api/kill")["items"])
    if afar["items"]:
        console().print(table("elsewhere", *agent_rows(afar["items"])))
    if afar["next"]:
        remark(f"{afar['total'] - AFAR_SHOWN:,} more elsewhere: amas ps {REMOTE_POOL} --limit {afar['total']}")


def _print_pools(found: dict[str, Any]) -> None:
    from amas.cli.tree import table

    rows = [_pool_row(pool) for pool in found["items"]]
    total = found["agents"]
    rows.append([counted(len(rows), "pool"), "", "", "", total["total"], *(total[status] for status in STATUSES)])
    console().print(table("", ["pool", "layer", "skill", "version", "agents", *STATUSES, "done", "failed"], rows))


def _pool_row(pool: dict[str, Any]) -> list[object]:
    agents = pool["agents"]
    counts = [agents["total"], *(agents[status] for status in STATUSES)]
    versions = ", ".join(pool["versions"])
    return [pool["pool"], pool["layer"], pool["skill"], versions, *counts, pool["tasks_succeeded"], pool["tasks_failed"]]


def agents(folder: Path | None, *, filters: dict[str, Any], limit: int, as_json: bool) -> None:
    """List up to `limit` agents that the filters let through."""
    api, items, total = Api.of(home_at(folder)), list[dict[str, Any]](), 0
    cursor: str | None = ""
    while cursor is not None and len(items) < limit:
        page = api.get("/api/agents", **filters, limit=min(PAGE, limit - len(items)), cursor=cursor)
        items += page["items"]
        total, cursor = page["total"], page["next"]
    if as_json:
        print_json({"items": items, "total": total, "next": cursor})
        return
    if not items:
        _refuse_unknown(api, filters)
        words = {name: ", ".join(value) if isinstance(value, list) else value for name, value in filters.items()}
        said = ", ".join(f"{name} {value}" for name, value in words.items() if value)
        console().print(f"no agent is such: {said}" if said else "no agent is registered: `amas status` says why")
        return
    from amas.cli.tree import table

    console().print(table("", *agent_rows(items)))
    print_killed(api.get("/api/kill")["items"])
    if len(items) < total:
        remark(f"{total - len(items):,} more: --limit {total} shows all; a pool, --status, --host, --label and others choose")


def _refuse_unknown(api: Api, filters: dict[str, Any]) -> None:
    """Refuse a pool or a host that isn't there: a slip must not look like one that is empty."""
    if (pool := filters.get("pool")) and pool != REMOTE_POOL:
        pools = [each["name"] for each in api.get("/api/fleet/desired")["pools"]]
        if pool not in pools:
            raise BadParameter(f"there is no pool {pool!r}: this fleet has {', '.join(sorted(pools))}", param_hint="POOL")
    if host := filters.get("host"):
        hosts = [each["id"] for each in api.get("/api/hosts")["items"]]
        if host not in hosts:
            live = ", ".join(sorted(hosts)) or "none"
            raise BadParameter(f"there is no host {host!r}: these live: {live}", param_hint="--host")
