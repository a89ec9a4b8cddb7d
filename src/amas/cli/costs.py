"""`amas costs`: what work costs, as a table."""

from pathlib import Path
from typing import Any

from amas.cli.api import Api, home_at
from amas.cli.look import print_page
from amas.cli.times import moment_of

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
    """Return a time for the API, "" for none."""
    return moment_of(said, option).isoformat() if said else ""
