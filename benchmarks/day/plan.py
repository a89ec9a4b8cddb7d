"""What happens in the day, worked out beforehand from a seed: what arrives when, and what is done to the fleet."""

import math
import random
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

NIGHT = 0.12
"""Of the highest rate: what comes in at night."""
PEAKS = ((10.5, 2.2, 1.0), (16.0, 1.8, 0.8))
"""When most comes in: hour, width in hours, share of the highest rate."""
WAVE_S = 0.5
"""Seconds of arrivals that are submitted together."""
GIVES_UP_EVERY = 250
"""Of so many tasks one can't be done: a day without any would be odd."""
SHARES = {
    "quantum_physics.cosmology": 1, "development.code_review": 8, "testing.run": 4, "research.extract": 4, "research.write": 2,
    "documentation.api_docs": 5, "monitoring.infrastructure": 3, "support.tickets": 3, "business.sales": 2,
}  # fmt: skip
"""How the arrivals are spread over the fleet."""
ROLLED, ROLLED_CAPABILITY = "code-review", "development.code_review"
"""The pool that gets the bad version."""
OVERTIME = {"hold_s": 0.05, "usd": 0.001, "tokens": 100, "gives_up": False}
"""A task of the evening."""
HOSTS = ("host-1", "host-2", "host-3")
KILLS_A_MINUTE = {"host": 2.0, "control-plane": 0.6, "engine": 0.5}
DRAINED = "host-2"
PIECES = ((0.2, "roll-out"), (0.45, "back-up"), (0.55, "drain"), (0.7, "uncordon"))
"""When, as a share of the day, what an operator does is done."""
UNHURT = (0.06, 0.92)
"""Between these shares of the day things are killed: the fleet is to be whole at its end, since that is looked at."""


class Arrival(NamedTuple):
    """One task."""

    capability: str
    asked: dict[str, int | float | bool]


class Wave(NamedTuple):
    """What arrives together."""

    at_s: float
    arrivals: list[Arrival]


class Event(msgspec.Struct, frozen=True):
    """Something that is done to the fleet: `kill` with a part, or a piece of an operator's work."""

    at_s: float
    what: str
    part: str = ""

    @property
    def words(self) -> str:
        """As people read it."""
        return f"{self.what} {self.part}".strip()


def rate(hour: float) -> float:
    """Return what comes in at an hour of the day, 0 to 24, as a share of the most."""
    peaks = (share * math.exp(-(((hour - at) / width) ** 2)) for at, width, share in PEAKS)
    return NIGHT + (1 - NIGHT) * max(peaks)


def waves(seed: int, *, seconds: float, per_s: float) -> Iterator[Wave]:
    """Yield the arrivals of a day that lasts `seconds`, of which the busiest has `per_s`."""
    chance = random.Random(f"{seed} arrivals")
    names, weights = list(SHARES), list(SHARES.values())
    number = 0
    for index in range(int(seconds / WAVE_S)):
        at_s = index * WAVE_S
        expected = rate(24 * at_s / seconds) * per_s * WAVE_S
        count = int(expected) + (chance.random() < expected % 1)
        arrivals = []
        for capability in chance.choices(names, weights, k=count):
            number += 1
            arrivals.append(Arrival(capability, _asked(chance, number)))
        yield Wave(at_s, arrivals)


def events(seed: int, *, seconds: float) -> list[Event]:
    """Return what is done to the fleet, in order: each kind of kill once at least."""
    chance = random.Random(f"{seed} events")
    found = [Event(share * seconds, what, DRAINED if what in {"drain", "uncordon"} else "") for share, what in PIECES]
    for kind, a_minute in KILLS_A_MINUTE.items():
        for _ in range(max(1, round(a_minute * seconds / 60))):
            part = chance.choice(HOSTS) if kind == "host" else kind
            found.append(Event(chance.uniform(*UNHURT) * seconds, "kill", part))
    return sorted(found, key=lambda each: each.at_s)


def _asked(chance: random.Random, number: int) -> dict[str, int | float | bool]:
    long = chance.random() < 0.05
    return {
        "number": number,
        "hold_s": round(chance.uniform(1.0, 4.0) if long else chance.uniform(0.005, 0.25), 3),
        "usd": round(chance.uniform(0.0005, 0.01), 6),
        "tokens": chance.randrange(100, 3000),
        "gives_up": number % GIVES_UP_EVERY == 0,
    }
