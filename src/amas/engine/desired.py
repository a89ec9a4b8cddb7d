"""What is wanted of the fleet, as the engine keeps it: read as one document, changed a few fields at a time.

`functions/55_desired.lua` makes a change as a whole. Who decides from what it read says which revision that was, and is refused
when the document has changed since (`change(..., expect=)`): read again, decide again.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from amas.clock import SERVER_CLOCK
from amas.core.difference import scales_kept
from amas.engine.connection import Engine
from amas.errors import DesiredChanged
from amas.model.desired import SECTIONS, Desired, DesiredChange, Scale
from amas.model.fleet import FleetSpec

CHANNEL = "desired"
"""Where the revision is published after a change, for a `Bell`."""
FLEET = "fleet"
SESSIONS = b"remote-", b"guest-"
"""How the ids of hosts begin that take no seats: agents that run elsewhere, and those that a program adds to the fleet itself."""


def is_session(host_id: str) -> bool:
    """Return whether a host is one of those: nobody placed it, so nobody starts it again."""
    return host_id.encode().startswith(SESSIONS)


class _Said(msgspec.Struct, frozen=True):
    """Of what a host says of itself, what seating needs."""

    labels: dict[str, str] = {}


_said = msgspec.msgpack.Decoder(_Said)
_fleet = msgspec.msgpack.Decoder(FleetSpec)
_single: dict[str, msgspec.msgpack.Decoder[Any]] = {
    FLEET: _fleet,
    "stage": msgspec.msgpack.Decoder(int),
    "closed": msgspec.msgpack.Decoder(str),
    "host_scale": msgspec.msgpack.Decoder(Scale),
}
_values = {kind: (attribute, msgspec.msgpack.Decoder(of)) for kind, (attribute, of) in SECTIONS.items()}


class Wish(NamedTuple):
    """One field to change: `fleet`, or a section's name and whom it is about (`scale:coder`); None takes it away."""

    field: str
    value: object | None


class DesiredState:
    """The document of one cell."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def revision(self) -> int:
        """Return the number of changes so far; 0 when nothing was ever wanted."""
        (found,) = await self._engine.read([("HGET", self._engine.key(CHANNEL), "rev")])
        return int(found or 0)

    async def read(self) -> Desired:
        """Return the document."""
        (found,) = await self._engine.read([("HGETALL", self._engine.key(CHANNEL))])
        return document_of(found)

    async def read_with_hosts(self) -> tuple[Desired, frozenset[str]]:
        """Return the document, and the hosts that live: those with a lease, or whose lease nobody has found to be over.

        Others hold leases too, but have agents of their own (`SESSIONS`): they aren't among these.
        """
        commands = [("HGETALL", self._engine.key(CHANNEL)), ("ZRANGE", self._engine.key("hosts"), "0", "-1")]
        found, hosts = await self._engine.read(commands)
        return document_of(found), frozenset(host.decode() for host in hosts if not host.startswith(SESSIONS))

    async def host_labels(self, desired: Desired, live: Iterable[str]) -> dict[str, dict[str, str]]:
        """Return the labels of each live host, by its own word and the fleet's; nothing is asked where no pool wants any."""
        if desired.fleet is None or not any(pool.node_selector for pool in desired.pools):
            return {}
        hosts, declared = sorted(live), desired.fleet.host_labels
        found = await self._engine.read([("HGET", self._engine.key("h", host), "about") for host in hosts])
        said = {host: _said.decode(about).labels if about else {} for host, about in zip(hosts, found, strict=True)}
        return {host: {**labels, **declared.get(host, {})} for host, labels in said.items()}

    async def change(
        self, wishes: Iterable[Wish], *, by: str, why: str = "", expect: int | None = None, now_ms: int = SERVER_CLOCK
    ) -> int:
        """Make these changes together and return the revision that stands then; what changes nothing makes no revision.

        `expect`: the revision that the decision was made from; DesiredChanged when another stands. Without a `why` the change is
        made but not logged.
        """
        said: list[str | bytes] = []
        for field, value in wishes:
            said += [field, b"" if value is None else msgspec.msgpack.encode(value)]
        made, revision = await self._engine.call("desire", now_ms, -1 if expect is None else expect, by, why, *said)
        if not made:
            raise DesiredChanged(f"what is wanted of the fleet has changed meanwhile: revision {revision}, not {expect}")
        return int(revision)

    async def apply(
        self,
        fleet: FleetSpec,
        *,
        by: str,
        why: str,
        expect: int | None = None,
        besides: Sequence[Wish] = (),
        now_ms: int = SERVER_CLOCK,
    ) -> int:
        """Declare a fleet in place of the one that is, drop the scales that it doesn't allow, and return the revision.

        `expect`: as with `change`. Without it, what others change meanwhile doesn't matter. `besides`: what else is wanted in the
        same change, such as roll-outs.
        """
        while True:
            found = await self.read()
            dropped = found.scales.keys() - scales_kept(found.scales, fleet).keys()
            left = found.gone.keys() - {pool.name for pool in fleet.pools}
            wishes = [Wish(FLEET, fleet), *(Wish(f"scale:{pool}", None) for pool in sorted(dropped))]
            wishes += [Wish(f"gone:{pool}", None) for pool in sorted(left)]
            wishes += besides
            try:
                return await self.change(
                    wishes, by=by, why=why, expect=found.revision if expect is None else expect, now_ms=now_ms
                )
            except DesiredChanged:
                if expect is not None:
                    raise

    async def history(self, *, limit: int = 100) -> list[DesiredChange]:
        """Return the newest changes that say why, newest first."""
        (found,) = await self._engine.read([("XREVRANGE", self._engine.key(f"{CHANNEL}:log"), "+", "-", "COUNT", str(limit))])
        return [_change(fields) for _, fields in found]

    async def fleets(self) -> dict[int, FleetSpec]:
        """Return the fleets that were applied lately, by the revision that brought each, oldest first."""
        (found,) = await self._engine.read([("XRANGE", self._engine.key(f"{CHANNEL}:fleet"), "-", "+")])
        return {int(fields[b"rev"]): _fleet.decode(fields[b"fleet"]) for _, fields in found}


def _change(held: dict[bytes, bytes]) -> DesiredChange:
    return DesiredChange(
        revision=int(held[b"rev"]),
        at_ms=int(held[b"at"]),
        by=held[b"by"].decode(),
        why=held[b"why"].decode(),
        fields=tuple(held[b"fields"].decode().split("\n")),
    )


def document_of(found: Mapping[bytes, bytes]) -> Desired:
    """Return the document that the engine's fields are."""
    fields: dict[str, Any] = {attribute: {} for attribute, _ in _values.values()}
    for name, value in found.items():
        kind, _, about = name.decode().partition(":")
        if kind == "rev":
            fields["revision"] = int(value)
        elif kind in _single:
            fields[kind] = _single[kind].decode(value)
        elif kind in _values:  # a newer amas may have put others there
            attribute, decoder = _values[kind]
            fields[attribute][about] = decoder.decode(value)
    return Desired(**fields)
