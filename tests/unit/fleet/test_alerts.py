# ruff: noqa: E501  fleet files, a line each
"""What fleet files say of alerts, and run-book files: what they mean, and what each mistake says."""

from pathlib import Path

import pytest

from amas.errors import FleetFileInvalid
from amas.fleet.alerts import load_runbooks
from amas.fleet.load import load_fleet
from amas.model.alert_defaults import DEFAULT_RULES
from amas.model.alerts import Webhook, parsed

SMALL = """\
name: small
pools:
  - {name: boss, layer: executive, agent: "my_agents:Boss", capabilities: [test.work]}
"""
BOOK = """\
name: mine
steps:
  - do: restart_host
    host: $host
"""


def load(folder: Path, text: str):
    (folder / "fleet.yaml").write_text(SMALL + text)
    return load_fleet(folder / "fleet.yaml", environ={})


def refused(folder: Path, text: str) -> str:
    with pytest.raises(FleetFileInvalid) as error:
        load(folder, text)
    return str(error.value).replace(f"{folder}/", "")


def test_a_fleet_that_says_nothing_has_the_rules_and_run_books_that_ship(tmp_path: Path) -> None:
    spec = load(tmp_path, "")
    assert spec.alerts.rules == DEFAULT_RULES
    assert {book.name for book in spec.runbooks} >= {"agent-unresponsive", "host-lost"}


def test_a_fleet_adds_replaces_and_leaves_out_rules(tmp_path: Path) -> None:
    spec = load(
        tmp_path,
        "alerts:\n  off: [HostLost]\n  rules:\n"
        "    - {name: HighCPUUsage, when: machine_cpu > 95%, for: 10m, clear: 1m, severity: critical, labels: {team: x}, runbook: degradation, summary: Busy.}\n"
        "  webhooks:\n    - {name: ops, url: 'https://ops.example/x', severities: [critical]}\n",
    )
    by_name = {rule.name: rule for rule in spec.alerts.rules}
    assert "HostLost" not in by_name and len(by_name) == len(DEFAULT_RULES) - 1
    mine = by_name["HighCPUUsage"]
    assert (mine.when, mine.for_s, mine.clear_s, mine.labels) == (parsed("machine_cpu > 95%"), 600, 60, {"team": "x"})
    assert (mine.severity, mine.runbook, mine.summary) == ("critical", "degradation", "Busy.")
    assert spec.alerts.webhooks == (Webhook(name="ops", url="https://ops.example/x", severities=("critical",)),)
    assert load(tmp_path, "alerts: {defaults: false}\n").alerts.rules == ()


def test_a_fleet_with_run_books_of_its_own_has_those_and_rules_name_no_others(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(BOOK)
    spec = load(
        tmp_path, "runbooks: [./mine.yaml, host-lost]\nalerts: {rules: [{name: Lag, when: host_lag_s > 3, runbook: mine}]}\n"
    )
    assert [book.name for book in spec.runbooks] == ["mine", "host-lost"]
    assert {rule.runbook for rule in spec.alerts.rules} == {"", "mine", "host-lost"}


RULE = "alerts:\n  rules:\n    - name: Mine\n      when: machine_cpu > 1\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "alerts:\n  off: [HostLos]\n",
            "fleet.yaml:5: alerts.off[0]: no default rule is called 'HostLos' (did you mean 'HostLost'?)",
        ),
        ("alerts:\n  rules:\n    - {name: 1 x, when: hosts < 1}\n", "fleet.yaml:6: alerts.rules[0].name: '1 x' is no name"),
        (
            "alerts:\n  rules:\n    - {name: Mine, when: hosts is low}\n",
            "fleet.yaml:6: alerts.rules[0].when: 'hosts is low' is no condition",
        ),
        (RULE + "      for: soon\n", "fleet.yaml:8: alerts.rules[0].for: 'soon' is no time"),
        (RULE + "      severity: grave\n", "fleet.yaml:8: alerts.rules[0].severity: 'grave' is none of critical, warning, info"),
        (RULE + "      labels: {severity: x}\n", "fleet.yaml:8: alerts.rules[0].labels: 'severity' can't be a label"),
        (
            RULE + "      runbook: host-los\n",
            "fleet.yaml:8: alerts.rules[0].runbook: there is no run-book 'host-los' (did you mean 'host-lost'?)",
        ),
        (
            RULE + "      runbook: host-lost\n",
            "'host-lost' is about a host, which machine_cpu doesn't name: add it to the labels",
        ),
        (RULE + "    - {name: Mine, when: hosts < 1}\n", "'Mine' is used more than once"),
        (
            "alerts: {rules: [{name: A, when: host_lag_s > 1, labels: {host: x}}]}\n",
            "'host' comes from host_lag_s: name the label otherwise",
        ),
        (
            "alerts:\n  webhooks:\n    - {name: ops, url: 'ftp://x'}\n",
            "fleet.yaml:6: alerts.webhooks[0].url: 'ftp://x' is no address",
        ),
        (
            "alerts:\n  webhooks:\n    - {name: ops, url: 'http://a:b@x/'}\n",
            "is no address: write https://host/path, without a user",
        ),
        ("alerts:\n  webhooks:\n    - {name: o-p, url: 'http://x'}\n", "'o-p' is no name of its own"),
        ("alerts: {rule: []}\n", "alerts.rule: is not a field here (did you mean 'rules'?)"),
    ],
)
def test_a_mistake_in_a_fleet_file_is_one_sentence_with_its_line(tmp_path: Path, text: str, said: str) -> None:
    assert said in refused(tmp_path, text)


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ("  - do: reboot\n", "mine.yaml:3: steps[0].do: 'reboot' is none of check, wait, restart_host"),
        ("  - do: cordon\n", "mine.yaml:3: steps[0]: cordon needs the field 'host': add it"),
        ("  - do: wait\n    for: 1m\n    host: x\n", "mine.yaml:5: steps[0].host: wait doesn't take this; it takes for"),
        ("  - do: cordon\n    host: my-$host\n", "mine.yaml:4: steps[0].host: 'my-$host' is no host: write its name, or $host"),
        ("  - do: scale\n    pool: x\n", "say either by (agents more or less) or to (agents in all)"),
        ("  - do: check\n    that: hosts\n", "mine.yaml:4: steps[0].that: 'hosts' is no condition"),
        ("  - do: page\n    say: look at $hots\n", "$hots stands for nothing (did you mean 'host'?)"),
        ("  - do: recover\n    confirm: nobody\n", "mine.yaml:4: steps[0].confirm: 'nobody' is none of auto, person"),
        ("  - do: recover\n    on_failure: pages\n", "'pages' is none of stop, continue, page (did you mean 'page'?)"),
        ("  - do: recover\n    timeout: x\n", "mine.yaml:4: steps[0].timeout: 'x' is no time"),
        ("  []\n", "mine.yaml:2: steps: are 0, but must be from 1 to 50"),
    ],
)
def test_a_mistake_in_a_run_book_is_one_sentence_with_its_line(tmp_path: Path, steps: str, said: str) -> None:
    (tmp_path / "mine.yaml").write_text(f"name: mine\nsteps:\n{steps}")
    with pytest.raises(FleetFileInvalid) as error:
        load_runbooks([str(tmp_path / "mine.yaml")])
    assert said in str(error.value).replace(f"{tmp_path}/", "")


def test_two_run_books_of_one_name_are_refused(tmp_path: Path) -> None:
    for name in ("a.yaml", "b.yaml"):
        (tmp_path / name).write_text(BOOK)
    with pytest.raises(FleetFileInvalid, match="another run-book is called 'mine' too"):
        load_runbooks(folder=tmp_path)


def test_what_a_run_is_about_follows_from_its_steps(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(BOOK + "  - {do: check, that: 'queue_depth{pool=$pool} < 5'}\n")
    assert load_runbooks(folder=tmp_path)["mine"].needs == ("host", "pool")
