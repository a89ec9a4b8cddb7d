"""A foreign agent's card: what it says of itself, and which of its addresses is spoken to.

Whoever runs the foreign server writes the card, so it is read as anybody's word: it may not send us to a host that the fleet file
doesn't name, nor out of TLS; its skills give nobody a capability; and its names are shown without control characters.
Shapes: the A2A protocol 1.0, 4.4 and 8, https://a2a-protocol.org/v1.0.0/specification/; unknown fields are passed over. Pure.
"""

from collections.abc import Sequence
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec

from amas.agents.foreign import is_address
from amas.agents.skills.safe_text import plain
from amas.errors import GiveUp

WELL_KNOWN = "/.well-known/agent-card.json"
CARD_BYTES_MAX = 256 << 10
"""Some hundreds of skills, described at length."""
BINDING = "JSONRPC"
MAJOR = "1"
"""Of the protocol; what 1.0 says holds in all of 1."""
NAME_CHARS = 80
SHOWN = 10
"""Of a list in a sentence."""


class Interface(msgspec.Struct, frozen=True, rename="camel"):
    """One address of an agent."""

    url: str
    protocol_binding: str
    protocol_version: str
    tenant: str = ""


class Skill(msgspec.Struct, frozen=True, rename="camel"):
    """Something that the agent says it can do."""

    id: str
    name: str = ""


class Extension(msgspec.Struct, frozen=True, rename="camel"):
    """An addition to the protocol."""

    uri: str = ""
    required: bool = False


class Capabilities(msgspec.Struct, frozen=True, rename="camel"):
    """What of the protocol's options it has."""

    streaming: bool = False
    extensions: tuple[Extension, ...] = ()


class Card(msgspec.Struct, frozen=True, rename="camel"):
    """What of a card matters here."""

    name: str
    supported_interfaces: tuple[Interface, ...] = ()
    """The one that the agent likes best first."""
    capabilities: Capabilities = Capabilities()
    skills: tuple[Skill, ...] = ()


class Way(NamedTuple):
    """How an agent is spoken to."""

    url: str
    tenant: str
    """To be said with each request; empty: nothing."""
    streams: bool
    """Whether it tells of its tasks as they go on."""


class Place(NamedTuple):
    """Where an address leads."""

    scheme: str
    host: str
    port: int


def read_card(body: bytes) -> Card:
    """Return what a card says; GiveUp (`card_refused`) for what is none of protocol 1."""
    try:
        return msgspec.json.decode(body, type=Card)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise refused(f"its card isn't one of A2A 1.0: {plain(error, chars_max=200)}") from error
    except RecursionError:
        raise refused("its card is nested too deeply") from None


def chosen(card: Card, *, at: str, hosts: Sequence[str], skills: Sequence[str]) -> Way:
    """Return how to speak to the agent; GiveUp (`card_refused`) where there is none.

    `at`: where the card is from; `hosts`: further ones that the fleet file names, as `host` or `host:port`; `skills`: wanted ids.
    """
    name = plain(card.name, chars_max=NAME_CHARS)
    if missing := [skill for skill in skills if skill not in {each.id for each in card.skills}]:
        has = ", ".join(plain(each.id, chars_max=NAME_CHARS) for each in card.skills[:SHOWN]) or "none"
        raise refused(f"{name} doesn't have the skill {missing[0]!r} any more, if it ever had: it has {has}")
    if wanted := [each.uri for each in card.capabilities.extensions if each.required]:
        raise refused(f"{name} wants an extension that isn't spoken here: {plain(wanted[0], chars_max=200)}")
    spoken = [each for each in card.supported_interfaces if _is_spoken(each)]
    if not spoken:
        offered = {f"{each.protocol_binding} {each.protocol_version}" for each in card.supported_interfaces[:SHOWN]}
        has = plain(", ".join(sorted(offered)) or "nothing")
        raise refused(f"{name} doesn't speak A2A 1.0 over {BINDING}: it offers {has}")
    home = place_of(at)
    named = {home, *(place_of(f"{home.scheme}://{host}") for host in hosts)}
    for interface in spoken:
        if is_address(interface.url) and place_of(interface.url) in named:
            return Way(interface.url, interface.tenant, card.capabilities.streaming)
    where = plain(spoken[0].url, chars_max=200)
    raise refused(f"{name} sends us to {where}, which isn't declared: add its host to `hosts` under a2a where that is meant")


def place_of(url: str) -> Place:
    """Return where an address leads; ValueError where it is none."""
    parts = urlsplit(url)
    return Place(parts.scheme, parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80))


def refused(why: str) -> GiveUp:
    """Return the refusal of a card."""
    return GiveUp(why, code="card_refused")


def _is_spoken(interface: Interface) -> bool:
    return interface.protocol_binding == BINDING and interface.protocol_version.partition(".")[0] == MAJOR
