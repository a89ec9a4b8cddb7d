"""Resources that claims respect: what they allow, hold and were spent, and how that is changed at run time.

A resource's name says its kind: `slots:<key>`, `rate:<provider>`, `budget:<scope>` with the scopes `workflow/<id>`, `task/<id>`,
`tenant/<name>` and `pool/<name>`. See `functions/05_resources.lua` and `05_taking.lua` for what the engine keeps true.
"""

from collections.abc import Mapping

import msgspec

from amas.clock import SERVER_CLOCK, now_ms
from amas.engine.breakers import Breakers
from amas.engine.connection import Engine
from amas.engine.queue import RETENTION_S, parked_on
from amas.errors import AttemptStale, BudgetExhausted, LimitUnknown
from amas.model.fleet import FleetSpec
from amas.model.limits import MICRO, UNITS, Amounts, Usage, reserves_of

encode = msgspec.msgpack.encode
decode = msgspec.msgpack.decode

WINDOW_S = 60
"""Seconds over which a rate is counted."""


class SlotsView(msgspec.Struct, frozen=True, kw_only=True):
    """A concurrency key."""

    key: str
    limit: int
    held: int
    parked: int


class RateView(msgspec.Struct, frozen=True, kw_only=True):
    """A provider's account."""

    provider: str
    requests_per_min: int | None
    """None: not limited."""
    tokens_per_min: int | None
    requests: int
    """In the last minute, those reserved included."""
    tokens: int
    parked: int
    closed_until_ms: int
    """When the provider takes requests again, as it said; 0 when it is open."""
    next_refill_ms: int
    """When parked tasks are looked at again; 0 when none is parked."""


class BudgetView(msgspec.Struct, frozen=True, kw_only=True):
    """A budget."""

    scope: str
    """`workflow/<id>`, `task/<id>`, `tenant/<name>` or `pool/<name>`."""
    limit: Amounts
    spent: Amounts
    reserved: Amounts
    """By attempts that run."""
    running: int
    parked: int

    @property
    def left(self) -> Amounts:
        """What is neither spent nor reserved, of each amount that is limited."""
        used = {
            name: (getattr(self.spent, name) or 0) + (getattr(self.reserved, name) or 0) for name in Amounts.__struct_fields__
        }
        limits = msgspec.structs.asdict(self.limit)
        return Amounts(**{name: max(0, limit - used[name]) for name, limit in limits.items() if limit is not None})


class LimitsView(msgspec.Struct, frozen=True, kw_only=True):
    """Every resource that the engine knows."""

    slots: list[SlotsView]
    rates: list[RateView]
    budgets: list[BudgetView]


class Limits:
    """The resources of one cell."""

    def __init__(self, engine: Engine, *, retention_s: float = RETENTION_S) -> None:
        self._engine = engine
        self._retention_ms = round(retention_s * 1000)

    async def set_slots(self, key: str, limit: int, *, now_ms: int = SERVER_CLOCK) -> None:
        """Let at most `limit` tasks that name `key` run at once; those that were submitted with another limit too."""
        await self._set(f"slots:{key}", {"limit": limit}, now_ms)

    async def set_rate(
        self,
        provider: str,
        *,
        requests_per_min: int | None = None,
        tokens_per_min: int | None = None,
        now_ms: int = SERVER_CLOCK,
    ) -> None:
        """Let tasks that name `provider` make so many requests and take so many tokens in any minute; None: not limited."""
        limits = {"requests_per_min": requests_per_min, "tokens_per_min": tokens_per_min}
        await self._set(f"rate:{provider}", {name: value for name, value in limits.items() if value is not None}, now_ms)

    async def set_budget(self, scope: str, budget: Amounts, *, now_ms: int = SERVER_CLOCK) -> None:
        """Let a scope spend no more than `budget` in all, what it has spent included."""
        limits = zip(UNITS, budget.units(), strict=True)
        await self._set(f"budget:{scope}", {f"limit:{unit}": value for unit, value in limits if value is not None}, now_ms)

    async def set_pool(
        self, pool: str, *, provider: str = "", estimate: Amounts | None = None, now_ms: int = SERVER_CLOCK
    ) -> None:
        """Say what tasks need that run in a pool and don't say it themselves; without arguments, nothing."""
        needs = reserves_of(provider=provider, estimate=estimate)
        await self._engine.call("limit", now_ms, self._retention_ms, f"pool/{pool}", encode(needs) if needs else b"")

    async def remove(self, name: str, *, now_ms: int = SERVER_CLOCK) -> None:
        """Take a resource's limits off; what is held and was spent stays counted."""
        await self._engine.call("limit", now_ms, self._retention_ms, name, b"")

    async def _set(self, name: str, limits: Mapping[str, int], now_ms: int) -> None:
        await self._engine.call("limit", now_ms, self._retention_ms, name, encode(limits))

    async def declare(self, fleet: FleetSpec) -> None:
        """Set what a fleet file says: providers, budgets, breakers, what its pools need. What it doesn't name stays."""
        await Breakers(self._engine).declare(fleet.breakers)
        for provider in fleet.providers:
            await self.set_rate(provider.name, requests_per_min=provider.requests_per_min, tokens_per_min=provider.tokens_per_min)
        for name, tenant in fleet.tenants.items():
            if tenant.budget is not None:
                await self.set_budget(f"tenant/{name}", tenant.budget)
        for pool in fleet.pools:
            await self.set_pool(pool.name, provider=pool.provider, estimate=pool.estimate)
            if pool.budget is not None:
                await self.set_budget(f"pool/{pool.name}", pool.budget)

    async def spend(self, task_id: str, attempt: int, used: Usage, *, now_ms: int = SERVER_CLOCK) -> None:
        """Make sure that an attempt may have used so much in all: extend its reservation, or raise `BudgetExhausted`."""
        amounts = (used.usd_micro, used.tokens, used.calls)
        answer = await self._engine.call("spend", now_ms, task_id, attempt, *amounts)
        if not answer:
            return
        if answer[0] != b"exhausted":
            raise AttemptStale(f"attempt {attempt} of task {task_id} was taken back; it may spend nothing more")
        scope = answer[1].decode().removeprefix("budget:")
        raise BudgetExhausted(
            f"the budget of {scope} has no room for {used.usd:g} dollars, {used.tokens} tokens, {used.calls} calls"
        )

    async def refill(self, *, limit: int = 100, now_ms: int = SERVER_CLOCK) -> tuple[int, int]:
        """Look at the resources whose time has come; return how many, and when the next is due in ms (0: none)."""
        count, due_ms = await self._engine.call("refill", now_ms, self._retention_ms, limit)
        return int(count), int(float(due_ms))

    async def parked_on(self, task_id: str) -> tuple[str, ...]:
        """Return the resources that a queued task waits for; empty for one that isn't parked."""
        ((state, place),) = await self._engine.read([("HMGET", self._engine.key("t", task_id), "s", "V")])
        return parked_on(state, place)

    async def all(self) -> LimitsView:
        """Return every resource, by kind and name."""
        (names,) = await self._engine.read([("SMEMBERS", self._engine.key("resources"))])
        ordered = sorted(name.decode() for name in names)
        commands = [("HGETALL", self._engine.key("res", name)) for name in ordered]
        held = await self._engine.read(commands)
        due = await self._engine.read([("ZSCORE", self._engine.key("due"), name) for name in ordered])
        view = LimitsView(slots=[], rates=[], budgets=[])
        for name, fields, at in zip(ordered, held, due, strict=True):
            kind, _, about = name.partition(":")
            match kind:
                case "slots":
                    view.slots.append(_slots(about, fields))
                case "rate":
                    view.rates.append(_rate(about, fields, int(at or 0)))
                case _:
                    view.budgets.append(_budget(about, fields))
        return view

    async def budget(self, scope: str) -> BudgetView:
        """Return one budget; LimitUnknown when there is none."""
        (fields,) = await self._engine.read([("HGETALL", self._engine.key("res", f"budget:{scope}"))])
        if not fields:
            raise LimitUnknown(f"there is no budget of {scope}")
        return _budget(scope, fields)


Fields = Mapping[bytes, bytes]


def _number(fields: Fields, name: str) -> int:
    return int(fields.get(name.encode(), 0))


def _said(fields: Fields, name: str) -> int | None:
    return int(fields[name.encode()]) if name.encode() in fields else None


def _slots(key: str, fields: Fields) -> SlotsView:
    return SlotsView(key=key, limit=_number(fields, "limit"), held=_number(fields, "held"), parked=_number(fields, "parked"))


def _rate(provider: str, fields: Fields, due_ms: int) -> RateView:
    now = now_ms()
    slots: list[list[int]] = decode(fields.get(b"win", b"\x90"))
    recent = [slot for slot in slots if slot[0] >= now // 1000 - WINDOW_S]
    parked, closed_ms = _number(fields, "parked"), _number(fields, "closed")
    return RateView(
        provider=provider,
        requests_per_min=_said(fields, "requests_per_min"),
        tokens_per_min=_said(fields, "tokens_per_min"),
        requests=sum(slot[1] for slot in recent),
        tokens=sum(slot[2] for slot in recent),
        parked=parked,
        closed_until_ms=closed_ms if closed_ms > now else 0,
        next_refill_ms=due_ms if parked else 0,
    )


def _budget(scope: str, fields: Fields) -> BudgetView:
    def amounts(prefix: str) -> Amounts:
        usd, tokens, calls, wall_ms = (_said(fields, f"{prefix}:{unit}") for unit in UNITS)
        return Amounts(
            usd=None if usd is None else usd / MICRO,
            tokens=tokens,
            calls=calls,
            agent_s=None if wall_ms is None else wall_ms / 1000,
        )

    return BudgetView(
        scope=scope,
        limit=amounts("limit"),
        spent=amounts("spent"),
        reserved=amounts("held"),
        running=_number(fields, "holders"),
        parked=_number(fields, "parked"),
    )
