"""Alerts and run-books on the command line, over a fleet that runs."""

import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from command import Command, ledger_fleet
from receivers import Receiver
from tests.waiting import until

from amas.cli.api import Api
from amas.platforms.local.home import Home

pytestmark = pytest.mark.xdist_group("alert-cli")  # one fleet for the module

BOOK = """
name: take-out
title: Take a host out
steps:
  - {name: no more work, do: cordon, host: $host, confirm: person}
"""


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, receiver: Receiver) -> Iterator[Command]:
    alerts = (
        "alerts:\n  defaults: false\n"
        "  rules:\n"
        "    - {name: HostsLive, when: hosts > 0, severity: info, clear: 0}\n"
        "    - {name: Lost, when: host_lost > 0, severity: critical, clear: 0, runbook: host-lost}\n"
        f"  webhooks: [{{name: ops, url: '{receiver.url}'}}]\n"
        "runbooks: [./take-out.yaml, host-lost]\n"
    )
    folder = ledger_fleet(tmp_path_factory.mktemp("fleet"), more=alerts)
    (folder / "take-out.yaml").write_text(BOOK)
    with Command(folder, COLUMNS="250", AMAS_WEBHOOK_NETWORKS="127.0.0.0/8").up("--fleet", "./fleet.yaml") as running:
        yield running


def pid_of(run: Command, part: str) -> int:
    parts = json.loads((run.home / "fleet.json").read_text())["parts"]
    return next(int(each["pid"]) for each in parts if each["name"] == part)


def test_alerts_are_listed_silenced_and_tested(run: Command, receiver: Receiver) -> None:
    (alert,) = until(lambda: run.json("alerts", "--status", "firing")["items"])
    assert (alert["rule"], alert["severity"]) == ("HostsLive", "info")
    assert ", above 0" in run("alerts").stdout
    assert "HostsLive" in run("alerts", "--rules").stdout
    until(lambda: [got for got in receiver.posts if got.json["alert"] == "HostsLive"])
    silence = run.json("alerts", "silence", "HostsLive", "--for", "2h", "--why", "we know", "--by", "ada")
    assert silence["until_ms"] - silence["from_ms"] == 7_200_000
    assert "we know" in run("alerts").stdout
    assert "is over" in run("alerts", "silence", silence["id"], "--end").stdout
    tested = run.json("alerts", "test")
    assert {each["name"]: each["queued"] for each in tested["receivers"]} == {"log": 0, "webhook:ops": 0}
    assert tested["id"] in [got.headers["webhook-id"] for got in receiver.posts]
    for wrong, sentence in (
        (("alerts", "silence", "HostsLive"), "say why"),
        (("alerts", "silence", "HostLive", "--why", "x"), "did you mean 'HostsLive'?"),
        (("alerts", "silence", "Lost", "--why", "x", "--label", "hots=h"), "'hots' (did you mean 'host'?): it has host"),
    ):
        refused = run(*wrong)
        assert (refused.returncode, sentence in refused.stderr) == (2, True), refused.stderr


def test_a_receiver_that_cannot_be_told_is_named(run: Command, receiver: Receiver) -> None:
    receiver.status = 500
    try:
        tested = run("alerts", "test")
        assert tested.returncode == 3
        assert "answered 500: because" in tested.stdout
    finally:
        receiver.status = 200
    until(lambda: not any(each["queued"] for each in run.json("alerts")["receivers"]))


def test_a_run_book_is_run_and_confirmed(run: Command) -> None:
    begun = run.json("runbook", "run", "take-out", "--subject", "host=host-1", "--why", "drill", "--by", "ada")
    asks = until(lambda: "waits for a person" in (shown := run("runbooks").stdout) and shown)
    assert begun["id"] in asks and "Take a host out" in asks
    assert run("runbook", "confirm", begun["id"], "--by", "bob").returncode == 0
    until(lambda: "succeeded" in run("runbook", "show", begun["id"]).stdout.splitlines()[0])
    lines = run.json("runbooks", "--audit")
    assert [line["what"] for line in reversed(lines)] == ["began", "asked", "confirmed", "started", "succeeded"]
    assert lines[0]["outcome"] == "host-1: cordon ordered"
    refused = run("runbook", "cancel", begun["id"])
    assert (refused.returncode, "there is nothing to cancel" in refused.stderr) == (2, True)
    assert run("uncordon", "host-1").returncode == 0


@pytest.mark.requirement("M11")
def test_a_host_that_falls_silent_is_told_of_and_followed_up_without_anybody(run: Command, receiver: Receiver) -> None:
    """One that is killed may be back before its lease ends, and nobody need be told."""
    frozen = pid_of(run, "host-2")
    os.kill(frozen, signal.SIGSTOP)
    until(lambda: [each for each in run.json("alerts", "--status", "firing")["items"] if each["rule"] == "Lost"])
    os.kill(frozen, signal.SIGCONT)

    def followed() -> list[Any]:
        runs = run.json("runbooks")["runs"]
        return [each for each in runs if each["book"]["name"] == "host-lost" and each["status"] != "running"]

    (ended,) = until(followed)
    assert (ended["status"], ended["subject"], ended["by"]) == ("succeeded", {"host": "host-2"}, "alert Lost")
    lines = run.json("runbooks", "--audit")
    whats = [line["what"] for line in reversed(lines) if line["run"] == ended["id"]]
    assert whats[0] == "began" and whats[-1] == "succeeded" and "started" in whats
    until(lambda: {"firing", "resolved"} <= {got.json["status"] for got in receiver.posts if got.json["alert"] == "Lost"})


def test_a_webhook_is_told_again_by_the_next_control_plane_when_one_is_killed_before_it_has_the_answer(
    run: Command,
) -> None:
    with Receiver() as hook:
        made = run.json("webhooks", "add", hook.url, "--event", "task.succeeded")
        assert "it has got the event" in run("webhooks", "test", made["id"][-12:]).stdout
        hook.answering.clear()
        Api.of(Home(run.home)).post("/api/tasks", {"capability": "test.ledger"})
        until(lambda: [got for got in hook.posts if got.json["type"] == "amas.task.succeeded"])
        os.kill(pid_of(run, "control-plane"), signal.SIGKILL)
        hook.answering.set()
        told = until(lambda: (posts := hook.posts[1:]) and len(posts) > 1 and posts)
        assert len({got.headers["webhook-id"] for got in told}) == 1
        until(
            lambda: (shown := run("webhooks", "--json")).returncode == 0 and not json.loads(shown.stdout)["items"][0]["waiting"]
        )
        hook.status = 500
        refused = run("webhooks", "test", made["id"])
        assert (refused.returncode, "answered 500" in refused.stdout) == (3, True)
        assert "failing" in run("webhooks").stdout
        assert "nothing was given up" in run("webhooks", "missed", made["id"]).stdout
        assert "0 events" in run("webhooks", "resend", made["id"]).stdout
        assert "is told nothing any more" in run("webhooks", "remove", made["id"]).stdout
        assert run("webhooks", "remove", made["id"]).returncode == 2
