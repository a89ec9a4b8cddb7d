"""`amas alerts`, `amas runbooks` and `amas runbook`, through the API of the running fleet."""

import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from amas.cli.api import Api, home_at, quoted
from amas.cli.exit import ExitCode
from amas.cli.output import Away, console, harmless, json_text, moment, print_json
from amas.cli.who import me
from amas.errors import AmasError, InputUnusable

WATCH_EVERY_S = 2.0
TEST_WAIT_S = 15.0
"""Longer than a post that times out."""


class Silencing(NamedTuple):
    """What is to be silenced."""

    name: str
    lasts: str
    why: str
    labels: list[str]
    by: str


def _pairs(texts: Iterable[str], option: str) -> dict[str, str]:
    pairs = {}
    for text in texts:
        name, sign, value = text.partition("=")
        if not sign or not name or not value:
            raise InputUnusable(f"{option} {text} is no pair: write {option} host=host-2")
        pairs[name] = value
    return pairs


def _subject(labels: dict[str, str]) -> str:
    return ", ".join(f"{name} {value}" for name, value in labels.items())


def show(folder: Path | None, *, status: str, as_json: bool) -> None:
    """List alerts, silences, and how it goes with those who are told."""
    api = Api.of(home_at(folder))
    page, silences = api.get("/api/alerts", status=status), api.all("/api/silences")["items"]
    if as_json:
        print_json({**page, "silences": silences})
        return
    if not page["items"]:
        console().print(f"no alert, of {len(page['rules'])} rules; last looked at {moment(page['at_ms']) or 'never'}")
    else:
        means = {rule["name"]: rule["summary"] for rule in page["rules"]}
        rows = [
            [
                *(alert[name] for name in ("status", "severity", "rule")),
                moment(alert["since_ms"]),
                means.get(alert["rule"], ""),
                _reason(alert),
                alert["runbook"],
            ]
            for alert in page["items"]
        ]
        _print(["", "severity", "alert", "since", "means", "why", "run-book"], rows)
    if silences:
        rows = [
            [each["id"], each["alert"], _subject(each["labels"]), moment(each["until_ms"]), each["by"], each["why"]]
            for each in silences
        ]
        _print(["silence", "alert", "of", "until", "by", "why"], rows)
    troubled = [each for each in page["receivers"] if each["error"]]
    for each in troubled:
        console().print(f"{each['name']} can't be told ({each['queued']} wait): {each['error']}", style="red", markup=False)


def _reason(alert: dict[str, Any]) -> str:
    return f"{alert['reason']} (silenced)" if alert["silenced_by"] else str(alert["reason"])


def rules(folder: Path | None, *, as_json: bool) -> None:
    """List the rules in force."""
    found = Api.of(home_at(folder)).get("/api/alerts")["rules"]
    if as_json:
        print_json(found)
        return
    rows = [
        [each["name"], each["severity"], each["when"], f"{each['for_s']:g} s", each["runbook"], each["summary"]] for each in found
    ]
    _print(["rule", "severity", "when", "for", "run-book", "means"], rows)


def watch(folder: Path | None, *, status: str, as_json: bool) -> None:
    """Print each alert when it comes to another status, until interrupted."""
    known: dict[str, str] = {}
    away, asked = Away(), False
    while True:
        try:
            alerts = Api.of(home_at(folder)).get("/api/alerts", status=status)["items"]
        except AmasError as error:
            if not asked:
                raise
            away.told(error)
        else:
            asked = True
            away.over()
            for alert in reversed(alerts):
                if known.get(alert["fingerprint"]) != alert["status"]:
                    known[alert["fingerprint"]] = alert["status"]
                    _print_change(alert, as_json=as_json)
        time.sleep(WATCH_EVERY_S)


def _print_change(alert: dict[str, Any], *, as_json: bool) -> None:
    line = f"{moment(alert['seen_ms'])}  {alert['status']:8}  {alert['severity']:8}  {alert['rule']}: {_reason(alert)}"
    print(json_text(alert) if as_json else harmless(line), flush=True)


def silence(said: Silencing, folder: Path | None, *, as_json: bool) -> None:
    """Keep a silence."""
    from amas.fleet.declared import seconds

    try:
        for_s = seconds(said.lasts)
    except ValueError as error:
        raise InputUnusable(f"--for: {error}") from error
    if not said.why.strip():
        raise InputUnusable("say why, for those who wonder: --why 'the nightly build takes all cores'")
    body = {"alert": said.name, "for_s": for_s, "by": said.by or me(), "why": said.why, "labels": _pairs(said.labels, "--label")}
    kept = Api.of(home_at(folder)).post("/api/silences", body)
    if as_json:
        print_json(kept)
    else:
        console().print(f"{said.name} is silenced until {moment(kept['until_ms'])}: amas alerts silence {kept['id']} --end")


def end_silence(silence_id: str, folder: Path | None, *, as_json: bool) -> None:
    """Forget a silence."""
    ended = Api.of(home_at(folder)).delete(f"/api/silences/{quoted(silence_id)}")
    print_json(ended) if as_json else console().print(f"the silence {silence_id} is over")


def test(folder: Path | None, *, by: str, as_json: bool) -> ExitCode:
    """Have everybody told of a test, wait until their queues are empty, and say who got it."""
    api = Api.of(home_at(folder))
    sent = api.post("/api/alerts/test", {"by": by or me()})
    give_up_at = time.monotonic() + TEST_WAIT_S
    while True:
        states = [each for each in api.get("/api/alerts")["receivers"] if each["name"] in sent["receivers"]]
        waiting = [each for each in states if each["queued"] and not each["error"]]
        if not waiting or time.monotonic() > give_up_at:
            break
        time.sleep(0.2)
    if as_json:
        print_json({**sent, "receivers": states})
    else:
        _print(["receiver", "", "why"], [[each["name"], _fate(each), each["error"]] for each in states])
    return ExitCode.UNUSABLE if any(each["queued"] for each in states) else ExitCode.OK


def _fate(receiver: dict[str, Any]) -> str:
    if not receiver["queued"]:
        return "told"
    return "failed, is tried again" if receiver["error"] else "not told yet"


def runbooks(folder: Path | None, *, limit: int, as_json: bool) -> None:
    """List run-books and their newest runs."""
    api = Api.of(home_at(folder))
    books, runs = api.get("/api/runbooks")["items"], api.get("/api/runbook-runs", limit=limit)["items"]
    if as_json:
        print_json({"runbooks": books, "runs": runs})
        return
    rows = [
        [each["name"], each["title"], ", ".join(each["needs"]), ", ".join(each["rules"]), len(each["steps"])] for each in books
    ]
    _print(["run-book", "what for", "about a", "started by", "steps"], rows)
    if runs:
        _print(["run", "run-book", "about", "", "began", "by", "at"], [_row(each) for each in runs])


def _row(run: dict[str, Any]) -> list[object]:
    at = run["book"]["steps"][run["at"]]["name"] if run["status"] in {"running", "asking"} else moment(run["ended_ms"])
    status = "waits for a person" if run["status"] == "asking" else run["status"]
    return [run["id"], run["book"]["name"], _subject(run["subject"]), status, moment(run["begun_ms"]), run["by"], at]


def audit(folder: Path | None, *, limit: int, as_json: bool) -> None:
    """List what was done in runs."""
    lines = Api.of(home_at(folder)).get("/api/runbook-audit", limit=limit)["items"]
    if as_json:
        print_json(lines)
        return
    names = ("run", "runbook", "step", "what", "by", "outcome")
    _print(["when", *names], [[moment(line["at_ms"]), *(line[name] for name in names)] for line in lines])


def run(name: str, folder: Path | None, *, subject: list[str], why: str, by: str, as_json: bool) -> None:
    """Start a run."""
    body = {"by": by or me(), "subject": _pairs(subject, "--subject"), "why": why}
    begun = Api.of(home_at(folder)).post(f"/api/runbooks/{quoted(name)}/runs", body)
    print_json(begun) if as_json else console().print(f"{name} runs as {begun['id']}: amas runbook show {begun['id']}")


def show_run(run_id: str, folder: Path | None, *, as_json: bool) -> None:
    """Show a run."""
    found = Api.of(home_at(folder)).get(f"/api/runbook-runs/{quoted(run_id)}")
    print_json(found) if as_json else _print_run(found)


def answer(run_id: str, folder: Path | None, *, body: dict[str, Any], end: bool, as_json: bool) -> None:
    """Confirm, refuse or cancel."""
    said = {**body, "by": body["by"] or me()}
    found = Api.of(home_at(folder)).post(f"/api/runbook-runs/{quoted(run_id)}/{'end' if end else 'answer'}", said)
    print_json(found) if as_json else _print_run(found)


def _print_run(run: dict[str, Any]) -> None:
    out = console()
    about = f" of {_subject(run['subject'])}" if run["subject"] else ""
    out.print(f"{run['book']['name']}{about}: {run['status']}, began {moment(run['begun_ms'])}, by {run['by']}", markup=False)
    if run["why"]:
        out.print(f"  {run['why']}", markup=False)
    rows: list[list[object]] = [
        [at + 1, step["name"], state["status"], state["by"], moment(state["since_ms"]), state["outcome"]]
        for at, (step, state) in enumerate(zip(run["book"]["steps"], run["steps"], strict=True))
    ]
    _print(["", "step", "", "by", "since", "outcome"], rows)


def _print(columns: list[str], rows: list[list[object]]) -> None:
    from amas.cli.tree import table

    console().print(table("", columns, rows))
