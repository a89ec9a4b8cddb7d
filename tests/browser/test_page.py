"""The web page in a real Chromium on a real fleet: a goal from words to deliverable, the map by keyboard, and who can read it."""

import re
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Page, expect

from .conftest import LIMIT_MS, LIMIT_S, REPOSITORY

pytestmark = pytest.mark.xdist_group("browser")
Visit = Callable[..., Page]
AXE = REPOSITORY / "web" / "node_modules" / "axe-core" / "axe.min.js"
GOAL = "Review the code and write a report"
PAGES = {
    "/": "Overview",
    "/fleet": "Fleet",
    "/goals": "Goals",
    "/agents/code-reviewer-1": "code-reviewer-1",
    "/queues": "Queues",
    "/costs": "Costs",
    "/rollouts": "Roll-outs",
    "/alerts": "Alerts",
    "/policies": "Policies",
    "/audit": "Audit",
}


@pytest.fixture(scope="module", autouse=True)
def patient() -> None:
    expect.set_options(timeout=LIMIT_MS)


@pytest.fixture(scope="module")
def goal(browser, address: str, project: Path) -> str:
    """Submit a goal on the page, and wait there until its deliverable can be read; return its page's path."""
    page = browser.new_page()
    page.set_default_timeout(LIMIT_MS)
    page.goto(f"{address}/goals")
    page.get_by_label("What is wanted").fill(GOAL)
    page.get_by_label("Input folder").fill(str(project))
    page.get_by_role("button", name="Submit the goal").click()
    expect(page.get_by_role("heading", name="Deliverable")).to_be_visible(timeout=LIMIT_MS)
    expect(page.frame_locator("iframe").get_by_role("heading", name="small 1")).to_be_visible(timeout=LIMIT_MS)
    path = page.url.removeprefix(address)
    page.close()
    return path


@pytest.mark.requirement("B10")
def test_the_overview_shows_the_fleet_s_figures_as_they_come(visit: Visit, goal: str) -> None:
    page = visit("/")
    agents = page.get_by_role("region", name="Agents working")
    expect(agents).to_contain_text(re.compile(r"of 57: \d+ idle"))
    expect(page.get_by_role("region", name="Success")).to_contain_text("100%")
    expect(page.get_by_role("region", name="CPU of the hosts")).to_contain_text(re.compile(r"\d cores"))  # takes two looks
    expect(page.get_by_role("row", name=re.compile("host-1"))).to_be_visible()


def test_a_goal_s_tasks_lead_to_each_task_and_its_agent(visit: Visit, goal: str) -> None:
    page = visit(goal)
    expect(page.get_by_text("succeeded").first).to_be_visible()
    page.get_by_role("button", name="Graph").click()
    expect(page.get_by_role("group", name="Write the report, succeeded")).to_be_visible()
    page.get_by_role("button", name="Hierarchy").click()
    page.get_by_role("region", name="Hierarchy of tasks").get_by_role("link", name="Defects").first.click()
    expect(page.get_by_role("heading", name="Why this agent")).to_be_visible()
    page.get_by_role("table").get_by_role("link").first.click()
    expect(page.get_by_role("heading", name="Latest tasks")).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("Defects"))).to_be_visible()


@pytest.mark.requirement("T5")
def test_a_call_is_tried_against_the_policies(visit: Visit) -> None:
    page = visit("/policies")
    expect(page.get_by_text("so no agent may use any tool")).to_be_visible()
    page.get_by_label("Agent").fill("code-reviewer-1")
    page.get_by_label("Tool").fill("shell")
    page.get_by_label("Arguments").fill('{"command": "ls"}')
    page.get_by_role("button", name="Ask").click()
    expect(page.get_by_role("status")).to_contain_text("✕ code-reviewer-1 may not use 'shell'")
    page.get_by_label("Arguments").fill("ls")
    page.get_by_role("button", name="Ask").click()
    expect(page.get_by_role("alert")).to_contain_text("JSON object")


def test_the_map_is_used_by_keyboard_and_search_alone(visit: Visit) -> None:
    page = visit("/fleet")
    fleet = page.get_by_role("application")
    fleet.focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("PageDown")
    expect(page.get_by_text("task-coordinator-1, ")).to_be_visible()
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="task-coordinator-1")).to_be_visible()
    page.go_back()
    page.get_by_role("searchbox").fill("code-reviewer-2")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="code-reviewer-2")).to_be_visible()


def asked(address: str, path: str, body: object) -> dict[str, str]:
    """Ask the API beside the page."""
    answer = httpx.post(f"{address}{path}", json=body, timeout=LIMIT_S)
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_a_person_s_yes_lets_a_flow_go_on(visit: Visit, address: str) -> None:
    flow = {"name": "release", "tasks": [{"key": "ok", "approval": "Publish it?"}]}
    page = visit(f"/goals/{asked(address, '/api/workflows', {'flow': flow})['workflow_id']}")
    approval = page.get_by_role("form", name="Approval: Publish it?")
    approval.get_by_label("Comment").fill("go")
    approval.get_by_role("button", name="Approve").click()
    expect(approval).to_have_count(0)
    expect(page.locator("main").get_by_text("succeeded").first).to_be_visible()


def test_a_task_that_failed_for_good_is_discarded_once_that_is_confirmed(visit: Visit, address: str) -> None:
    task_id = asked(address, "/api/tasks", {"capability": "execution.publish", "title": "Goes nowhere", "retry": {"retries": 0}})[
        "id"
    ]
    page = visit("/queues")
    letter = page.get_by_role("row", name=re.compile("Goes nowhere"))
    letter.get_by_role("link").click()
    page.wait_for_url(f"**/tasks/{task_id}")
    expect(page.get_by_role("alert")).to_contain_text("there is no report to publish")
    page.go_back()
    answers = ["dismiss", "accept"]
    page.on("dialog", lambda dialog: getattr(dialog, answers.pop(0))())
    letter.get_by_role("button", name="Discard").click()
    expect(letter).to_have_count(1)
    letter.get_by_role("button", name="Discard").click()
    expect(letter).to_have_count(0)
    assert answers == []


def test_an_alert_is_silenced_with_a_reason_and_told_again_when_that_ends(visit: Visit) -> None:
    page = visit("/alerts")
    silence = page.get_by_role("form", name="Silence an alert")
    silence.get_by_label("By", exact=True).fill("ada")
    silence.get_by_label("Why").fill("the nightly build")
    silence.get_by_role("button", name="Silence it").click()
    row = page.get_by_role("row", name=re.compile("ada the nightly build"))
    row.get_by_role("button", name="End it").click()
    expect(row).to_have_count(0)
    page.get_by_role("link", name="Audit").click()
    expect(page.get_by_role("row", name="DELETE /api/silences")).not_to_have_count(0)


@pytest.mark.parametrize(("theme", "rules"), [("light", {}), ("dark", {"runOnly": ["color-contrast"]})])
def test_axe_finds_nothing_serious(visit: Visit, address: str, goal: str, theme: str, rules: dict[str, object]) -> None:
    page = visit("/", color_scheme=theme)
    for path, heading in {**PAGES, goal: GOAL}.items():
        page.goto(f"{address}{path}")
        expect(page.get_by_role("heading", name=heading, level=1)).to_be_visible()
        page.evaluate(AXE.read_text())
        found = page.evaluate("rules => axe.run(document, { resultTypes: ['violations'], ...rules })", rules)
        grave = [one for one in found["violations"] if one["impact"] in ("serious", "critical")]
        assert [(one["id"], [node["html"] for node in one["nodes"]]) for one in grave] == [], path


def test_a_phone_shows_every_page_without_scrolling_sideways(visit: Visit, address: str, goal: str) -> None:
    page = visit("/", viewport={"width": 360, "height": 740})
    for path, heading in {**PAGES, goal: GOAL}.items():
        page.goto(f"{address}{path}")
        expect(page.get_by_role("heading", name=heading, level=1)).to_be_visible()
        assert page.evaluate("() => document.documentElement.scrollWidth") <= 360, path
