"""A fleet's day of work in ten minutes, with all that may happen to it, and what `amas report` says of it in the evening.

    python -m benchmarks.day [--minutes 10] [--seed N] [--rate 40] [--json FILE] [--report FILE]

Tasks arrive as on a day: few at night, two peaks. Meanwhile hosts, the control plane and the engine are killed at random moments,
a bad version of a pool is rolled out, which the fleet must take back by itself, a host is drained, and a back-up is made, and
afterwards restored and tried out. Nothing may be lost or doubled. It exits with 1 where a check fails; the same seed makes the
same plan again.
"""

import argparse
import asyncio
import json
import random
import sys
import tempfile
from pathlib import Path
from typing import Any

import msgspec
from rich.console import Console
from rich.table import Table

from benchmarks.day.run import Check, Day


def _printed(day: dict[str, Any], checks: list[Check]) -> None:
    out = Console()
    figures = Table("a day", "", box=None, title=f"seed {day['seed']}, {day['minutes']:g} minutes", title_justify="left")
    for name, value in day["counts"].items():
        figures.add_row(name.replace("_", " "), f"{value:,}" if isinstance(value, int) else str(value))
    out.print(figures)
    table = Table("check", "", "what was found", box=None, title="\nchecks", title_justify="left")
    for check in checks:
        table.add_row(check.name, "[green]ok[/green]" if check.holds else "[red]no[/red]", check.found)
    out.print(table)


def main() -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.day", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="how long the day lasts")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(1 << 32))
    parser.add_argument("--rate", type=float, default=40.0, help="tasks a second at the highest peak")
    parser.add_argument("--json", type=Path, help="write what was found to this file")
    parser.add_argument("--report", type=Path, help="write the fleet's report as HTML to this file")
    asked = parser.parse_args()
    print(f"seed {asked.seed}", flush=True)
    with tempfile.TemporaryDirectory(prefix="amas-day-") as folder:
        day = Day(Path(folder), seed=asked.seed, seconds=asked.minutes * 60, per_s=asked.rate)
        checks = asyncio.run(day.run(page=asked.report and asked.report.absolute()))
        found = {**day.found(), "checks": [msgspec.to_builtins(check) for check in checks]}
    _printed(found, checks)
    if asked.json:
        asked.json.write_text(json.dumps(found, indent=2) + "\n")
    return 0 if all(check.holds for check in checks) else 1


if __name__ == "__main__":
    sys.exit(main())
