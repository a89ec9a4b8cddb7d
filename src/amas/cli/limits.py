"""Commands that show what tasks reserve and spend, through the API of the running fleet."""

from pathlib import Path
from typing import Any

from amas.cli.api import Api, home_at
from amas.cli.output import console, moment, print_json


def limits(folder: Path | None, *, as_json: bool) -> None:
    """List concurrency keys and providers with what they allow, hold, and keep waiting."""
    found = Api.of(home_at(folder)).get("/api/limits")
    if as_json:
        print_json({name: found[name] for name in ("slots", "rates")})
        return
    rows: list[list[object]] = [
        [f"key {item['key']}", f"{item['limit']} at once", item["held"], item["parked"], ""] for item in found["slots"]
    ]
    for item in found["rates"]:
        opens_ms = max(item["closed_until_ms"], item["next_refill_ms"])
        rows.append(
            [
                f"provider {item['provider']}",
                _rates(item),
                f"{item['requests']} requests, {item['tokens']} tokens",
                item["parked"],
                moment(opens_ms) if opens_ms else "",
            ]
        )
    _print(["limit", "allows", "taken", "parked", "next refill"], rows, nothing="nothing is limited: docs/limits.md says how")


def budgets(folder: Path | None, *, as_json: bool) -> None:
    """List budgets with what was spent and is reserved."""
    found = Api.of(home_at(folder)).all("/api/budgets")
    if as_json:
        print_json(found)
        return
    rows: list[list[object]] = [
        [item["scope"], *(_amounts(item[name]) for name in ("limit", "spent", "reserved")), item["parked"]]
        for item in found["items"]
    ]
    _print(["budget of", "allows", "spent", "reserved", "parked"], rows, nothing="there is no budget: docs/limits.md says how")


def _rates(item: dict[str, Any]) -> str:
    said = [f"{item[name]} {name.partition('_')[0]}/min" for name in ("requests_per_min", "tokens_per_min") if item[name]]
    return ", ".join(said) or "anything"


def _amounts(amounts: dict[str, Any]) -> str:
    shown = [f"${amounts['usd']:.4f}"] if amounts.get("usd") is not None else []
    shown += [f"{amounts[name]} {name}" for name in ("tokens", "calls") if amounts.get(name) is not None]
    return ", ".join([*shown, *([f"{amounts['agent_s']:.1f} s"] if amounts.get("agent_s") is not None else [])])


def _print(columns: list[str], rows: list[list[object]], *, nothing: str) -> None:
    if not rows:
        console().print(nothing)
        return
    from amas.cli.tree import table

    console().print(table("", columns, rows))
