"""`amas costs`: what work costs, as a table."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import typer

from amas.cli.api import Api, home_at
from amas.cli.look import print_page
from amas.clock import now_ms
from amas.fleet.declared import seconds

NAMELESS = {"model": "(not named)"}


def costs(folder: Path | None, *, by: str, since: str, until: str, limit: int, as_json: bool) -> None:
    """Print what each tenant, workflow, pool, agent, model, day or task cost, the dearest first, and the sum of all."""
    page = Api.of(home_at(folder)).get(
        "/api/costs", by=by, since=_moment(since, "--since"), until=_moment(until, "--until"), limit=limit
    )
    dearest = sorted(page["items"], key=lambda item: (-item["usd"], -item["tokens"], -item["agent_s"]))
    ordered = page["items"] if by == "day" else dearest
    rows = [_row(item["name"] or NAMELESS.get(by, "(none)"), item) for item in ordered]
    left_out = f"{by}s" if page["next"] is None else f"{by}s, those not shown included"
    print_page(
        page,
        [by, "USD", "tokens", "input", "cached", "output", "calls", "models' time", "agents' time"],
        [*rows, _row(f"all {left_out}", page["total"])] if rows else [],
        as_json=as_json,
        nothing="nothing was spent, and no agent has ended anything" + (f" since {since}" if since else ""),
    )


def _row(name: str, cost: dict[str, Any]) -> list[object]:
    counts = [f"{cost[kind]:,}" for kind in ("tokens", "input_tokens", "cached_tokens", "output_tokens", "calls")]
    return [name, f"{cost['usd']:.6f}", *counts, f"{cost['model_s']:.1f} s", f"{cost['agent_s']:.1f} s"]


def _moment(said: str, option: str) -> str:
    """Return a time for the API: an age such as 24h or 7d counts back from now, a date or time goes as it is."""
    if not said:
        return ""
    try:
        age_s = seconds(said)
    except ValueError:
        try:
            datetime.fromisoformat(said)
        except ValueError:
            message = f"{said!r} is neither an age, such as 24h or 7d, nor a date, such as 2026-11-21"
            raise typer.BadParameter(message, param_hint=option) from None
        return said
    return (datetime.fromtimestamp(now_ms() / 1000, UTC) - timedelta(seconds=age_s)).isoformat()
