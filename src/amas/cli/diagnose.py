"""`amas diagnose`: what is slow, late or stuck, and a profile of the control plane."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import typer

from amas.cli.api import Api, home_at
from amas.cli.output import console, moment, print_json

SHOWN_MAX = 10
LASTS_S = 5.0
"""As long as a sweep must be under way to be shown with where it is."""
HELD_UP_S = 2.0
"""As late as a host's loop must be for the host to log where its code is (`agents.lease`)."""


def diagnose(folder: Path | None, *, as_json: bool) -> None:
    """Print how everything is."""
    found = Api.of(home_at(folder)).get("/api/diagnostics")
    if as_json:
        print_json(found)
        return
    engine, lag = found["engine"], found["recorder_lag_s"]
    console().print(
        f"control plane: {'leads' if found['leads'] else 'waits to lead'}, its loop is {_ms(found['loop_lag_s'])} late, "
        f"the history {'is unknown' if lag is None else f'{lag:.1f} s behind'}"
    )
    console().print(
        f"engine {engine['version']}: answered in {_ms(engine['answered_s'])}, {engine['keys']:,} keys, "
        f"{engine['memory_bytes'] / 2**20:,.0f} MiB, {engine['clients']} clients"
    )
    _table(
        "Duties",
        ("duty", "doing", "late", "mean", "longest", "troubles"),
        (
            (each["name"], each["doing"], _ms(each["late_s"]), _ms(each["mean_s"]), _ms(each["longest_s"]), str(each["troubles"]))
            for each in sorted(found["duties"], key=lambda each: -each["late_s"])
        ),
    )
    duties = {each["name"]: each for each in found["duties"]}
    _table(
        "Sweeps that last",
        ("duty", "for", "at"),
        (
            (task["name"], _ms(duties[task["name"]]["for_s"]), task["at"])
            for task in found["tasks"]
            if task["name"] in duties and _lasts(duties[task["name"]])
        ),
    )
    _table(
        "Hosts",
        ("host", "loop late", "lease left", "running", "troubled"),
        (
            (host["id"], _ms(host["loop_lag_s"]), f"{host['lease_left_s']:.1f} s", str(host["running"]), str(host["troubled"]))
            for host in found["hosts"]
        ),
    )
    for late in (host["id"] for host in found["hosts"] if host["loop_lag_s"] > HELD_UP_S):
        where = f"amas logs --grep '{late} .*event=host_held_up' says where"
        console().print(f"{late} stands still, in an agent's code: {where}", soft_wrap=True)
    _table(
        "Slowest in the engine, in all",
        ("what", "calls", "mean", "in all"),
        (
            (each["name"], f"{each['calls']:,}", f"{each['mean_us']:.0f} us", f"{each['total_s']:.1f} s")
            for each in engine["slowest"][:SHOWN_MAX]
        ),
    )
    _table(
        "Slow in the engine, one by one",
        ("when", "what", "took"),
        ((moment(each["at_ms"]), each["name"], _ms(each["micros"] / 1e6)) for each in engine["slow_calls"][:SHOWN_MAX]),
    )
    _table(
        "Oldest tasks",
        ("task", "is", "where", "for", "at"),
        ((each["id"], each["what"], each["where"], f"{each['for_s']:,.0f} s", each["at"]) for each in found["stuck"]),
    )


def profile(folder: Path | None, seconds: float, output: Path | None) -> None:
    """Profile the control plane and write or print what speedscope.app reads."""
    api = Api.of(home_at(folder))
    found: dict[str, Any] = api.post(f"/api/diagnostics/profile?{urlencode({'seconds': seconds})}")
    text = json.dumps(found)
    if output is None:
        print(text)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise typer.BadParameter(f"{output} can't be written: {error.strerror}", param_hint="--output") from error
    console().print(f"{output}: open it on https://www.speedscope.app", soft_wrap=True)


def _lasts(duty: dict[str, Any]) -> bool:
    """Return whether a sweep takes longer than those before it."""
    for_s: float = duty["for_s"]
    longest_s: float = duty["longest_s"]
    return duty["doing"] == "sweeps" and for_s > max(LASTS_S, 2 * longest_s)


def _ms(seconds: float) -> str:
    return f"{seconds * 1000:,.1f} ms" if seconds < 1 else f"{seconds:,.1f} s"


def _table(title: str, names: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    from amas.cli.tree import table

    if found := list(rows):
        console().print(table(title, names, found))
