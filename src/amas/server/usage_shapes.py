"""What the fleet takes and saves, as it goes over the wire; see `shapes.py`."""

import msgspec

from amas.core.savings import Savings


class NetworkFigures(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes since the start of what counts them."""

    received: int
    sent: int


class FleetUsage(msgspec.Struct, frozen=True, kw_only=True):
    """What the fleet's processes and the control plane's machine take; a part that can't be told is missing."""

    at_ms: int
    cpu_s: dict[str, float]
    """Seconds since each began, by part: `engine`, `control_plane`, `hosts`."""
    memory: dict[str, int]
    """Resident bytes, by part."""
    network: NetworkFigures
    """All that hosts, clients and control planes said to the engine and heard of it."""
    storage: dict[str, int]
    """Bytes on disk, by part: `engine`, `records`, `logs`."""
    disk: dict[str, int]
    """Bytes `used` and `free` where the fleet's home is."""
    machine_network: NetworkFigures | None
    """Of the control plane's machine, but for the loopback; null where that can't be told."""
    savings: Savings
