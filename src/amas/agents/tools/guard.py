"""The guard of fleets without policies: no agent may use a tool, except those that its pool names."""

from collections.abc import Iterable, Mapping

from amas.model.fleet import PoolSpec
from amas.model.policy import Decision, ToolCall
from amas.model.tools import granted


class GrantGuard:
    """Allows what pools name; a `ToolGuard`."""

    def __init__(self) -> None:
        self._grants: Mapping[str, tuple[str, ...]] = {}

    def follow(self, pools: Iterable[PoolSpec]) -> None:
        """Go by these pools from now on, the whole fleet's."""
        self._grants = {pool.name: pool.grants for pool in pools}

    async def permit(self, call: ToolCall) -> Decision:
        """Look whether the agent's pool, of a roll-out its own version's, names the tool."""
        pool = call.agent.rpartition("-")[0]
        if granted(call.tool, self._grants.get(pool, ())):
            return Decision(allowed=True, why=f"the pool {pool} names the tool {call.tool}", rules=(f"pool:{pool}",))
        return Decision(
            allowed=False,
            why=f"agents of the pool {pool} may not use the tool {call.tool}: add it to the pool's tools where that is meant",
        )
