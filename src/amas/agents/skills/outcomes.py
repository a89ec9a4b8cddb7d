"""What a run of pytest came to, from its report log (pytest-reportlog: one JSON object a line, written as things happen).

`read_log(lines) -> Log`. Counts follow pytest's own rules, so they equal its last line: a test whose teardown fails counts as
passed and as an error; an error of collection counts as an error. Called by `testing.py`; pure. The suite can write into its log
what it likes: a line cut short by a crash is skipped, a report that isn't as pytest writes them ends the task in one sentence.
"""

import re
from collections import Counter
from collections.abc import Iterable
from typing import Any

import msgspec

from amas.errors import GiveUp

OUTCOMES = ("passed", "failed", "error", "skipped", "xfailed", "xpassed")
MESSAGE_CHARS_MAX = 600

_MISSING = re.compile(r"ModuleNotFoundError: No module named '([\w.]+)'")


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that pytest counts."""

    id: str
    outcome: str
    seconds: float
    message: str = ""
    line: int = 0


class _Collected(msgspec.Struct):
    """What a report has that is read: of a file, or of a part of a test."""

    nodeid: str
    outcome: str
    duration: float = 0.0
    location: tuple[str, int | None, str] | None = None


class _Phase(_Collected, kw_only=True):
    """A test's set-up, call or teardown."""

    when: str


_SHAPES: dict[str, type[_Collected]] = {"CollectReport": _Collected, "TestReport": _Phase, "SubTestReport": _Collected}


class Log(msgspec.Struct, kw_only=True):
    """A report log, read."""

    tests: list[Outcome] = msgspec.field(default_factory=list)
    pytest_version: str = ""
    started: bool = False
    finished: bool = False
    """Whether pytest wrote its closing line: it didn't when it was killed, or when a test ended the interpreter."""
    not_collected: list[Outcome] = msgspec.field(default_factory=list)
    running: str = ""
    """The test that was set up and never came to its end."""

    def counts(self) -> dict[str, int]:
        """Return how many there are of each outcome, zeros included."""
        counted = Counter(test.outcome for test in self.tests)
        return {outcome: counted[outcome] for outcome in OUTCOMES}


def read_log(lines: Iterable[str]) -> Log:
    """Return what a report log says; GiveUp where it holds a report that isn't pytest's, since then nothing in it is sure."""
    log = Log()
    phases: dict[str, float] = {}
    for number, line in enumerate(lines, start=1):
        try:
            report: Any = msgspec.json.decode(line)
        except (msgspec.DecodeError, RecursionError):
            continue
        kind = _kind(report, number)
        if kind == "SessionStart":
            log.started, log.pytest_version = True, str(report.get("pytest_version", ""))
        elif kind == "SessionFinish":
            log.finished = True
        elif kind == "CollectReport":
            _collected(log, report)
        elif kind == "TestReport":
            _reported(log, report, phases)
        elif kind == "SubTestReport" and report["outcome"] == "failed":
            log.tests.append(_outcome(report, "failed", report.get("duration", 0.0)))
    log.running = "" if log.finished else next(iter(phases), "")
    return log


def _kind(report: Any, number: int) -> str:
    """Return what a line is, "" for what is none of ours; GiveUp where it says that it is one of ours and isn't."""
    kind = report.get("$report_type") if isinstance(report, dict) else None
    if not isinstance(kind, str):
        return ""
    try:
        if shape := _SHAPES.get(kind):
            msgspec.convert(report, shape)
    except msgspec.ValidationError as error:
        why = f"line {number} of pytest's report log is a {kind} as pytest writes none ({error})"
        raise GiveUp(
            f"what became of the tests can't be told: {why}; something in the suite writes into the log", code="test_log_strange"
        ) from error
    return kind


def _collected(log: Log, report: dict[str, Any]) -> None:
    if report["outcome"] == "failed":
        outcome = _outcome(report, "error", 0.0)
        log.tests.append(outcome)
        log.not_collected.append(outcome)
    elif report["outcome"] == "skipped":
        log.tests.append(_outcome(report, "skipped", 0.0))


def _reported(log: Log, report: dict[str, Any], phases: dict[str, float]) -> None:
    """Take one phase of one test: `phases` holds the seconds of each test between its set-up and its teardown."""
    name, when = report["nodeid"], report["when"]
    seconds = phases[name] = phases.get(name, 0.0) + report.get("duration", 0.0)
    outcome = category(report)
    if outcome and (when == "call" or outcome != "passed"):
        log.tests.append(_outcome(report, outcome, seconds))
    if when == "teardown":
        phases.pop(name)


def category(report: dict[str, Any]) -> str:
    """Return the outcome under which pytest counts one phase; empty where it counts nothing (reruns)."""
    outcome = str(report["outcome"])
    if "wasxfail" in report and outcome in ("skipped", "passed"):
        return "xfailed" if outcome == "skipped" else "xpassed" if report["when"] == "call" else ""
    if report["when"] != "call":
        return {"failed": "error", "skipped": "skipped"}.get(outcome, "")
    return outcome if outcome in OUTCOMES else ""


def _outcome(report: dict[str, Any], outcome: str, seconds: float) -> Outcome:
    location = report.get("location") or ("", None, "")
    line = (location[1] or 0) + 1 if location[1] is not None else 0
    message = "" if outcome in ("passed", "xpassed") else _message(report.get("longrepr"))
    return Outcome(id=report["nodeid"], outcome=outcome, seconds=round(seconds, 4), message=message, line=line)


def _message(longrepr: Any) -> str:
    """Return why, in a few words: the exception's lines, the reason of a skip, or the end of the text."""
    if isinstance(longrepr, dict):
        crash = longrepr.get("reprcrash")
        said = crash.get("message") if isinstance(crash, dict) else ""
        text = str(said or longrepr.get("longrepr") or "")
        return text[:MESSAGE_CHARS_MAX]
    if isinstance(longrepr, list) and longrepr:
        return str(longrepr[-1]).removeprefix("Skipped: ")[:MESSAGE_CHARS_MAX]
    text = str(longrepr or "")  # pytest marks the exception's own lines in a traceback with `E`
    raised = "\n".join(line[1:].strip() for line in text.splitlines() if line.startswith("E "))
    return raised[:MESSAGE_CHARS_MAX] or text[-MESSAGE_CHARS_MAX:]


def missing_modules(texts: Iterable[str]) -> list[str]:
    """Return the modules that couldn't be found, by the errors that pytest printed."""
    return sorted({name for text in texts for name in _MISSING.findall(text)})


def running_by_output(stdout: str) -> str:
    """Return the test whose line was begun and not ended in pytest's verbose output; empty when there is none.

    Pytest prints a test's name before it sets it up and the outcome after it, so this knows what hangs in a fixture.
    """
    last = stdout.rsplit("\n", 1)[-1].strip()
    return last if "::" in last and not re.search(r" (PASSED|FAILED|ERROR|SKIPPED|XFAIL|XPASS)\b", last) else ""
