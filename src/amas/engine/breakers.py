"""The fleet's circuit breakers: asked before a dependency is used, told after; see `functions/57_breakers.lua`."""

from collections.abc import Mapping
from typing import Literal

from amas.clock import SERVER_CLOCK
from amas.core.breaker import Outcome, state_of
from amas.engine.connection import Engine
from amas.model.breaker import BreakerSpec, BreakerView

_DEFAULT = BreakerSpec()
_FIELDS = ("errors", "errors_max", "open_ms", "until", "probe_until", "opened", "at", "why")


class Breakers:
    """The breakers of one cell."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def enter(self, name: str, *, host_id: str, token: str, lasts_s: float, now_ms: int = SERVER_CLOCK) -> float:
        """Return 0 when a dependency may be used, else the seconds after which to ask again.

        `token`: this use's own. `lasts_s`: how long it may take: a probe that takes longer, or whose host dies, counts no more.
        """
        return int(await self._engine.call("enter_breaker", now_ms, name, host_id, token, round(lasts_s * 1000))) / 1000

    async def report(
        self, name: str, *, token: str, outcome: Outcome, why: str = "", now_ms: int = SERVER_CLOCK
    ) -> Literal["opened", "closed", ""]:
        """Say how a use went; return what that did to the breaker."""
        answer = await self._engine.call("report_breaker", now_ms, name, token, outcome, why)
        changed: Literal["opened", "closed", ""] = answer.decode()
        return changed

    async def reset(self, name: str, *, now_ms: int = SERVER_CLOCK) -> bool:
        """Close a breaker by hand; False when there is none of this name."""
        return bool(await self._engine.call("reset_breaker", now_ms, name))

    async def declare(self, specs: Mapping[str, BreakerSpec], *, now_ms: int = SERVER_CLOCK) -> None:
        """Set the limits that a fleet file names; how the breakers stand is left as it is."""
        for name, spec in specs.items():
            await self._engine.call("declare_breaker", now_ms, name, spec.errors, round(spec.open_s * 1000))

    async def all(self) -> list[BreakerView]:
        """Return every breaker that was declared or used, by name."""
        (names,) = await self._engine.read([("SMEMBERS", self._engine.key("breakers"))])
        known = sorted(name.decode() for name in names)
        found = await self._engine.read([("HMGET", self._engine.key("breaker", name), *_FIELDS) for name in known])
        now_ms = self._engine.now_ms()
        return [_view(name, held, now_ms) for name, held in zip(known, found, strict=True)]


def _view(name: str, held: list[bytes | None], now_ms: int) -> BreakerView:
    errors, errors_max, open_ms, until, probe_until, opened, at, why = held
    return BreakerView(
        name=name,
        state=state_of(int(until or 0), now_ms=now_ms),
        errors=int(errors or 0),
        errors_max=int(errors_max or _DEFAULT.errors),
        open_s=int(open_ms or _DEFAULT.open_s * 1000) / 1000,
        open_until_ms=int(until or 0),
        probing=int(probe_until or 0) > now_ms,
        opened=int(opened or 0),
        opened_at_ms=int(at or 0),
        why=(why or b"").decode(errors="replace"),
    )
