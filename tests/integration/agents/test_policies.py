"""A host's agents ask before they use a tool: what is allowed, limited and refused, and new policies while the host works."""

import msgspec
from host_bench import Bench, pool
from tests.integration.agents.test_seating import following

from amas.engine.desired import FLEET, DesiredState, Wish
from amas.engine.tools import ToolLedger
from amas.model.desired import Seats
from amas.model.fleet import FleetSpec
from amas.model.policy import ArgumentTest, CallLimit, Decision, PolicyRule

GIT = PolicyRule(
    name="git",
    effect="allow",
    tools=("shell",),
    pools=("ask",),
    when={"command": ArgumentTest(matches=("git *",))},
    limit=CallLimit(calls=2, per_s=3600.0, each="agent"),
)
NO_PUSH = PolicyRule(
    name="no-push", effect="deny", when={"command": ArgumentTest(matches=("*push*",))}, why="a person pushes", at="p.yaml:9"
)


async def test_policies_hold_where_agents_work_and_change_while_they_do(bench: Bench) -> None:
    fleet = FleetSpec(name="asking", pools=(pool("ask"),), policies=(GIT, NO_PUSH))
    state, ledger = DesiredState(bench.engine), ToolLedger(bench.engine)

    async def asked(command: str) -> Decision:
        task_id = await bench.submit("test.ask", {"tool": "shell", "arguments": {"command": command}})
        return msgspec.convert((await bench.ended(task_id)).result, Decision)

    async with bench.host([]) as host, following(bench, host):
        await state.change([Wish(FLEET, fleet), Wish("seats:h1", (Seats("ask", ((1, 1),)),))], by="test")
        pushing = await asked("git push")
        assert not pushing.allowed and pushing.why.endswith("the rule 'no-push' (p.yaml:9) says: a person pushes")
        assert [(await asked("git log")).allowed for _ in range(3)] == [True, True, False]
        full = await asked("git log")
        assert "the limit of 'git' is used up (2 calls of each agent within 1h)" in full.why and full.retry_after_s
        assert not (await asked("ls")).allowed

        revision = await state.change([Wish(FLEET, msgspec.structs.replace(fleet, policies=(NO_PUSH,)))], by="test")

        async def followed() -> bool:
            return host._revision == revision

        await bench.until(followed)
        assert (await asked("git log")).why.startswith("ask-1 may not use 'shell': no rule allows it")

    # the host has left, and told all
    kept = await ledger.refusals()
    assert [each.rules for each in reversed(kept)] == [("no-push",), ("git",), ("git",), (), ()]
    assert (kept[0].agent, kept[0].arguments) == ("ask-1", '{"command": "git log"}')
    totals = await bench.queue.totals()
    assert (totals["tool_calls_allowed"], totals["tool_calls_refused"]) == (2, 5)
    assert sum(line.get("event") == "tool_refused" for line in bench.log_lines("h1")) == 5
