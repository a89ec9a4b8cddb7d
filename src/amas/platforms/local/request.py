"""What is said between the command that starts a fleet and its supervisor: the request, and the events of the start."""

import sys
from collections.abc import Callable

import msgspec

from amas.model.fleet import FleetSpec
from amas.platforms.local.home import Home

Ports = tuple[int | None, int | None]
"""The API's and the metrics'; 0 is a free one, None what the settings say."""


class StartRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What `amas up` asks the supervisor for; JSON on its standard input."""

    home: str
    fleet_file: str
    """An absolute path to a fleet file that was checked already."""
    fleet: FleetSpec | None = None
    """What the file declares; it is wanted from this start on. None: what was wanted before still is."""
    keeps: bool = False
    """Whether a fleet that was applied before goes on as it is wanted; `fleet` is then for an engine that knows of none."""
    phase: str = ""
    """The stage, or a pool of it, up to which agents start, in the words of whoever asked; empty for all."""
    hosts: int = 1
    engine_url: str = ""
    """Empty: an embedded one."""
    engine_binary: str = ""
    engine_start_s: float = 120.0
    cell: str = "local"
    artifacts_url: str = ""
    """Empty: a folder in the home."""
    local_model: bool = False
    """Whether the fleet has a small language model of its own."""
    host: str = "127.0.0.1"
    port: int = 8000
    metrics_port: int = 9090
    drain_s: float = 20.0
    catch_up_s: float = 10.0
    start_s: float = 60.0
    """How long the control plane, or a host, may take to become ready."""
    bound: bool = False
    """The fleet stops when the process that started it ends, as `amas run` wants it."""
    program: tuple[str, ...] = (sys.executable, "-m", "amas.cli.part")
    """What runs a part, told by its arguments: `serve HOME`, `host HOME NAME` or `model PORT`."""


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """One line of the start's report; the last is `up` or `failed`."""

    what: str
    """`starting` and `ready` (of a part), `up`, `failed`."""
    part: str = ""
    seconds: float = 0.0
    code: str = ""
    """An error's code, when it failed."""
    message: str = ""


Report = Callable[[Event], None]


def request_for(
    fleet: str, home: Home, *, ports: Ports, phase: str = "", bound: bool = False, keeps: bool = False
) -> StartRequest:
    """Return what the supervisor is asked for, after checking the fleet file and every setting.

    `keeps`: what was applied last goes on; how many hosts and which stages that has is known once its engine runs, so it begins
    with one host, and `phase` is looked at then, before anything else starts.
    """
    from amas.artifacts.store import ArtifactStore
    from amas.fleet.load import find_fleet, load_fleet
    from amas.platforms.local.model import check_installed
    from amas.settings import (
        ArtifactSettings,
        EngineSettings,
        HostSettings,
        ModelSettings,
        RecordsSettings,
        ServerSettings,
        read_all,
    )

    read_all()  # what a part of the fleet would end on is told before any starts
    path = find_fleet(fleet)
    spec = load_fleet(path, agents=True)
    engine, server, hosts = EngineSettings.read(), ServerSettings.read(), HostSettings.read()
    port, metrics_port = ports
    if local_model := ModelSettings.read().local:
        check_installed()
    return StartRequest(
        home=str(home.folder),
        fleet_file=str(path),
        fleet=spec,
        keeps=keeps,
        phase=phase,
        hosts=1 if keeps else spec.hosts,
        engine_url=engine.url,
        engine_binary=str(engine.binary or ""),
        engine_start_s=engine.start_s,
        cell=engine.cell,
        artifacts_url=ArtifactStore(ArtifactSettings.read().url_for(home.folder)).url,
        local_model=local_model,
        host=server.host,
        port=server.port if port is None else port,
        metrics_port=server.metrics_port if metrics_port is None else metrics_port,
        drain_s=hosts.drain_s,
        catch_up_s=RecordsSettings.read().catch_up_s,
        bound=bound,
    )
