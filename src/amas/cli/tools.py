"""`amas tools`: a fleet's tools, and who may use them by the fleet file; policies may take away from that."""

import asyncio
import sys
from pathlib import Path
from typing import Any

import msgspec

from amas.agents.tools.toolbox import Toolbox
from amas.cli.api import home_at
from amas.cli.exit import ExitCode
from amas.cli.output import complain, console, print_json, remark
from amas.fleet.load import load_fleet
from amas.model.fleet import FleetSpec
from amas.model.tools import ToolCard, ToolSpec, users_of
from amas.platforms.local.applied import applied_fleet
from amas.platforms.local.control import fleet_state
from amas.policy.manager import PolicyManager

UNASKED, ANSWERED, GONE = "not asked", "answers", "doesn't answer"
"""Of the server behind a tool of kind `mcp`; of others nothing is said."""


def show(fleet: str, folder: Path | None, *, probe: bool, as_json: bool) -> ExitCode:
    """Print the tools, and say with `probe` which can't be used and why; FleetError where the fleet file is wrong."""
    spec = load_fleet(fleet) if fleet else asyncio.run(applied_fleet(fleet_state(home_at(folder).folder)))
    rows = asyncio.run(_probed(spec)) if probe else [_declared(spec, name) for name in spec.tools]
    if as_json:
        print_json(rows)
    elif not rows:
        console().print("this fleet has no tools: docs/tools.md says how to declare one")
    else:
        from amas.cli.tree import table

        servers = any(row["kind"] == "mcp" for row in rows)
        columns = ["name", "kind", "repeatable", "pools", *(["digest"] if probe else ["server"] if servers else []), "about"]
        there = [row for row in rows if not row.get("missing")]
        cells: list[list[object]] = [[_cell(row[column]) for column in columns] for row in there]
        console().print(table("", columns, cells))
        if not probe and servers:
            remark("nobody looked whether the MCP servers answer: `amas tools --probe` asks each which tools it has")
    missing = [row for row in rows if row.get("missing")]
    for row in missing:
        complain(row["missing"])
    return ExitCode.UNUSABLE if missing else ExitCode.OK


def _declared(spec: FleetSpec, name: str) -> dict[str, Any]:
    tool = spec.tools[name]
    pools = users_of(name, {pool.name: pool.grants for pool in spec.pools})
    server = UNASKED if tool.kind == "mcp" else ""
    return {"name": name, "kind": tool.kind, "about": tool.about, "repeatable": tool.repeatable, "pools": pools, "server": server}


async def _probed(spec: FleetSpec) -> list[dict[str, Any]]:
    """Return the tools as they are when they are asked, an MCP server's one by one."""
    if spec.folder not in sys.path:
        sys.path.append(spec.folder)
    toolbox = Toolbox(PolicyManager(spec))
    toolbox.follow(spec.pools, {name: _unpinned(tool) for name, tool in spec.tools.items()})
    try:
        found = await asyncio.gather(*map(toolbox.cards_or_why, spec.tools))
        return [_row(spec, name, card) for name, cards in zip(spec.tools, found, strict=True) for card in cards]
    finally:
        await toolbox.close()


def _unpinned(tool: ToolSpec) -> ToolSpec:
    """Return a tool that shows what its server says now: whoever looks wants the digest that is to be pinned."""
    return msgspec.structs.replace(tool, mcp=msgspec.structs.replace(tool.mcp, pinned={})) if tool.mcp else tool


def _row(spec: FleetSpec, name: str, card: ToolCard) -> dict[str, Any]:
    pools = users_of(card.name, {pool.name: pool.grants for pool in spec.pools})
    about = {"name": card.name, "about": card.about, "parameters": card.parameters, "digest": card.digest, "pools": pools}
    declared = _declared(spec, name)
    if declared["server"]:
        declared["server"] = GONE if card.missing else ANSWERED
    if card.missing:
        about["missing"] = card.missing
    return {**declared, **msgspec.to_builtins(about)}


def _cell(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else ""
    return ", ".join(value) if isinstance(value, list) else str(value).partition("\n")[0][:100]
