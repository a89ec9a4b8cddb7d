"""Policies over REST: which there are, what they would say, others in their place, and what was refused."""

from typing import Any

import httpx
import msgspec

from amas.engine.tools import ToolLedger
from amas.model.policy import ArgumentTest, PolicyRule, Refusal
from amas.server.plane import ControlPlane

from .test_fleet import scrape

ALLOW = PolicyRule(
    name="git", effect="allow", tools=("shell",), pools=("worker",), when={"command": ArgumentTest(matches=("git *",))}
)


def put(*rules: PolicyRule) -> dict[str, Any]:
    return {"rules": msgspec.to_builtins(rules), "by": "ann", "why": "for the test"}


async def test_policies_are_changed_tried_and_listed(plane: ControlPlane, client: httpx.AsyncClient) -> None:
    assert (await client.put("/api/policies", json=put(ALLOW))).status_code == 422  # no fleet is wanted yet
    await plane.desired.apply(plane.fleet, by="test", why="the fleet")
    looked = await client.put("/api/policies?dry_run=true", json=put(ALLOW))
    assert (looked.json()["applied"], looked.json()["told"][0]) == (False, "+ policy git")
    seen = await client.get("/api/policies")
    assert seen.json()["rules"] == []
    match = {"if-match": seen.headers["etag"]}
    applied = await client.put("/api/policies", json=put(ALLOW), headers=match)
    assert applied.json()["applied"] and applied.headers["etag"] == (await client.get("/api/policies")).headers["etag"]
    late = await client.put("/api/policies", json=put(), headers=match)
    assert (late.status_code, late.json()["code"]) == (412, "desired_changed")
    page = (await client.get("/api/policies")).json()
    assert [rule["name"] for rule in page["rules"]] == ["git"]
    assert [pool["name"] for pool in page["known"]["pools"]] == ["coordinator", "worker"]
    assert (await client.get("/api/fleet/history")).json()["items"][0]["why"] == "for the test"

    calls = [{"agent": "worker-1", "tool": "shell", "arguments": {"command": command}} for command in ("git log", "rm -rf /")]
    tried = (await client.post("/api/policies/test", json={"calls": calls})).json()["items"]
    assert [(each["allowed"], each["rules"]) for each in tried] == [(True, ["git"]), (False, [])]
    assert "'git' does where" in tried[1]["why"]
    deep: Any = None
    for _ in range(60):
        deep = [deep]
    odd = {"agent": "worker-1", "tool": "x", "arguments": {"a": deep, "b": {"__entity": 1}, "c": 1e300}}
    assert (await client.post("/api/policies/test", json={"calls": [odd]})).json()["items"][0]["allowed"] is False
    unknown = await client.post("/api/policies/test", json={"calls": [{"agent": "nobody-1", "tool": "x"}]})
    assert (unknown.status_code, unknown.json()["code"]) == (404, "agent_unknown")


async def test_rules_that_arent_sound_leave_those_that_are(plane: ControlPlane, client: httpx.AsyncClient) -> None:
    await plane.desired.apply(msgspec.structs.replace(plane.fleet, policies=(ALLOW,)), by="test", why="the fleet")
    wrong = [
        (PolicyRule(name="a", effect="allow", pools=("wrker",), at="p.yaml:3"), "a (p.yaml:3): there is no pool 'wrker' (did"),
        (PolicyRule(name="a", effect="allow", cedar="permit (x, y, z);"), "isn't Cedar"),
        (PolicyRule(name="a", effect="allow", cedar="forbid (principal, action, resource);"), "must be one policy, a permit"),
    ]  # fmt: skip
    for rule, words in wrong:
        answer = await client.put("/api/policies", json=put(rule))
        assert answer.status_code == 422 and words in answer.text
    assert (await plane.desired.read()).fleet.policies == (ALLOW,)  # type: ignore[union-attr]


async def test_refusals_are_listed_and_counted(plane: ControlPlane, client: httpx.AsyncClient) -> None:
    refused = Refusal(at_ms=5, agent="worker-1", pool="worker", tenant="", tool="shell", arguments="{}", why="no", rules=("git",))
    await ToolLedger(plane.engine).note(allowed=3, refused=1, refusals=[refused])
    assert msgspec.convert((await client.get("/api/policies/refusals")).json()["items"], list[Refusal]) == [refused]
    found = await scrape(plane)
    assert (found["amas_tool_calls_total|allowed"], found["amas_tool_calls_total|refused"]) == (3, 1)
