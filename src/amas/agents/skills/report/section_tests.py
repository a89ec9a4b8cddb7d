"""The section on the project's own tests: outcomes, what hung or crashed, what failed, the slowest, and every test.

Called by `compose.py`.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from amas.agents.skills.charts import outcome_chart
from amas.agents.skills.report.gather import Material, numbers
from amas.agents.skills.report.model import Block, Cell, Section, Table, Tone, code, figure, number, plural
from amas.agents.skills.safe_text import plain

TESTS_MAX = 400
"""A page that prints more is heavy on a phone; the complete table is in tests.json."""
FAILURES_MAX, SLOWEST_MAX = 25, 10
_TONES: dict[str, Tone] = {"passed": "good", "failed": "error", "error": "error", "xpassed": "warning"}
_ENDINGS = {
    "timed_out": "The test run hung and was stopped when its time was over",
    "crashed": "The interpreter crashed during the test run",
    "not_collected": "The tests couldn't be collected",
    "no_tests": "There are no tests to run",
}


_IN_SHORT = {
    "timed_out": "a test run that hung",
    "crashed": "a test run that crashed",
    "not_collected": "tests that couldn't be collected",
    "no_tests": "no tests",
}
WORDS = {
    "passed": "passed", "failed": "failed", "error": "met an error", "skipped": "skipped", "xfailed": "failed as expected",
    "xpassed": "passed against expectation",
}  # fmt: skip
"""Outcomes as a sentence has them."""


def outcomes(material: Material) -> dict[str, int]:
    """Return the tests by outcome, over all runs."""
    counted: Counter[str] = Counter()
    for result in material.done("testing.run"):
        counted.update({name: int(value) for name, value in numbers(result.get("outcomes")).items()})
    return dict(counted)


def ending(result: Mapping[str, Any]) -> str:
    """Return one sentence on a run that didn't end by itself; empty for one that did."""
    sentence = _ENDINGS.get(str(result.get("ended", "")), "")
    if not sentence:
        return ""
    during = f", during {plain(result['running_test'])}" if result.get("running_test") else ""
    why = plain(result.get("why") or "", chars_max=300).rstrip(".")
    return f"{sentence}{during}{': ' + why if why else ''}."


def in_short(result: Mapping[str, Any]) -> str:
    """Return a few words on a run that didn't end by itself; empty for one that did."""
    return _IN_SHORT.get(str(result.get("ended", "")), "")


def tests(material: Material) -> Section | None:
    """Return the test runs."""
    done = list(material.done("testing.run"))
    if not done:
        return None
    counted = outcomes(material)
    total = sum(counted.values())
    said = ", ".join(f"{figure(value)} {WORDS[name]}" for name, value in counted.items() if value)
    blocks = [Block(text=f"{plural(total, 'test')}{': ' + said if said else ''}.", refs=material.refs_of(done))]
    blocks += [Block(text=sentence, refs=material.refs_of([result])) for result in done if (sentence := ending(result))]
    blocks += [Block(text=plain(note)) for result in done for note in result.get("notes") or []]
    blocks.append(Block(chart=outcome_chart(counted)))
    listed = all_tests(material)
    blocks += [Block(table=table) for table in (_failures(listed), _slowest(listed)) if table.rows]
    if listed:
        blocks.append(Block(table=_every(listed), folded=f"Every test ({figure(len(listed))})"))
    blocks += [
        Block(output=str(result["tail"]), folded="The last lines of the test run")
        for result in done
        if result.get("tail") and (ending(result) or counted.get("failed") or counted.get("error"))
    ]
    return Section("tests", "Tests", blocks)


def all_tests(material: Material) -> list[Mapping[str, Any]]:
    """Return every test of every run: `{id, outcome, seconds, message}`."""
    listed = [material.load(result, "tests") for result in material.done("testing.run")]
    return [test for tests in listed if isinstance(tests, list) for test in tests if isinstance(test, dict)]


def _failures(listed: Sequence[Mapping[str, Any]]) -> Table:
    failed = [test for test in listed if test.get("outcome") in {"failed", "error"}]
    left = len(failed) - FAILURES_MAX
    return Table(
        caption="Tests that failed",
        columns=("Test", "Outcome", "Why"),
        rows=[
            [code(test.get("id", "")), _outcome(test), code(_reason(str(test.get("message") or "")))]
            for test in failed[:FAILURES_MAX]
        ],
        note=f"{figure(left)} further failures in tests.json." if left > 0 else "",
    )


def _slowest(listed: Sequence[Mapping[str, Any]]) -> Table:
    ordered = sorted(listed, key=lambda test: -float(test.get("seconds") or 0))
    rows = [[code(test.get("id", "")), number(float(test.get("seconds") or 0), digits=3)] for test in ordered[:SLOWEST_MAX]]
    return Table(caption="Slowest tests", columns=("Test", "#Seconds"), rows=rows)


def _every(listed: Sequence[Mapping[str, Any]]) -> Table:
    left = len(listed) - TESTS_MAX
    return Table(
        caption="Every test",
        columns=("Test", "Outcome", "#Seconds"),
        rows=[
            [code(test.get("id", "")), _outcome(test), number(float(test.get("seconds") or 0), digits=3)]
            for test in listed[:TESTS_MAX]
        ],
        note=f"{figure(left)} further tests in tests.json." if left > 0 else "",
    )


def _outcome(test: Mapping[str, Any]) -> Cell:
    outcome = str(test.get("outcome", ""))
    return Cell(outcome, "badge", tone=_TONES.get(outcome, "muted"))


def _reason(message: str) -> str:
    """Return the line of a failure's text that says most: pytest's `E` line, else the last one."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    return plain(next((line[1:] for line in lines if line.startswith("E ")), lines[-1] if lines else ""), chars_max=200)
