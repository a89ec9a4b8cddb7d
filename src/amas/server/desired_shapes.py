"""What goes over the wire of the desired state: bodies that change it, and how it stands."""

from typing import Annotated

import msgspec
from msgspec import Meta

from amas.core.difference import Difference
from amas.model.desired import DesiredChange, Order, Scale
from amas.model.fleet import FleetSpec
from amas.model.scaling import PoolScaling
from amas.server.shapes import Given, Line, Name

Reason = Annotated[str, Meta(max_length=500)]


class Word(Given, frozen=True):
    """Somebody's word, where the address says it all but who gives it."""

    by: Line = "api"
    """A person, or an agent's pool."""


class Wished(Word, frozen=True):
    """Who wants it and why, for the history."""

    why: Reason = ""


class NewFleet(Wished, frozen=True):
    """A fleet to declare in place of the one that is: itself, or the revision that brought it once."""

    fleet: FleetSpec | None = None
    revision: int | None = None
    expect: int | None = None
    """The revision whose difference was looked at: refused when another fleet was applied since."""
    again: bool = False
    """Whether versions that were taken back are rolled out once more."""


class NewScale(Wished, frozen=True):
    """How many agents a pool is to have."""

    replicas: Annotated[int, Meta(ge=0)] | None = None
    """None: as many as the fleet file says, again."""


class NewAgent(Wished, frozen=True, kw_only=True):
    """One agent more."""

    pool: Name


class FleetApplied(msgspec.Struct, frozen=True, kw_only=True):
    """What applying a fleet changes, or would change."""

    revision: int
    """That stands then; with `dry_run` the one that the difference was made from."""
    applied: bool
    difference: Difference
    told: list[str]
    """The same in words, a line each."""
    rollouts: list[str] = []
    """Pools whose new version is rolled out: the difference doesn't show it, since it has to prove itself."""


class PoolNow(msgspec.Struct, frozen=True, kw_only=True):
    """One pool as it is wanted."""

    name: str
    declared: int
    """Agents that the fleet file says."""
    wanted: int
    seated: int
    """Agents that have a host."""
    scale: Scale | None
    why: str = ""
    """Why some of its agents have no host; empty where all have."""


class DesiredShape(msgspec.Struct, frozen=True, kw_only=True):
    """What is wanted of the fleet, and whether it runs so."""

    revision: int
    fleet: str
    """Its name; empty before one is declared."""
    hosts: int
    """Hosts that the local platform is to run."""
    pools: list[PoolNow]
    dealt: bool
    """Whether every agent sits where it should."""
    behind: list[str]
    """Hosts that have not carried out this revision yet."""


class HostNow(msgspec.Struct, frozen=True, kw_only=True):
    """One host: whether it lives, what is wanted of it, and what it has."""

    id: str
    live: bool
    seats: int
    """Agents that it is to run."""
    order: Order
    revision: int
    """Of the desired state, that it has carried out; 0 for one that doesn't follow it."""
    running: int
    """Tasks."""
    labels: dict[str, str] = {}
    """What pools may ask for with `node_selector`."""


class HostPage(msgspec.Struct, frozen=True, kw_only=True):
    """Every host that lives or of which something is wanted."""

    items: list[HostNow]
    scaling: PoolScaling | None = None
    """How many hosts there are to be and why, where their number follows load."""


class HistoryPage(msgspec.Struct, frozen=True, kw_only=True):
    """Changes that say why, the newest first."""

    items: list[DesiredChange]
    fleets: list[int]
    """Revisions that brought fleets which can be applied again."""


class Scaled(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a change of one pool or agent."""

    pool: str
    replicas: int
    revision: int


class AgentRestarted(msgspec.Struct, frozen=True, kw_only=True):
    """An agent that is to be made anew."""

    agent_id: str
    revision: int


class Ordered(msgspec.Struct, frozen=True, kw_only=True):
    """What is wanted of a host from now on."""

    host: str
    order: Order
    revision: int
    seats: int
    """Agents that it had when it was asked."""
    open_hosts: int
    """Live hosts that may get agents."""
