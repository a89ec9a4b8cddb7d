"""Two tenants on one fleet: neither sees, changes or learns of what is the other's, whichever route it asks."""

import re
from pathlib import Path
from typing import Any, NamedTuple

import httpx
import pytest

from amas.agents.grounds import tenant_folder
from amas.clock import new_id
from amas.model.hooks import Hook
from amas.server.access import RULES, Rule
from amas.server.plane import ControlPlane

from .conftest import ROOT, WORK, Hands
from .test_access import bearer, make, problem_of

Headers = dict[str, str]
ACME, RIVAL = "acme", "rival"
FLOW = {"name": "f", "tasks": [{"key": "ask", "approval": "Is it good?"}]}


class Work(NamedTuple):
    """What one tenant has."""

    caller: Headers
    ids: dict[str, str]
    """By the name of a path's parameter."""
    secrets: tuple[str, ...]
    """What may stand in no answer to the other tenant."""


async def work_of(client: httpx.AsyncClient, admin: Headers, hands: Hands, tenant: str) -> Work:
    caller = bearer((await make(client, f"a-{tenant}", "operator", admin, tenant=tenant))["key"])

    async def post(path: str, body: Any) -> dict[str, Any]:
        answer = await client.post(path, json=body, headers=caller)
        assert answer.status_code == 201, answer.text
        return answer.json()

    dead = (await post("/api/tasks", {"capability": WORK, "input": f"in-{tenant}"}))["id"]
    await hands.fail((await hands.claim())[0], "gave_up", f"it failed for {tenant}")
    task = (await post("/api/tasks", {"capability": WORK, "input": f"input-{tenant}"}))["id"]
    await hands.finish((await hands.claim())[0], f"result-{tenant}")
    workflow = (await post("/api/workflows", {"flow": FLOW}))["workflow_id"]
    schedule = {"cron": "0 4 * * *", "task": {"capability": WORK, "input": f"nightly-{tenant}"}}
    assert (await client.put(f"/api/schedules/{tenant}", json=schedule, headers=caller)).status_code == 201
    approval = (await client.get("/api/approvals", headers=caller)).json()["items"][0]["task_id"]
    hook = Hook(id=new_id(), url=f"http://{tenant}.example/", events=("*",), tenant=tenant, created_ms=0)
    await hands.plane.hooks.add(hook, position="0-0")
    ids = {"task_id": task, "workflow_id": workflow, "name": tenant, "approval": approval, "dead": dead, "webhook_id": hook.id}
    return Work(caller, ids, (tenant, *ids.values()))


@pytest.fixture
async def tenants(client, hands: Hands) -> tuple[Work, Work]:
    admin = bearer((await make(client, "root", "system-admin"))["key"])
    found = [await work_of(client, admin, hands, tenant) for tenant in (ACME, RIVAL)]
    await hands.record()
    return found[0], found[1]


def path_of(rule: Rule, ids: dict[str, str]) -> str:
    special = {"/api/approvals": "approval", "/api/dead-letters": "dead"}
    name = next((name for prefix, name in special.items() if rule.path.startswith(prefix)), "task_id")
    return re.sub(r"{(\w+)}", lambda found: ids.get(name if found[1] == "task_id" else found[1], "none"), rule.path)


BODIES: dict[str, Any] = {
    "/api/tasks/{task_id}/signal": {"name": "go", "value": 1},
    "/api/workflows/{workflow_id}/rerun": {"task": "ask"},
    "/api/workflows/{workflow_id}/signal": {"key": "ask", "value": True},
    "/api/approvals/{task_id}": {"approved": True},
    "/api/schedules/{name}": {"cron": "0 4 * * *", "task": {"capability": WORK}},
}


async def snapshot(client: httpx.AsyncClient, work: Work) -> list[Any]:
    found = []
    for path in (
        "/api/tasks/{task_id}",
        "/api/tasks/{dead}",
        "/api/workflows/{workflow_id}",
        "/api/schedules/{name}",
        "/api/approvals",
    ):
        answer = (await client.get(path.format(**work.ids), headers=work.caller)).json()
        found.append({name: value for name, value in answer.items() if name not in ("seconds", "last_event_id", "tasks")})
    return found


@pytest.mark.requirement("A15")
async def test_another_tenant_s_ids_are_unknown_on_every_route(client, tenants: tuple[Work, Work]) -> None:
    acme, rival = tenants
    before = await snapshot(client, rival)
    for rule in RULES:
        if not rule.path.startswith("/api/") or rule.right in ("open", "greet", "session"):
            continue
        path = path_of(rule, rival.ids)
        answer = await client.request(rule.method, path, json=BODIES.get(rule.path), headers=acme.caller)
        where = f"{rule.method} {path}: {answer.status_code} {answer.text[:200]}"
        if not rule.tenants:
            assert problem_of(answer).code == "role_insufficient", where
        elif "{" in rule.path:
            assert answer.status_code == 404, where
            if rule.method != "PUT":  # that one would make it
                nobody = await client.request(rule.method, path_of(rule, {}), json=BODIES.get(rule.path), headers=acme.caller)
                assert (nobody.status_code, problem_of(nobody).code) == (404, problem_of(answer).code), where
        elif rule.method == "GET" and rule.path != "/openapi.json":
            assert answer.status_code == 200, where
            assert not [secret for secret in rival.secrets if secret in answer.text], where
    assert await snapshot(client, rival) == before


async def test_a_tenant_sees_its_own_everywhere(client, tenants: tuple[Work, Work]) -> None:
    acme, _ = tenants
    for path, wanted in (
        ("/api/tasks", "task_id"),
        ("/api/workflows", "workflow_id"),
        ("/api/schedules", "name"),
        ("/api/approvals", "approval"),
        ("/api/dead-letters", "dead"),
        ("/api/webhooks", "webhook_id"),
    ):
        answer = await client.get(path, headers=acme.caller)
        assert acme.ids[wanted] in answer.text, path
    for rule in RULES:
        if rule.tenants and rule.right == "look" and rule.method == "GET" and "{" in rule.path and rule.path[-1] != "*":
            if rule.path.endswith("/events"):
                continue  # it lasts
            answer = await client.get(path_of(rule, acme.ids), headers=acme.caller)
            assert answer.status_code == 200, f"{rule.path}: {answer.text}"
    for action in ("pause", "resume", "cancel"):
        assert (await client.post(f"/api/workflows/{acme.ids['workflow_id']}/{action}", headers=acme.caller)).status_code == 200
    assert (await client.post(f"/api/dead-letters/{acme.ids['dead']}/retry", headers=acme.caller)).status_code == 200


NAMES_NOBODY_S = frozenset({"limit", "wait", "by", "since", "until", "state", "status", "level", "after_ms", "before_ms"})
"""Parameters of queries that hold numbers, times or words of a closed set."""
WITHOUT_IDS = frozenset({"/api/session", "/api/inputs", "/api/goals", "/api/workflows"})
"""Posts whose bodies can name nothing that is somebody's; what others may is in `test_queries_and_bodies_get_no_further`."""
WITH_IDS = frozenset({"/api/tasks", "/api/tasks/batch", "/api/tasks/outcomes", "/api/webhooks"})


def test_no_route_for_tenants_is_left_out() -> None:
    """Whoever opens a route to tenants says here what in it is somebody's."""
    own = [rule for rule in RULES if rule.tenants and rule.path.startswith("/api/")]
    named = {name for rule in own for name in re.findall(r"{(\w+)}", rule.path)}
    assert named == {"task_id", "workflow_id", "name", "webhook_id"}, "work_of() makes one of each for both tenants"
    assert {rule.path for rule in own if rule.method == "POST" and "{" not in rule.path} == WITHOUT_IDS | WITH_IDS
    assert {rule.path for rule in own if rule.path.endswith("*")} == {
        "/api/inputs/*",
        "/api/workflows/{workflow_id}/deliverable/*",
    }


@pytest.mark.requirement("A15")
async def test_another_tenant_s_ids_say_nothing_in_any_parameter(client, tenants: tuple[Work, Work], plane: ControlPlane) -> None:
    """Every parameter of every route for tenants, filled with everything that is the other's: cursors and headers, too."""
    acme, rival = tenants
    await client.post(f"/api/workflows/{acme.ids['workflow_id']}/cancel", headers=acme.caller)  # its stream ends
    entry = await plane.journal.last_id()
    paths = (await client.get("/openapi.json", headers=acme.caller)).json()["paths"]
    asked = 0
    for rule in RULES:
        if not (rule.tenants and rule.method == "GET" and rule.path in paths):
            continue
        given = [each for each in paths[rule.path]["get"].get("parameters", ()) if each["in"] in ("query", "header")]
        for each in given:
            name = each["name"]
            if name in NAMES_NOBODY_S or name.lower() in ("if-none-match", "accept"):
                continue
            events = name.lower() in ("last-event-id", "after")
            for value in (entry, "0-0") if events else {*rival.ids.values(), RIVAL}:
                where = {"headers": {**acme.caller, name: value}} if each["in"] == "header" else {"params": {name: value}}
                answer = await client.get(path_of(rule, acme.ids), **{"headers": acme.caller, **where})
                told = [secret for secret in rival.secrets if secret != value and secret in answer.text]
                assert not told and answer.status_code < 500, (
                    f"{rule.path} {name}={value}: {answer.status_code} {answer.text[:300]}"
                )
                asked += 1
    assert asked > 50
    for name, value in (("last-event-id", "0-0"), ("last-event-id", entry)):
        stream = await client.get(f"/api/workflows/{rival.ids['workflow_id']}/events", headers={**acme.caller, name: value})
        assert problem_of(stream).code == "workflow_unknown"
    for query in ("wait=30", ""):
        waits = await client.get(f"/api/tasks/{rival.ids['task_id']}/result?{query}", headers=acme.caller)
        assert problem_of(waits).code == "task_unknown"
    await plane.hosts.leave("h1")  # which says that it is on another machine
    theirs = (await client.post("/api/inputs", headers=rival.caller)).json()["id"]
    for folder in (theirs, "0" * 36):
        answer = await client.put(f"/api/inputs/{folder}/a.txt", content=b"x", headers=acme.caller)
        assert problem_of(answer).code == "input_unknown"


async def test_queries_and_bodies_get_no_further(client, tenants: tuple[Work, Work], plane: ControlPlane) -> None:
    acme, rival = tenants
    for query in (f"tasks?workflow_id={rival.ids['workflow_id']}", f"approvals?workflow_id={rival.ids['workflow_id']}"):
        assert (await client.get(f"/api/{query}", headers=acme.caller)).json()["items"] == []
    costs = (await client.get(f"/api/costs?by=tenant&tenant={RIVAL}", headers=acme.caller)).json()
    assert {item["name"] for item in costs["items"]} <= {ACME}
    asked = {"ids": [acme.ids["task_id"], rival.ids["task_id"]]}
    outcomes = (await client.post("/api/tasks/outcomes", json=asked, headers=acme.caller)).json()
    assert [one["id"] for one in outcomes["ended"]] == [acme.ids["task_id"]]
    stolen = {"capability": WORK, "needs": [rival.ids["task_id"]]}
    for path, body in (("/api/tasks", stolen), ("/api/tasks/batch", [stolen])):
        assert problem_of(await client.post(path, json=body, headers=acme.caller)).code == "task_unknown"
    for body, code in (
        ({"capability": WORK, "tenant": RIVAL}, "tenant_refused"),
        ({"text": "look", "tenant": RIVAL}, "tenant_refused"),
        ({"text": "look", "input_dir": "/"}, "folder_refused"),
    ):
        path = "/api/tasks" if "capability" in body else "/api/goals"
        assert problem_of(await client.post(path, json=body, headers=acme.caller)).code == code
    hook = {"url": "https://acme.example/", "workflow_id": rival.ids["workflow_id"]}
    made = await client.post("/api/webhooks", json=hook, headers=acme.caller)
    assert (made.status_code, made.json().get("tenant")) in ((404, None), (201, ACME), (422, None)), "it hears of its own alone"
    nested = {"cron": "0 4 * * *", "task": {"capability": WORK, "tenant": RIVAL}}
    assert problem_of(await client.put("/api/schedules/mine", json=nested, headers=acme.caller)).code == "tenant_refused"
    made = (await client.post("/api/tasks/batch", json=[{"capability": WORK}], headers=acme.caller)).json()["ids"]
    assert await plane.queue.tenants_of(made) == {made[0]: ACME}


async def test_a_concurrency_key_is_each_tenant_s_own(client, tenants: tuple[Work, Work], hands: Hands) -> None:
    """Else one could hold up another's work by naming its key with a limit of one, in a task or anywhere in a flow."""
    acme, rival = tenants
    keyed = {"capability": WORK, "concurrency": {"customer-42": 1}}
    inner = {"name": "g", "tasks": [{"key": "c", **keyed}]}
    each = {"over": "`[1]`", **keyed}
    flow = {"name": "f", "tasks": [{"key": "a", **keyed}, {"key": "b", "map": each}, {"key": "d", "flow": inner}]}
    for path, body in (("/api/tasks", keyed), ("/api/tasks/batch", [keyed]), ("/api/workflows", {"flow": flow})):
        assert (await client.post(path, json=body, headers=rival.caller)).status_code == 201
    wide = keyed | {"concurrency": {"customer-42": 2}}
    for _ in range(2):
        assert (await client.post("/api/tasks", json=wide, headers=acme.caller)).status_code == 201
    running = await hands.claim(limit=9)
    assert sorted(claimed.spec.tenant for claimed in running) == [ACME, ACME, RIVAL]
    kept = await hands.plane.limits.all()
    assert {each.key for each in kept.slots} == {"acme/customer-42", "rival/customer-42"}


async def test_an_idempotency_key_is_each_tenant_s_own(client, tenants: tuple[Work, Work]) -> None:
    ids = set()
    for work in (*tenants, tenants[0]):
        answer = await client.post("/api/tasks", json={"capability": WORK}, headers={**work.caller, "idempotency-key": "k"})
        ids.add(answer.json()["id"])
    assert len(ids) == 2


async def test_a_goal_is_about_files_that_came_with_it_and_hands_out_its_tenant_s_alone(
    client, tenants: tuple[Work, Work], hands: Hands, plane: ControlPlane
) -> None:
    acme, rival = tenants
    await plane.hosts.leave("h1")  # which says that it is on another machine
    mine = (await client.post("/api/inputs", headers=acme.caller)).json()["folder"]
    theirs = (await client.post("/api/inputs", headers=rival.caller)).json()["folder"]
    for folder in (theirs, "/etc", f"{mine}/../../{Path(theirs).parent.name}", "/inputs", str(plane.home)):
        for path, body in (("goals", {}), ("schedules/nightly", {"cron": "0 4 * * *"})):
            goal = {"text": "review the code", "input_dir": folder}
            answer = await client.request(
                "PUT" if body else "POST", f"/api/{path}", json={**body, "goal": goal} if body else goal, headers=acme.caller
            )
            assert problem_of(answer).code == "folder_refused", (folder, path)
    goal = await client.post("/api/goals", json={"text": "review the code", "input_dir": mine}, headers=acme.caller)
    assert goal.status_code == 201, goal.text
    await hands.register()
    published = {at: plane.home / "deliverables" / at for at in ("a-goal-s", tenant_folder(RIVAL), tenant_folder(ACME))}
    for at in published.values():
        (at / "1").mkdir(parents=True)
        (at / "1" / "report.md").write_text("figures")
        (at / "1" / ".amas-deliverable.json").write_text('[{"name": "report.md", "bytes": 7, "sha256": ""}]')
    for at, folder in published.items():
        goal = (await client.post("/api/goals", json={"text": "review the code"}, headers=acme.caller)).json()
        (root,) = [claimed for claimed in await hands.claim(ROOT, "coordinator-1", limit=9) if claimed.id == goal["root_id"]]
        await hands.finish(root, {"folder": str(folder / "1"), "files": ["report.md"]})
        answer = await client.get(f"/api/workflows/{goal['workflow_id']}/deliverable/report.md", headers=acme.caller)
        assert answer.status_code == (200 if at == tenant_folder(ACME) else 404), at
