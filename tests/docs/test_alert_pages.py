"""What docs/alerts.md, docs/runbooks.md and docs/webhooks.md say is what there is."""

import hmac
import json
import re
import time
from pathlib import Path

import msgspec

from amas.controllers.webhooks import cloud_event
from amas.fleet.alerts import load_runbooks
from amas.fleet.load import load_fleet
from amas.model.alert_defaults import DEFAULT_RULES
from amas.model.alerts import FIGURES
from amas.model.hooks import KINDS, HookEvent
from amas.model.runbook import TAKES
from amas.policy.hook_secrets import secret_for
from amas.policy.outbound import headers_of
from amas.server.hook_shapes import NewWebhook

DOCS = Path(__file__).parents[2] / "docs"


def block(page: str, language: str, having: str = "") -> str:
    blocks = re.findall(rf"```{language}\n(.*?)```", (DOCS / page).read_text(), re.DOTALL)
    (found,) = (text for text in blocks if having in text)
    return str(found)


def test_the_fleet_of_the_alerts_page_is_a_fleet(tmp_path: Path) -> None:
    (tmp_path / "fleet.yaml").write_text(block("alerts.md", "yaml"))
    spec = load_fleet(tmp_path / "fleet.yaml", environ={})
    by_name = {rule.name: rule for rule in spec.alerts.rules}
    assert "LearningDegradation" not in by_name
    assert (by_name["CodersBehind"].for_s, by_name["HighCPUUsage"].for_s) == (120, 600)
    assert spec.alerts.webhooks[0].severities == ("critical", "warning")


def test_every_figure_and_its_label_stand_on_the_page() -> None:
    rows = [line for line in (DOCS / "alerts.md").read_text().splitlines() if line.startswith("| `")]
    named = {name: row for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    for name, figure in FIGURES.items():
        assert re.findall(r"`(\w+)`", named[name].split("|")[3]) == list(figure.labels), name


def test_the_page_checks_a_signature_as_we_make_it() -> None:
    names: dict[str, object] = {"hmac": hmac}
    exec(block("alerts.md", "python"), names)
    headers = headers_of("n1", b"{}", "secret", at_s=17)
    assert names["is_ours"](headers, b"{}", "secret")  # type: ignore[operator]
    assert not names["is_ours"](headers, b"{ }", "secret")  # type: ignore[operator]


def test_the_run_book_of_the_page_is_one(tmp_path: Path) -> None:
    (tmp_path / "book.yaml").write_text(block("runbooks.md", "yaml"))
    book = load_runbooks(folder=tmp_path)["coders-behind"]
    assert (book.needs, book.cooldown_s, book.steps[1].most) == (("pool",), 1800, 10)


def test_every_action_and_every_run_book_that_ships_stand_on_the_page() -> None:
    page = (DOCS / "runbooks.md").read_text()
    rows = [line for line in page.splitlines() if line.startswith("| `")]
    named = {name: row for row in rows for name in re.findall(r"`([\w-]+)`", row.split("|")[1])}
    for action, (needs, more) in TAKES.items():
        assert set(re.findall(r"`(\w+)`", named[action].split("|")[2])) == {*needs, *more}, action
    for name in load_runbooks():
        started_by = {rule.name for rule in DEFAULT_RULES if rule.runbook == name}
        assert set(re.findall(r"`(\w+)`", named[name].split("|")[2])) == started_by, name


def test_the_webhook_page_checks_a_signature_as_we_make_it() -> None:
    names: dict[str, object] = {}
    exec(block("webhooks.md", "python", having="def is_ours"), names)
    secret = secret_for("h1", "", fleet_secret="the-secret-of-the-fleet")
    headers = headers_of("e1", b"{}", secret, at_s=int(time.time()))
    assert names["is_ours"](headers, b"{}", secret)  # type: ignore[operator]
    assert not names["is_ours"](headers, b"{ }", secret)  # type: ignore[operator]
    assert not names["is_ours"](headers_of("e1", b"{}", secret, at_s=17), b"{}", secret)  # type: ignore[operator]


def test_the_webhook_page_names_every_event_and_shows_a_body_and_an_event_as_they_are() -> None:
    page = (DOCS / "webhooks.md").read_text()
    assert set(re.findall(r"`((?:task|workflow|goal|approval)\.[a-z]+)`", page)) == set(KINDS)
    said, event = re.findall(r"```json\n(.*?)```", page, re.DOTALL)
    msgspec.json.decode(said, type=NewWebhook)
    made = json.loads(event)
    told = HookEvent(id=made["id"], kind="task.failed", subject=made["subject"], at_ms=1_795_300_200_004, taken_ms=0)
    assert list(json.loads(cloud_event(told, source=made["source"]))) == list(made)
