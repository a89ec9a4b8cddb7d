"""Long lists: a page at a time, which the address names, by keys alone and on a phone; and finding one task among many."""

import re
from collections.abc import Callable

import httpx
import pytest
from playwright.sync_api import Page, expect

from .conftest import LIMIT_MS, LIMIT_S
from .test_page import asked

pytestmark = pytest.mark.xdist_group("browser")
Visit = Callable[..., Page]
ROWS = 50
"""Of a page."""
FIRST = "main tbody tr:first-child a"


@pytest.fixture(scope="module", autouse=True)
def many(address: str) -> list[str]:
    """Have more tasks wait than two pages hold; return their ids, newest first."""
    expect.set_options(timeout=LIMIT_MS)
    batch = [{"capability": "execution.publish", "title": f"Long list {n}", "delay_s": 86_400} for n in range(2 * ROWS + 1)]
    answer = httpx.post(f"{address}/api/tasks/batch", json=batch, timeout=LIMIT_S)
    assert answer.status_code == 201, answer.text
    return sorted(answer.json()["ids"], reverse=True)


@pytest.mark.parametrize("width", [1280, 360])
def test_a_list_is_paged_through_and_back_by_keys(visit: Visit, many: list[str], width: int) -> None:
    page = visit("/tasks?state=delayed", viewport={"width": width, "height": 740})
    first = page.locator(FIRST)
    expect(first).to_have_attribute("href", f"/tasks/{many[0]}")
    ways = page.get_by_role("navigation", name="Pages of tasks")
    older = ways.get_by_role("button", name="Older")
    older.focus()
    for turn in (1, 2):
        page.keyboard.press("Enter")
        expect(first).to_have_attribute("href", f"/tasks/{many[turn * ROWS]}")
        expect(older).to_be_focused()
        assert page.get_by_role("row").count() <= ROWS + 1, "no page is added to the one before"
        assert page.evaluate("scrollY") == 0, "another page is read from its top"
    first.press("Enter")
    page.wait_for_url(f"**/tasks/{many[2 * ROWS]}")
    page.go_back()
    ways.get_by_role("button", name="Newer").press("Enter")
    expect(first).to_have_attribute("href", f"/tasks/{many[ROWS]}")
    page.reload()
    expect(first).to_have_attribute("href", f"/tasks/{many[ROWS]}")
    ways.get_by_role("button", name="Newest").press("Enter")
    expect(first).to_have_attribute("href", f"/tasks/{many[0]}")
    page.wait_for_url(re.compile(r"/tasks\?state=delayed$"))


def test_only_the_page_that_is_shown_is_looked_at_again(visit: Visit, many: list[str]) -> None:
    page = visit(f"/tasks?state=delayed&before={many[ROWS - 1]}")
    expect(page.locator(FIRST)).to_have_attribute("href", f"/tasks/{many[ROWS]}")
    page.get_by_role("button", name="Older").press("Enter")
    expect(page.locator(FIRST)).to_have_attribute("href", f"/tasks/{many[2 * ROWS]}")
    for _ in range(2):
        with page.expect_request("**/api/tasks?*") as again:
            pass
        assert f"cursor={many[2 * ROWS - 1]}" in again.value.url


def test_a_list_goes_on_from_a_time_and_another_filter_begins_at_its_top(visit: Visit, many: list[str]) -> None:
    page = visit("/tasks?state=delayed")
    until = page.get_by_label("Made up to")
    until.fill("2020-01-01T00:00")
    expect(page.get_by_text("There are none such")).to_be_visible()
    until.fill("2199-12-31T23:59")
    expect(page.locator(FIRST)).to_have_attribute("href", f"/tasks/{many[0]}")
    expect(until).to_have_value("2199-12-31T23:59")
    page.get_by_role("button", name="all", exact=True).click()
    expect(until).to_have_value("")


def test_a_task_a_goal_and_an_agent_s_tasks_are_found_by_what_they_are_called(
    visit: Visit, address: str, many: list[str]
) -> None:
    flow = {"name": "found", "tasks": [{"key": "ok", "approval": "Found?"}]}
    goal = asked(address, "/api/workflows", {"flow": flow})["workflow_id"]
    page = visit("/tasks")
    words = page.get_by_role("searchbox")
    for wanted, path in ((many[70], f"/tasks/{many[70]}"), (goal.upper(), f"/goals/{goal}")):
        words.fill(f" {wanted} ")
        words.press("Enter")
        page.wait_for_url(f"**{path}")
        page.go_back()
    nobody = many[0][:-4] + "0000"
    words.fill(nobody)
    words.press("Enter")
    expect(page.get_by_role("alert")).to_contain_text(f"No task and no goal has the id {nobody}")
    words.fill("nobody-1")
    words.press("Enter")
    page.wait_for_url("**/tasks?agent=nobody-1")
    expect(page.get_by_text("There are none such")).to_be_visible()
    words.fill("")
    page.wait_for_url("**/tasks")
    expect(page.get_by_role("row")).not_to_have_count(0)
    page.goto(f"{address}/tasks?goal={goal}")
    expect(page.get_by_role("link", name="ok", exact=True)).to_be_visible()
    page.get_by_role("button", name="All goals' tasks").click()
    page.wait_for_url("**/tasks")
