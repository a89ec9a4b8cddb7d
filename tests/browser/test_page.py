"""The web page in a real Chromium on a real fleet: a goal from words to deliverable, the map by keyboard, and who can read it."""

import json
import re
import struct
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from playwright.sync_api import Locator, Page, expect

from .conftest import LIMIT_MS, LIMIT_S, REPOSITORY

pytestmark = pytest.mark.xdist_group("browser")
Visit = Callable[..., Page]
AXE = REPOSITORY / "web" / "node_modules" / "axe-core" / "axe.min.js"
GOAL = "Review the code and write a report"
INKED = """() => {
    const style = getComputedStyle(document.documentElement), found = {};
    const statuses = ["idle", "working", "error", "healing"];
    const names = new Map(statuses.map(name => [style.getPropertyValue(`--${name}`).trim(), name]));
    const canvas = document.querySelector("canvas");
    const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
    for (let at = 0; at < data.length; at += 4) {
        if (!data[at + 3]) continue;
        const name = names.get("#" + [0, 1, 2].map(part => data[at + part].toString(16).padStart(2, "0")).join(""));
        found[name] = (found[name] ?? 0) + 1;
    }
    return found;
}"""
"""Counts the map's pixels by the status whose colour they have."""
PAGES = {
    "/": "Overview",
    "/fleet": "Fleet",
    "/goals": "Goals",
    "/agents/code-reviewer-1": "code-reviewer-1",
    "/tasks": "Tasks",
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
    expect(page.get_by_role("region", name="Success")).to_contain_text(re.compile(r"\d%.*\d succeeded"))
    expect(page.get_by_role("region", name="CPU of the hosts")).to_contain_text(re.compile(r"\d cores"))  # takes two looks
    expect(page.get_by_role("region", name="Network of the engine")).to_contain_text(re.compile(r"\d \w*B/s"))  # the same
    expect(page.get_by_role("region", name="Storage")).to_contain_text(re.compile(r"records.*free"))
    expect(page.get_by_role("region", name="Saved")).to_contain_text("No optimisation is at work")
    expect(page.get_by_role("row", name=re.compile("host-1"))).to_be_visible()


def test_a_goal_is_submitted_with_files_of_one_s_own(visit: Visit, project: Path, tmp_path: Path) -> None:
    page = visit("/goals")
    files = page.get_by_role("group", name="Files that it is about")
    expect(files).to_contain_text("1,000 at most, 16 MiB each, 256 MiB together")
    large = tmp_path / "large.bin"
    with large.open("wb") as file:
        file.truncate((16 << 20) + 1)
    files.locator("input").first.set_input_files([project / "small.py", project / "pyproject.toml", large])
    expect(files.get_by_role("alert")).to_contain_text("more than 16 MiB: remove it, or name a folder")
    page.get_by_label("What is wanted").fill("Find the defects in the code")
    submit = page.get_by_role("button", name="Submit the goal")
    submit.click()
    expect(page.locator("form > [role=alert]")).to_contain_text("more than 16 MiB")
    files.get_by_role("button", name="Remove large.bin").click()
    expect(files.get_by_role("status")).to_contain_text("2 files")
    submit.click()
    page.wait_for_url("**/goals/*")
    expect(page.locator("main").get_by_text("succeeded").first).to_be_visible()
    expect(page.get_by_text(re.compile(r"^about /.*/inputs/.*/files$"))).to_be_visible()  # reports are called by it


def test_files_are_dropped_with_their_folders(visit: Visit) -> None:
    page = visit("/goals")
    files = page.get_by_role("group", name="Files that it is about")
    dropped = page.evaluate_handle("""() => {
        const data = new DataTransfer();
        for (const name of ["a.py", "b.py"]) data.items.add(new File(["x"], name));
        return data;
    }""")
    files.dispatch_event("drop", {"dataTransfer": dropped})
    expect(files.get_by_role("status")).to_contain_text("2 files, 2 B")
    files.get_by_role("button", name="Remove all").click()
    expect(files.get_by_role("status")).to_have_count(0)


def test_a_goal_s_tasks_lead_to_each_task_and_its_agent(visit: Visit, goal: str) -> None:
    page = visit(goal)
    expect(page.get_by_text("succeeded").first).to_be_visible()
    page.get_by_role("button", name="Graph").click()
    expect(page.get_by_role("group", name="Write the report, succeeded")).to_be_visible()
    page.get_by_role("button", name="Hierarchy").click()
    page.get_by_role("region", name="Hierarchy of tasks").get_by_role("link", name="Defects").first.click()
    expect(page.get_by_role("heading", name="Why this agent")).to_be_visible()
    expect(page.get_by_role("region", name="Steps").get_by_role("row")).not_to_have_count(0)
    expect(page.get_by_text("It sent none")).to_be_visible()
    page.get_by_role("table").get_by_role("link").first.click()
    expect(page.get_by_role("heading", name="Latest tasks")).to_be_visible()
    expect(page.get_by_role("row", name=re.compile("Defects")).first).to_be_visible()


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


def drawn(codes: bytes) -> bytes:
    """Return a map of one pool with an agent for each code, as `server/fleet_map.py` has it."""
    pool = {"name": "coder", "title": "", "family": "Development", "layer": "execution", "spans": [[1, len(codes)]]}
    head = json.dumps({"pools": [pool]}).encode()
    return struct.pack("<I", len(head)) + head + codes


def test_the_map_of_30_000_shows_each_agent_and_what_became_of_it(visit: Visit) -> None:
    page = visit("/queues", viewport={"width": 1280, "height": 800})
    codes = bytearray(30_000)
    page.route("**/api/fleet/map", lambda route: route.fulfill(body=drawn(bytes(codes)), headers={"etag": f'"{sum(codes)}"'}))
    page.get_by_role("link", name="Fleet").click()
    page.locator("canvas").wait_for()
    page.wait_for_function(f"({INKED})().idle")
    assert page.evaluate(INKED) == {"idle": 30_000 * 3 * 3}  # of the 4 x 4 pixels of each
    codes[17], codes[29_999] = 2, 2
    error = page.get_by_role("button", name="error 2")
    error.click()
    expect(page.get_by_text("coder-18, error")).to_be_visible()
    assert page.evaluate(INKED) == {"idle": 29_998 * 3 * 3, "error": 2 * 4 * 4}
    error.click()
    expect(page.get_by_text("coder-30000, error")).to_be_visible()
    expect(page.locator("[class*=mark]")).to_be_in_viewport()


def asked(address: str, path: str, body: object) -> dict[str, str]:
    """Ask the API beside the page."""
    answer = httpx.post(f"{address}{path}", json=body, timeout=LIMIT_S)
    assert answer.status_code == 201, answer.text
    return answer.json()


def test_a_person_s_yes_lets_a_flow_go_on(visit: Visit, address: str) -> None:
    flow = {"name": "release", "tasks": [{"key": "ok", "approval": "Publish it?"}]}
    workflow_id = asked(address, "/api/workflows", {"flow": flow})["workflow_id"]
    page = visit("/")
    page.get_by_role("list", name="What wants attention").get_by_role("link", name=re.compile("approval")).click()
    page.get_by_role("link", name="Publish it?").click()
    page.wait_for_url(f"**/goals/{workflow_id}")
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


def test_tasks_are_found_by_their_state_by_keys_alone(visit: Visit, address: str) -> None:
    asked(address, "/api/tasks", {"capability": "execution.publish", "title": "Waits for tomorrow", "delay_s": 86_400})
    page = visit("/")
    page.get_by_role("link", name="Tasks", exact=True).press("Enter")
    tomorrow = page.get_by_role("row", name=re.compile("Waits for tomorrow"))
    expect(tomorrow).to_have_count(1)
    states = page.get_by_role("group", name="In which state")
    states.get_by_role("button", name="succeeded").press("Enter")
    expect(tomorrow).to_have_count(0)
    states.get_by_role("button", name="delayed").press("Space")
    expect(tomorrow).to_have_count(1)
    page.wait_for_url("**/tasks?state=delayed")
    page.reload()
    expect(states.get_by_role("button", pressed=True)).to_have_text("delayed")
    tomorrow.get_by_role("link").press("Enter")
    expect(page.get_by_role("heading", name="Waits for tomorrow", level=1)).to_be_visible()
    page.go_back()
    page.wait_for_url("**/tasks?state=delayed")


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
    expect(page.get_by_role("row", name="ended a silence")).not_to_have_count(0)


STEPS_MAX = 60


def tab_to(page: Page, wanted: Locator) -> None:
    """Press Tab until that has the focus."""
    for _ in range(STEPS_MAX):
        page.keyboard.press("Tab")
        if wanted.evaluate("element => element === document.activeElement"):
            return
    raise AssertionError(f"no way leads to {wanted} by Tab")


def test_a_goal_is_submitted_watched_and_read_and_a_question_answered_by_keys_alone(
    visit: Visit, address: str, project: Path
) -> None:
    page = visit("/goals")
    tab_to(page, page.get_by_label("What is wanted"))
    page.keyboard.type(GOAL)
    tab_to(page, page.get_by_label("Input folder"))
    page.keyboard.type(str(project))
    page.keyboard.press("Enter")
    page.wait_for_url("**/goals/*")
    tab_to(page, page.get_by_role("button", name="Graph"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("group", name="Write the report, succeeded")).to_be_visible()
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(page.get_by_role("region", name="Hierarchy of tasks")).to_be_visible()
    page.locator("main").focus()
    tab_to(page, page.get_by_label("File"))
    page.keyboard.press("End")
    shown = page.get_by_label("File").input_value()
    expect(page.locator("iframe")).to_have_attribute("title", shown)
    tab_to(page, page.get_by_role("link", name="Open alone"))
    flow = {"name": "keyed", "tasks": [{"key": "ok", "approval": "Is it so?"}]}
    page.goto(f"{address}/goals/{asked(address, '/api/workflows', {'flow': flow})['workflow_id']}")
    comment = page.get_by_label("Comment")
    comment.wait_for()
    tab_to(page, comment)
    page.keyboard.type("yes")
    page.keyboard.press("Enter")
    expect(comment).to_have_count(0)
    expect(page.locator("main").get_by_text("succeeded").first).to_be_visible()


@pytest.mark.parametrize(
    ("theme", "width", "rules"), [("light", 1280, {}), ("light", 360, {}), ("dark", 1280, {"runOnly": ["color-contrast"]})]
)
def test_axe_finds_nothing_serious(
    visit: Visit, address: str, goal: str, theme: str, width: int, rules: dict[str, object]
) -> None:
    page = visit("/", color_scheme=theme, viewport={"width": width, "height": 740})
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
    page.goto(address)
    agents = page.get_by_role("region", name="Hosts").locator("tbody tr").first.locator("td").first
    assert agents.evaluate("cell => getComputedStyle(cell, '::before').content") == '"Agents"'  # a row is a card there
