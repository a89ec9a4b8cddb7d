"""`get_policy_manager()`: the running fleet's tool policies, asked from a program.

    policies = get_policy_manager()
    decision = policies.decide(policies.call("coder-1", "shell", {"command": "git push"}))
    print(decision.allowed, decision.why)

It goes by the policies that are in force when it is asked, which `amas policy apply` may have changed since it was asked before.
"""

from typing import Any

from amas.client import Fleet
from amas.core.agents import why_no_agent
from amas.engine.tools import ToolLedger
from amas.errors import AgentUnknown
from amas.model.fleet import FleetSpec
from amas.model.policy import Decision, PolicyRule, Refusal, ToolCall
from amas.policy.manager import PolicyManager
from amas.programs.link import Link, wanted_of


class FleetPolicyManager(PolicyManager):
    """A `PolicyManager` that follows the running fleet. All but `permit` and `refusals` block for a call of the engine."""

    def __init__(self, link: Link | None = None) -> None:
        """`link`: by default the fleet in AMAS_HOME."""
        super().__init__(FleetSpec(name="not asked yet", pools=()))
        self._link = link or Link()

    @property
    def rules(self) -> tuple[PolicyRule, ...]:
        """Those in force: what pools are granted, and the fleet's policies."""
        self._look()
        return super().rules

    def call(self, agent: str, tool: str, arguments: dict[str, Any], *, tenant: str = "") -> ToolCall:
        """Return the call that an agent of this fleet would make; AgentUnknown when it declares no such agent."""
        if unknown := why_no_agent(agent, self._look().pools, now=False):
            raise AgentUnknown(unknown)
        return super().call(agent, tool, arguments, tenant=tenant)

    def decide(self, call: ToolCall) -> Decision:
        """Return what the rules in force say of a call, whatever their limits have left; nothing is counted."""
        self._look()
        return super().decide(call)

    async def permit(self, call: ToolCall) -> Decision:
        """Decide as for an agent's own use: take from the limits, and keep and count a refusal."""

        async def take(fleet: Fleet, spec: FleetSpec) -> Decision:
            asked = PolicyManager(await wanted_of(fleet, spec), ToolLedger(fleet.engine))
            decision = await asked.permit(call)
            await asked.tell()
            return decision

        return await self._link.ask(take)

    async def refusals(self, *, limit: int = 100) -> list[Refusal]:
        """Return the uses of tools that were refused lately, newest first, each with its reason."""
        return list(await self._link.ask(lambda fleet, _: ToolLedger(fleet.engine).refusals(limit=limit)))

    def _look(self) -> FleetSpec:
        """Return the fleet that is wanted now, and go by its policies."""
        spec = self._link.ask_now(wanted_of)
        self.follow(spec)
        return spec
