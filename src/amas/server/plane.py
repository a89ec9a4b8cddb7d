"""What the control plane's API works with, made once by whoever starts it (`amas serve`, tests) and handed to `create_app`."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

from fastapi import Depends, Request

from amas.artifacts.values import BYTES_MAX, LargeValues
from amas.controllers.backup import FleetBackups
from amas.controllers.figures import Figures
from amas.controllers.kept import Kept, Place
from amas.engine.bounds import QueueBounds
from amas.engine.breakers import Breakers
from amas.engine.connection import Engine
from amas.engine.desired import DesiredState
from amas.engine.figures import FiguresLook
from amas.engine.hooks import Hooks
from amas.engine.hosts import HostRegistry
from amas.engine.inbox import Inboxes
from amas.engine.journal import Journal
from amas.engine.limits import Limits
from amas.engine.queue import RETENTION_S, TaskQueue
from amas.engine.recoveries import Recoveries
from amas.engine.routes import Routes
from amas.engine.schedules import Schedules
from amas.engine.workflows import Workflows
from amas.errors import IntakeClosed
from amas.messages.bus import AgentCommunicationBus
from amas.messages.fleet_bus import fleet_bus
from amas.model.fleet import FleetSpec
from amas.observe.metrics import Metrics
from amas.orchestration.rollouts import RolloutDesk
from amas.orchestration.routing import RouteTeller
from amas.policy.audit import AuditLog
from amas.records.store import Records
from amas.sealing import Seal
from amas.server.agents import AgentBoard
from amas.server.deliveries import Deliveries
from amas.server.feed import Feed
from amas.server.fleet_map import FleetMap
from amas.server.identity import Identity
from amas.server.live import LiveEvents
from amas.server.looks import TaskLooks
from amas.server.oidc import People
from amas.server.rate import Rate
from amas.server.remote import RemoteDesk
from amas.server.shared import FRESH_S
from amas.server.tokens import TokenOffice
from amas.server.usage import UsageMeter
from amas.settings import MessageSettings, OidcSettings, RemoteSettings, ServerSettings


@dataclass
class ControlPlane:
    """One control plane: where the state is, what the fleet declares, and what this process keeps beside them."""

    engine: Engine
    records: Records
    fleet: FleetSpec
    """As it is to run now; `follow` replaces it."""
    settings: ServerSettings
    home: Path
    """The fleet's data folder, whose `logs/` holds what hosts write."""
    retention_s: float = RETENTION_S
    """As the hosts and controllers have it: AMAS_RETENTION_S."""
    closed: str = ""
    """Why no goals and tasks are taken now, as the desired state says; "": they are."""
    artifacts_url: str = ""
    """Where large values are; empty for a folder in the home."""
    payload_bytes: int = BYTES_MAX
    """The largest input or result: AMAS_PAYLOAD_MB."""
    figures: Figures = field(default_factory=Figures)
    """What the duties of this process count; hand the same to `make_duties`."""
    metrics: Metrics = field(default_factory=Metrics)
    messages: MessageSettings = field(default_factory=MessageSettings)
    """With the secret of the hosts; without one there is no bus."""
    remote_settings: RemoteSettings = field(default_factory=RemoteSettings)
    home_key: str = ""
    """What commands on this machine show: it lies in the home."""
    oidc: OidcSettings = field(default_factory=OidcSettings)
    seal: Seal | None = None
    """What payloads are sealed with; None: they aren't."""
    kept: Kept | None = None
    """What the duties of this process work with already; None: the plane makes its own."""
    reads_fresh_s: float = FRESH_S
    """How long an answer to a read is kept for all who may have it; at 0 it goes to those only who ask while it is made."""
    backups: FleetBackups = field(init=False)
    bus: AgentCommunicationBus | None = field(init=False)
    inboxes: Inboxes = field(init=False)
    deliveries: Deliveries = field(init=False)
    queue: TaskQueue = field(init=False)
    looks: TaskLooks = field(init=False)
    engine_figures: FiguresLook = field(init=False)
    workflows: Workflows = field(init=False)
    limits: Limits = field(init=False)
    bounds: QueueBounds = field(init=False)
    hosts: HostRegistry = field(init=False)
    desired: DesiredState = field(init=False)
    journal: Journal = field(init=False)
    schedules: Schedules = field(init=False)
    hooks: Hooks = field(init=False)
    recoveries: Recoveries = field(init=False)
    breakers: Breakers = field(init=False)
    distributor: RouteTeller = field(init=False)
    rollouts: RolloutDesk = field(init=False)
    board: AgentBoard = field(init=False)
    fleet_map: FleetMap = field(init=False)
    live: LiveEvents = field(init=False)
    """Runs only where somebody runs it: `serve` does."""
    feed: Feed = field(default_factory=Feed)
    """The same."""
    remote: RemoteDesk = field(init=False)
    """Hears bells only where somebody runs it: `serve` does."""
    rate: Rate = field(init=False)
    usage: UsageMeter = field(init=False)
    profiling: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while this process is profiled."""
    log_followers: int = 0
    """Streams of logs that are open."""
    reporting: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while a report is made: one at a time."""
    values: LargeValues = field(init=False)
    tokens: TokenOffice = field(init=False)
    """Signs what hosts ask for only where somebody runs it: `serve` does."""
    people: People = field(init=False)
    identity: Identity = field(init=False)
    audit: AuditLog = field(init=False)

    def __post_init__(self) -> None:
        place = Place(self.home, self.artifacts_url, self.payload_bytes, self.seal)
        self.values, self.backups = self.kept or Kept.at(place, self.engine, self.records, self.figures, fleet=self.fleet)
        self.queue = TaskQueue(self.engine, retention_s=self.retention_s)
        self.looks = TaskLooks(self.queue, self.records)
        self.engine_figures = FiguresLook(self.engine)
        self.workflows = Workflows(self.engine, retention_s=self.retention_s, carry=self.values.carried)
        self.limits = Limits(self.engine, retention_s=self.retention_s)
        self.bounds = QueueBounds(self.engine)
        self.hosts = HostRegistry(self.engine, retention_s=self.retention_s)
        self.journal, self.hooks = Journal(self.engine), Hooks(self.engine)
        values = self.values
        self.schedules = Schedules(
            self.engine, retention_s=self.retention_s, carry=values.carried, told=values.told, heard=values.heard
        )
        self.desired, self.recoveries = DesiredState(self.engine), Recoveries(self.engine)
        self.breakers = Breakers(self.engine)
        self.board = AgentBoard(self.hosts)
        self.fleet_map = FleetMap(self.board)
        self.live = LiveEvents(self.journal, self.queue)
        self.remote = RemoteDesk(
            self.engine, self.queue, self.values, self.fleet, settings=self.remote_settings, retention_s=self.retention_s
        )
        self.rate = Rate()
        self.usage = UsageMeter(self.engine, self.home)
        self.audit = AuditLog(self.home / "audit")
        self.tokens = TokenOffice(
            self.engine, self.home, self.fleet, board=self.board, registry=self.remote.registry, issuer=self.settings.public_url
        )
        self.people = People(self.oidc, self.settings.public_url)
        self.identity = Identity(
            self.engine,
            self.home,
            settings=self.settings,
            home_key=self.home_key,
            remote_token=self.remote_settings.token,
            tokens=self.tokens,
            people=self.people,
        )
        self.remote.opens = self.identity.opens
        self.inboxes = Inboxes(self.engine, self.messages)
        self.deliveries = Deliveries()
        self.follow(self.fleet)

    def follow(self, fleet: FleetSpec) -> None:
        """Let the fleet be this one from now on, also for what was made with the one before."""
        self.fleet = fleet
        self.remote.follow(fleet)
        self.tokens.fleet = fleet
        routes = Routes(self.engine, retention_s=self.retention_s)
        self.distributor = RouteTeller(routes, self.limits, fleet)
        self.rollouts = RolloutDesk(self.desired, routes, fleet)
        self.bus = fleet_bus(self.engine, fleet, self.messages, seal=self.seal) if self.messages.secret else None


async def plane_of(request: Request) -> ControlPlane:
    """Return the control plane of a request's application."""  # a plain function would be called in a thread, each time
    plane = request.app.state.plane
    assert isinstance(plane, ControlPlane)
    return plane


async def _taking(plane: Annotated[ControlPlane, Depends(plane_of)]) -> None:
    if plane.closed:
        raise IntakeClosed(f"no work is taken now: {plane.closed}; what was accepted is kept")


TAKING = Depends(_taking)
"""Among the dependencies of a route for new work: it is refused while none is taken."""
Plane = Annotated[ControlPlane, Depends(plane_of)]
"""How a route gets it."""
