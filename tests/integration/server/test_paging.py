"""Every list that can grow comes in pages, which neither repeat nor skip what was there before, whatever comes meanwhile."""

from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import pytest

from amas.clock import new_id
from amas.model.access import ApiKey, Role
from amas.model.hooks import Hook, HookEvent
from amas.server.plane import ControlPlane

from .conftest import WORK, Hands
from .test_access import bearer
from .test_access import make as made_key

COMPLETE = {
    # the newest are wanted and a page of 1000 has them, or it is the fleet's own declared size
    "/api/fleet/history", "/api/hosts", "/api/pools", "/api/messages/refused", "/api/messages/dead", "/api/rollouts",
    "/api/quarantine", "/api/recoveries", "/api/breakers", "/api/kill", "/api/alerts", "/api/runbooks", "/api/runbook-runs",
    "/api/policies/refusals", "/api/runbook-audit", "/api/backups",
}  # fmt: skip
COSTS, AUDIT, AGENTS, FOUND = "/api/costs", "/api/audit", "/api/agents", "/api/remote/agents"
Make = Callable[[int], Awaitable[object]]


def makers(client: httpx.AsyncClient, plane: ControlPlane, hands: Hands, hook: str) -> dict[str, Make]:
    """Return what adds one to each list."""
    task = {"capability": WORK, "input": 1}

    async def post(path: str, body: Any) -> None:
        answer = await client.post(path, json=body)
        assert answer.status_code == 201, answer.text

    async def put(path: str, body: Any) -> None:
        assert (await client.put(path, json=body)).status_code in (200, 201)

    async def dead(_: int) -> None:
        await post("/api/tasks", task)
        await hands.fail((await hands.claim())[0], "gave_up", "it broke")

    async def workflow(_: int) -> None:
        await post("/api/workflows", {"flow": {"name": "f", "tasks": [{"key": "ask", "approval": "Is it good?"}]}})

    async def key(number: int) -> None:
        made = ApiKey(prefix=f"{number:012}", name="a", role=Role.VIEWER, digest=b"", created_ms=number, expires_ms=number, by="")
        await plane.identity.keys.kept.add(made)

    async def event(number: int) -> None:
        lost = HookEvent(id=f"17-{number}", kind="task.failed", subject="t", at_ms=1, taken_ms=1)
        await plane.hooks.tell(hook, lost)
        await plane.hooks.failed(hook, lost, again_ms=0, disable=False)

    silence = {"alert": "*", "for_s": 60, "by": "ada", "why": "a test"}
    return {
        "/api/tasks": lambda _: post("/api/tasks", task),
        "/api/dead-letters": dead,
        "/api/workflows": workflow,
        "/api/approvals": workflow,
        "/api/schedules": lambda number: put(f"/api/schedules/s{number}", {"cron": "0 4 * * *", "task": task}),
        "/api/budgets": lambda number: put(f"/api/budgets/tenant/t{number}", {"usd": 1.0}),
        "/api/silences": lambda _: post("/api/silences", silence),
        "/api/webhooks": lambda _: plane.hooks.add(
            Hook(id=new_id(), url="http://a.example/", events=("*",), created_ms=0), position="0-0"
        ),
        f"/api/webhooks/{hook}/events": event,
        "/api/keys": key,
    }


async def test_every_list_comes_in_pages(client: httpx.AsyncClient, plane: ControlPlane, hands: Hands) -> None:
    hook = Hook(id="h", url="http://a.example/", events=("*",), created_ms=0)
    await plane.hooks.add(hook, position="0-0")
    document = (await client.get("/openapi.json")).json()
    made = makers(client, plane, hands, hook.id)
    paged = set()
    for path, methods in document["paths"].items():
        if "get" not in methods or "application/json" not in (told := methods["get"]["responses"]["200"]["content"]):
            continue
        shape = document["components"]["schemas"][told["application/json"]["schema"]["$ref"].rpartition("/")[2]]
        if "items" in shape["properties"] and path not in COMPLETE:
            names = {each["name"] for each in methods["get"]["parameters"]}
            assert {"limit"} < names and names & {"cursor", "before"} and "next" in shape["properties"], path
            paged.add(path.replace("{webhook_id}", hook.id))
    assert paged == {*made, COSTS, AUDIT, AGENTS, FOUND}, "a list that can grow is walked below, or in a test of its own"


@pytest.mark.parametrize("number", range(10))
async def test_pages_neither_repeat_nor_skip(client: httpx.AsyncClient, plane: ControlPlane, hands: Hands, number: int) -> None:
    hook = Hook(id="h", url="http://a.example/", events=("*",), created_ms=0)
    await plane.hooks.add(hook, position="0-0")
    path, make = list(makers(client, plane, hands, hook.id).items())[number]
    headers = bearer((await made_key(client, "root", "system-admin"))["key"]) if path == "/api/keys" else None
    for each in range(7):
        await make(each * 10)
    await hands.record()

    async def page(limit: int, cursor: str) -> dict[str, Any]:
        answer = await client.get(path, params={"limit": limit, "cursor": cursor}, headers=headers)
        assert answer.status_code == 200, answer.text
        return answer.json()

    before = (await page(200, ""))["items"]
    assert len(before) >= 7
    seen: list[Any] = []
    cursor: str | None = ""
    more = 1
    while cursor is not None:
        found = await page(2, cursor)
        assert len(found["items"]) <= 2
        seen += found["items"]
        cursor = found["next"]
        if more < 20:
            await make(more)
            await hands.record()
            more += 6
    ids = [identity(each) for each in seen]
    assert len(ids) == len(set(ids)), "none twice"
    assert {identity(each) for each in before} <= set(ids), "none left out"


def identity(item: dict[str, Any]) -> str:
    name = next(name for name in ("task_id", "id", "prefix", "scope", "schedule") if name in item)
    return str(item[name]["name"] if name == "schedule" else item[name])
