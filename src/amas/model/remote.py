"""Agents that run elsewhere: what they say of themselves, and which of them a fleet lets in.

They come in *sessions*: a batch of agents under one lease, which whoever runs them keeps renewing. An agent's id begins with
`remote.`, which no pool's name can, so nobody is taken for one of the fleet's own.
"""

import re
from typing import Literal

import msgspec

from amas.model.flow import RESERVED_PREFIX
from amas.model.states import AgentStatus, Layer

SESSION_PREFIX = "remote-"
"""A session's id, which the engine knows as a host's, begins so."""
AGENT_PREFIX = "remote."
REMOTE_POOL = f"{RESERVED_PREFIX}remote"
"""The place of agents that run elsewhere; no fleet file can name a pool so."""
AGENT_NAME = r"[a-z0-9][a-z0-9._-]{0,119}"
CAPABILITY = r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+"
OWN_PREFIX = "amas."
"""Capabilities that begin so are the fleet's own: who had them would plan and judge in others' names."""
LABEL = r"[A-Za-z0-9][A-Za-z0-9._/-]{0,119}"
"""A label's name, and its value."""

Admitted = Literal["off", "listed", "declared", "any"]
"""What remote agents may do in a fleet. `off`: nothing. `listed`: the capabilities of the fleet file's `remote:` section.
`declared`: those and what its pools can do. `any`: whatever they say that they can."""

_agent_id = re.compile(re.escape(AGENT_PREFIX) + AGENT_NAME)
_capability = re.compile(CAPABILITY)
_label = re.compile(LABEL)


def agent_id_of(name: str) -> str:
    """Return the id of a remote agent from its name, with `remote.` before it or without; ValueError where it can't be one."""
    agent_id = name if name.startswith(AGENT_PREFIX) else AGENT_PREFIX + name
    if not _agent_id.fullmatch(agent_id):
        raise ValueError(f"{name!r} can't name an agent: write up to 120 lower case letters, digits and ._- such as ocr-1")
    return agent_id


def is_remote(agent_id: str) -> bool:
    """Return whether an agent's id is one of those that run elsewhere."""
    return agent_id.startswith(AGENT_PREFIX)


class RemoteSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Which remote agents a fleet lets in."""

    agents: Admitted = "off"
    capabilities: tuple[str, ...] = ()
    """What remote agents alone can do, and tasks may ask for."""

    def admits(self, capability: str, declared: frozenset[str]) -> bool:
        """Return whether a remote agent may have a capability; `declared`: what pools can do."""
        match self.agents:
            case "off":
                return False
            case "any":
                return True
            case "declared":
                return capability in declared or capability in self.capabilities
        return capability in self.capabilities


class RemoteAgent(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is said of a remote agent when it is registered."""

    id: str
    capabilities: tuple[str, ...]
    version: str = "1"
    labels: dict[str, str] = {}
    layer: Layer = Layer.EXECUTION
    title: str = ""
    slots: int = 1
    """Tasks that it takes at a time."""

    def mistake(self) -> str:
        """Return what is wrong with it, in a sentence; "" when it is sound."""
        if not _agent_id.fullmatch(self.id):
            return f"{self.id!r} is no remote agent's id: it begins with {AGENT_PREFIX}"
        if not 1 <= len(self.capabilities) <= 100:
            return f"{self.id} needs 1 to 100 capabilities, such as vision.ocr"
        odd = next((name for name in self.capabilities if len(name) > 200 or not _capability.fullmatch(name)), None)
        if odd is not None:
            return f"{self.id}: {odd!r} must be lower case words joined by dots, such as vision.ocr"
        odd = next((name for name in self.capabilities if name.startswith(OWN_PREFIX)), None)
        if odd is not None:
            return f"{self.id}: {odd!r} is done by the fleet's hosts and nobody else: give it a name without {OWN_PREFIX}"
        odd = next((text for text in (self.version, *self.labels, *self.labels.values()) if not _label.fullmatch(text)), None)
        if odd is not None or len(self.labels) > 32:
            what = f"{len(self.labels)} labels" if odd is None else repr(odd)
            return f"{self.id}: {what} can't be taken: up to 32 labels are, of up to 120 letters, digits and ._/- each"
        return "" if 1 <= self.slots <= 1000 else f"{self.id} has {self.slots} slots: 1 to 1000 are taken"

    @property
    def facets(self) -> tuple[str, ...]:
        """What it is found by."""
        return (
            *(f"capability:{name}" for name in dict.fromkeys(self.capabilities)),
            f"layer:{self.layer.value}",
            *(f"label:{name}={value}" for name, value in self.labels.items()),
        )


class RegisteredAgent(msgspec.Struct, frozen=True, kw_only=True):
    """An agent as discovery shows it, one of a fleet's own or a remote one."""

    id: str
    host_id: str
    """A host, or a remote agent's session; its lease is the agent's."""
    capabilities: tuple[str, ...]
    version: str
    layer: str
    title: str
    slots: int
    labels: dict[str, str]
    """A fleet's own have `pool` and `host`."""
    status: AgentStatus
    tasks: tuple[str, ...] = ()
    """What it runs."""
    remote: bool = False
