"""`PolicyManager`: asked before an agent uses a tool; the fleet's policies, with their limits in the engine.

    manager = PolicyManager(load_fleet("fleet.yaml"))
    call = manager.call("coder-1", "shell", {"command": "rm -rf /"})
    print(manager.decide(call).why)

A host has one, which follows the fleet that is wanted (`follow`), so a change of the policies holds for the next call. What can't
be read leaves those in force that were. `decide` only answers; `permit` also takes from limits, and counts and keeps what came of
it: that goes to the engine by `run`, a call a second at most however much is refused, so what a host that is killed hadn't sent
yet stands in its log alone.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, TypeVar

import msgspec

from amas.clock import now_ms
from amas.core.policies import limit_told
from amas.engine.tools import Take, Taken, ToolLedger
from amas.errors import EngineError
from amas.model.fleet import FleetSpec, pool_of
from amas.model.policy import Decision, PolicyRule, Refusal, ToolCall
from amas.observe import events
from amas.observe.logging import Log
from amas.policy.cedar import CedarInvalid
from amas.policy.judge import Judge, Ruling, refusal

TELL_EVERY_S = 1.0
UNTOLD_MAX = 100
"""Refusals that wait to be told; of more within a second the older ones are counted but not kept."""

Answer = TypeVar("Answer")
Patient = Callable[[Callable[[], Awaitable[Answer]]], Awaitable[Answer]]
"""Says a call again until the engine answers."""


async def _once(call: Callable[[], Awaitable[Answer]]) -> Answer:
    return await call()


class PolicyManager:
    """Decides who may use which tool; a `ToolGuard`."""

    def __init__(
        self, fleet: FleetSpec, ledger: ToolLedger | None = None, *, log: Log | None = None, patient: Patient[Any] = _once
    ) -> None:
        """`ledger`: where limits are kept; without it what is limited is refused. `patient`: how calls of it are made.

        CedarInvalid when a policy can't be read.
        """
        self._judge = Judge(fleet)
        self._said = fleet.pools, fleet.policies
        self._ledger, self._log, self._patient = ledger, log, patient
        self._allowed = self._refused = 0
        self._untold: deque[Refusal] = deque(maxlen=UNTOLD_MAX)
        self._news = asyncio.Event()

    @property
    def rules(self) -> tuple[PolicyRule, ...]:
        """Those in force: what pools are granted, and the fleet's policies."""
        return self._judge.rules

    def follow(self, fleet: FleetSpec) -> str:
        """Go by this fleet's policies from now on; return "", or why they can't be read, and those before stay in force."""
        if self._said == (fleet.pools, fleet.policies):
            return ""
        try:
            self._judge = Judge(fleet)
        except CedarInvalid as error:
            if self._log is not None:
                self._log.warning(
                    "policies can't be read: those before stay in force", event=events.POLICIES_KEPT, why=str(error)
                )
            return str(error)
        self._said = fleet.pools, fleet.policies
        return ""

    def call(self, agent: str, tool: str, arguments: dict[str, Any], *, tenant: str = "") -> ToolCall:
        """Return the call that an agent of this fleet would make."""
        return self._judge.call_of(agent, pool_of(agent), tool, arguments, tenant=tenant)

    def decide(self, call: ToolCall) -> Decision:
        """Return what the rules say of a call, whatever their limits have left."""
        return self._judge.decide(call).decision

    async def permit(self, call: ToolCall) -> Decision:
        """Decide, and take from the limits of the deciding rules; what is refused takes nothing, is kept and counted.

        EngineError when a limit can't be asked for.
        """
        ruling = self._judge.decide(call)
        limited = ruling.alternatives or ruling.caps
        decision = await self._within(call, ruling) if limited else ruling.decision
        self._note(call, decision)
        return decision

    async def _within(self, call: ToolCall, ruling: Ruling) -> Decision:
        ledger, rules = self._ledger, {rule.name: rule for rule in (*ruling.caps, *ruling.alternatives)}
        if ledger is None:
            why = f"{call.agent} may not use {call.tool!r} here: its limit is kept in the engine, and there is none"
            return Decision(allowed=False, why=why, rules=tuple(rules))
        every, one_of = ([_take(rule, call) for rule in of] for of in (ruling.caps, ruling.alternatives))
        taken: Taken = await self._patient(lambda: ledger.take(every, one_of))
        if taken.granted:
            return msgspec.structs.replace(ruling.decision, rules=(taken.limit.rule,)) if taken.limit else ruling.decision
        assert taken.limit is not None, "what isn't granted lacks room in some limit"
        used_up = f"the limit of {taken.limit.rule!r} is used up ({limit_told(taken.limit.limit)})"
        said = f": {why}" if (why := rules[taken.limit.rule].why) else ""
        why = f"{call.agent} may not use {call.tool!r} now: {used_up}{said}; there is room again in {taken.retry_after_s:.0f} s"
        return Decision(allowed=False, why=why, rules=(taken.limit.rule,), retry_after_s=taken.retry_after_s)

    def _note(self, call: ToolCall, decision: Decision) -> None:
        self._news.set()
        if decision.allowed:
            self._allowed += 1
            return
        self._refused += 1
        self._untold.append(refusal(call, decision, at_ms=now_ms()))
        if self._log is not None:
            fields = {"agent_id": call.agent, "tool": call.tool, "rules": list(decision.rules), "why": decision.why}
            self._log.warning("a tool was refused", event=events.TOOL_REFUSED, **fields)

    async def run(self) -> None:
        """Tell the engine what was allowed and refused, until cancelled."""
        while True:
            await self._news.wait()
            with suppress(EngineError):  # it is told when the engine is back
                await self.tell()
            await asyncio.sleep(TELL_EVERY_S)

    async def tell(self) -> None:
        """Tell the engine what was allowed and refused since the last time; EngineError when it doesn't answer."""
        self._news.clear()
        allowed, refused, refusals = self._allowed, self._refused, list(self._untold)
        if self._ledger is None or not (allowed or refused):
            return
        self._allowed, self._refused = 0, 0
        self._untold.clear()
        try:
            await self._ledger.note(allowed=allowed, refused=refused, refusals=refusals)
        except EngineError:
            self._allowed, self._refused = self._allowed + allowed, self._refused + refused
            self._untold.extendleft(reversed(refusals[len(self._untold) :]))
            self._news.set()
            raise


def _take(rule: PolicyRule, call: ToolCall) -> Take:
    assert rule.limit is not None, f"{rule.name} has no limit"
    whom = {"agent": call.agent, "pool": call.pool, "tenant": call.tenant, "fleet": ""}[rule.limit.each]
    return Take(rule.name, rule.limit, whom)
