"""What tasks reserve and spend: amounts of money, tokens, calls and agents' time, and the resources that limit them.

People write dollars and seconds; the engine counts micro-dollars and milliseconds, so that sums are exact. A resource is named by
its kind and what it is about: `slots:customer-42`, `rate:openai`, `budget:workflow/<id>`
(see `engine/functions/05_resources.lua`).
"""

import math
from collections.abc import Mapping

import msgspec

MICRO = 1_000_000
"""Micro-dollars in a dollar."""

AMOUNT_MAX = 1e9
"""Dollars, tokens, calls or seconds: far beyond any budget, and exact in the engine's numbers."""


class Amounts(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, forbid_unknown_fields=True):
    """A budget's limits, or an estimate of what one attempt takes. What isn't said is not limited, or learned."""

    usd: float | None = None
    """Dollars."""
    tokens: int | None = None
    calls: int | None = None
    """Requests to a provider."""
    agent_s: float | None = None
    """Seconds of agents' time."""

    def units(self) -> tuple[int | None, int | None, int | None, int | None]:
        """Return them as the engine counts: micro-dollars, tokens, calls, milliseconds."""
        return (
            None if self.usd is None else round(self.usd * MICRO),
            self.tokens,
            self.calls,
            None if self.agent_s is None else round(self.agent_s * 1000),
        )

    def problem(self) -> str:
        """Return what is wrong with them, "" when nothing is."""
        for name, value in msgspec.structs.asdict(self).items():
            if value is not None and not 0 <= value <= AMOUNT_MAX:
                return f"{name} is {value:g}, but must be from 0 to {AMOUNT_MAX:g}"
        return ""


USD_MAX = 1e6
"""Dollars that one attempt may say it used: more is a mistake or a lie, and sums of such would leave a database's integers."""
USED_MAX = 1_000_000_000_000
"""Tokens, or calls, that one attempt may say it used."""


class Usage(msgspec.Struct, frozen=True, array_like=True):
    """What an attempt used, as its agent said, but never more than `USD_MAX` and `USED_MAX`: agents may say anything."""

    usd_micro: int = 0
    tokens: int = 0
    calls: int = 0

    def plus(self, *, usd: float = 0.0, tokens: int = 0, calls: int = 0) -> "Usage":
        """Return the sum, nothing of it below 0 or above its bound; money is in dollars. ValueError for what is no number."""
        if math.isnan(usd):
            raise ValueError("what an attempt used is a number of dollars, not NaN")
        more_micro = round(min(max(usd, -USD_MAX), USD_MAX) * MICRO)
        return Usage(
            _within(self.usd_micro + more_micro, round(USD_MAX * MICRO)),
            _within(self.tokens + int(tokens), USED_MAX),
            _within(self.calls + int(calls), USED_MAX),
        )

    @property
    def usd(self) -> float:
        """Dollars."""
        return self.usd_micro / MICRO


def _within(amount: int, most: int) -> int:
    return min(max(amount, 0), most)


class Reserve(msgspec.Struct, frozen=True, array_like=True, omit_defaults=True):
    """One thing that an attempt holds while it runs, or an amount that it is expected to use."""

    resource: str
    """A resource, or a word of `UNITS` for an estimate, or `max_` and such a word for a budget of the task's own."""
    amount: int = 1
    limit: int = 0
    """For slots: how many may be held at once."""


UNITS = ("usd", "tokens", "calls", "wall_ms")

CONCURRENCY_MAX = 1_000_000
RATE_MAX = 1_000_000_000
"""Requests or tokens a minute."""
KEY_CHARS_MAX = 200
RESERVES_MAX = 16
"""Concurrency keys of one task: a claim looks at each."""


def reserves_of(
    *,
    concurrency: Mapping[str, int] | None = None,
    provider: str = "",
    estimate: Amounts | None = None,
    budget: Amounts | None = None,
) -> list[Reserve]:
    """Return what a task reserves; ValueError says in one sentence what can't be.

    `concurrency`: key -> how many tasks that name it may run at once.
    """
    _check_keys(concurrency or {})
    found = [Reserve(f"slots:{key}", 1, limit) for key, limit in (concurrency or {}).items()]
    if provider:
        _check_name("a provider", provider)
        found.append(Reserve(f"rate:{provider}", 0))
    for prefix, amounts in (("", estimate), ("max_", budget)):
        if amounts is None:
            continue
        if problem := amounts.problem():
            raise ValueError(f"the {'budget' if prefix else 'estimate'}'s {problem}")
        found += [
            Reserve(prefix + unit, amount) for unit, amount in zip(UNITS, amounts.units(), strict=True) if amount is not None
        ]
    return found


def _check_keys(concurrency: Mapping[str, int]) -> None:
    if len(concurrency) > RESERVES_MAX:
        raise ValueError(f"a task has at most {RESERVES_MAX} concurrency keys, not {len(concurrency)}")
    for key, limit in concurrency.items():
        _check_name("a concurrency key", key)
        if not 1 <= limit <= CONCURRENCY_MAX:
            raise ValueError(f"the concurrency limit of {key!r} is {limit}, but must be from 1 to {CONCURRENCY_MAX}")


def _check_name(what: str, name: str) -> None:
    if not name or len(name) > KEY_CHARS_MAX or "\n" in name:
        raise ValueError(f"{what} is one line of 1 to {KEY_CHARS_MAX} characters, not {name[:40]!r}")
