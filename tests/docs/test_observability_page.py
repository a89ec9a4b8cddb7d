"""What docs/observability.md says is what there is."""

import re
from pathlib import Path

from amas.observe.catalogue import FAMILIES

PAGE = (Path(__file__).parents[2] / "docs" / "observability.md").read_text()


def test_every_metric_stands_on_the_page() -> None:
    rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (.*?) ?\| (.*) \|$", PAGE, re.MULTILINE)
    told = [
        (name.removesuffix("_total"), kind, tuple(re.findall(r"`(\w+)`", labels)), meaning)
        for name, kind, labels, meaning in rows
    ]
    assert told == [(family.name, family.kind, family.labels, family.meaning) for family in FAMILIES]
