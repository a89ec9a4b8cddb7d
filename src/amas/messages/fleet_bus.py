"""The bus of a fleet as it is declared, with two members more: the operator, in whose name people write, and remote agents.

Whoever opens a bus, a host, the control plane or a program, opens it here, so that all of them know the same members.
"""

from collections.abc import Sequence

import msgspec

from amas.engine.connection import Engine
from amas.messages.bus import AgentCommunicationBus
from amas.model.authority import Right
from amas.model.fleet import FleetSpec, PoolSpec
from amas.model.flow import RESERVED_PREFIX
from amas.model.remote import REMOTE_POOL
from amas.model.states import Layer
from amas.sealing import Seal
from amas.settings import MessageSettings

_OPERATOR = PoolSpec(
    name=f"{RESERVED_PREFIX}operator",  # no fleet file can name a pool so
    agent="",
    capabilities=(),
    layer=Layer.EXECUTIVE,
    rights=frozenset({Right.MESSAGE, Right.APPROVE}),
    replicas=0,  # what is sent to a layer isn't for people
)
OPERATOR = f"{_OPERATOR.name}-1"
"""Who sends what comes over REST: may write to everybody and approve. It leads nobody, so nothing can be escalated to it."""


_REMOTE = PoolSpec(
    name=REMOTE_POOL,
    agent="",
    capabilities=(),
    layer=Layer.EXECUTION,
    rights=frozenset({Right.MESSAGE, Right.ESCALATE}),
    replicas=0,  # who registers is written to by its id
)
"""Agents that run elsewhere: they may write to everybody and put questions to the executive layer, and approve nothing."""


def fleet_bus(
    engine: Engine, fleet: FleetSpec, settings: MessageSettings, *, agents: Sequence[str] = (), seal: Seal | None = None
) -> AgentCommunicationBus:
    """Return the bus of `fleet`; `agents`: who receives in this process. SettingInvalid without a secret.

    `seal`: what payloads are sealed with.
    """
    return AgentCommunicationBus(engine, _with_others(fleet), settings, agents=agents, seal=seal)


class FollowingBus:
    """Opens the bus of a fleet that changes while the process runs, and keeps it to what the fleet is now."""

    def __init__(self, fleet: FleetSpec, settings: MessageSettings, seal: Seal | None = None) -> None:
        self._fleet, self._settings, self._seal = fleet, settings, seal
        self._bus: AgentCommunicationBus | None = None

    def __call__(self, engine: Engine, agents: Sequence[str]) -> AgentCommunicationBus:
        """Return the bus, opened now."""
        self._bus = fleet_bus(engine, self._fleet, self._settings, agents=agents, seal=self._seal)
        return self._bus

    def follow(self, fleet: FleetSpec) -> None:
        """Let the fleet be this one from now on."""
        self._fleet = fleet
        if self._bus is not None:
            self._bus.follow(_with_others(fleet))


def _with_others(fleet: FleetSpec) -> FleetSpec:
    return msgspec.structs.replace(fleet, pools=(*fleet.pools, _OPERATOR, _REMOTE))
