"""What alerts and run-books remember, in the engine: one record for all alerts, one for each run, silences, notices.

A record changes by compare and set, together with the notices and the line of the audit that belong to it
(`functions/90_alerts.lua`): so of two leaders that overlap for a moment only one changes it, and nothing is told twice or
forgotten, whoever dies. Called by the duties of the controllers and by the API.
"""

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, TypeVar

import msgspec

from amas.clock import SERVER_CLOCK
from amas.engine.connection import Argument, Engine
from amas.errors import AlertsChanged, EngineError
from amas.model.alerts import Notice, Silence

T = TypeVar("T")

STATE = "state"
encode = msgspec.msgpack.encode
_notice = msgspec.msgpack.Decoder(Notice)
_silence = msgspec.msgpack.Decoder(Silence)


class Kept(NamedTuple):
    """A record as it was read."""

    revision: int
    """0: there is none."""
    value: bytes


class Queued(NamedTuple):
    """A notice that a receiver hasn't got."""

    entry: bytes
    notice: Notice


class ReceiverState(msgspec.Struct, frozen=True, kw_only=True):
    """How telling one receiver goes."""

    name: str
    kind: str = ""
    """`log`, `webhook` or `alertmanager`."""
    told: int = 0
    """Notices that it has got."""
    failures: int = 0
    """In a row; 0 when the last one went well."""
    error: str = ""
    """Of the last failure, while it lasts."""
    last_ms: int = 0
    """When it last got something."""
    queued: int = 0
    """Notices that wait for it."""
    dropped: int = 0
    """Notices that it will never get, since newer ones pushed them out."""


class AlertStore:
    """The records of one cell."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def now_ms(self) -> int:
        """Return the engine's time."""
        return self._engine.now_ms()

    async def read(self, record: str) -> Kept:
        """Return a record: `state`, or `run:<id>`."""
        return (await self._records([record]))[0]

    async def _records(self, records: Sequence[str]) -> list[Kept]:
        found = await self._engine.read([("HMGET", self._engine.key("alerts", record), "rev", "v") for record in records])
        return [Kept(int(revision or 0), bytes(value or b"")) for revision, value in found]

    async def keep(  # noqa: PLR0913  one for each part of the change
        self,
        record: str,
        value: object,
        *,
        expect: int,
        is_open: bool = False,
        audit: object | None = None,
        notices: Sequence[Notice] = (),
        receivers: Sequence[str] = (),
        now_ms: int = SERVER_CLOCK,
    ) -> int:
        """Change a record that stands at revision `expect`, and tell `receivers` the notices; return the new revision.

        AlertsChanged when another revision stands, and then nothing was done: read again, decide again.
        """
        line = b"" if audit is None else encode(audit)
        said: list[Argument] = [*receivers, *(encode(notice) for notice in notices)] if notices else []
        count = len(receivers) if notices else 0
        made, revision = await self._engine.call(
            "alerts_keep", now_ms, record, expect, encode(value), int(is_open), line, count, *said
        )
        if not made:
            raise AlertsChanged(f"{record} has changed meanwhile: it is at revision {revision}, not {expect}")
        return int(revision)

    async def tell(self, notices: Sequence[Notice], receivers: Sequence[str]) -> None:
        """Put notices that belong to no record into the queues of receivers."""
        said = [encode(notice) for notice in notices]
        await self._engine.call("alerts_keep", SERVER_CLOCK, "", -1, b"", 0, b"", len(receivers), *receivers, *said)

    async def queued(self, receiver: str, *, limit: int) -> list[Queued]:
        """Return the oldest notices that a receiver hasn't got."""
        (found,) = await self._engine.read([("XRANGE", self._engine.key("alerts:out", receiver), "-", "+", "COUNT", str(limit))])
        return [Queued(entry, _notice.decode(fields[b"n"])) for entry, fields in found]

    async def told(self, state: ReceiverState, entries: Iterable[bytes]) -> None:
        """Take notices off a receiver's queue, and keep how it goes."""
        await self._engine.call("alerts_told", SERVER_CLOCK, state.name, encode(state), *entries)

    async def receivers(self, names: Sequence[str]) -> list[ReceiverState]:
        """Return how it goes with these receivers."""
        commands: list[Sequence[Argument]] = []
        for name in names:
            commands.append(("HGET", self._engine.key("alerts:receivers"), name))
            commands.append(("XLEN", self._engine.key("alerts:out", name)))
            commands.append(("HGET", self._engine.key("alerts:dropped"), name))
        answers = await self._engine.read(commands)
        states = []
        for at, name in enumerate(names):
            held, queued, dropped = answers[3 * at : 3 * at + 3]
            state = msgspec.msgpack.decode(held, type=ReceiverState) if held else ReceiverState(name=name)
            states.append(msgspec.structs.replace(state, queued=int(queued), dropped=int(dropped or 0)))
        return states

    async def silence(self, silence: Silence) -> None:
        """Keep a silence."""
        if await self._engine.call("alerts_silence", SERVER_CLOCK, silence.id, encode(silence)) < 0:
            raise EngineError("there are 1000 silences already: drop some before you add another")

    async def unsilence(self, silence_id: str) -> bool:
        """Forget a silence; return False when there is none."""
        return bool(await self._engine.call("alerts_silence", SERVER_CLOCK, silence_id, b""))

    async def silences(self) -> list[Silence]:
        """Return every silence, the one that ends first first."""
        (found,) = await self._engine.read([("HVALS", self._engine.key("alerts:silences"))])
        return sorted((_silence.decode(blob) for blob in found), key=lambda each: (each.until_ms, each.id))

    async def open_runs(self) -> list[tuple[str, Kept]]:
        """Return the runs of run-books that haven't ended, by id."""
        (found,) = await self._engine.read([("SMEMBERS", self._engine.key("alerts:open"))])
        return await self._runs(sorted(run.decode() for run in found))

    async def runs(self, *, limit: int) -> list[tuple[str, Kept]]:
        """Return the newest runs, newest first."""
        (found,) = await self._engine.read([("ZREVRANGE", self._engine.key("alerts:runs"), 0, limit - 1)])
        return await self._runs([run.decode() for run in found])

    async def _runs(self, ids: Sequence[str]) -> list[tuple[str, Kept]]:
        kept = await self._records([f"run:{run}" for run in ids])
        return [(run, each) for run, each in zip(ids, kept, strict=True) if each.revision]

    async def audit(self, kind: type[T], *, limit: int) -> list[T]:
        """Return the newest lines of the audit, newest first."""
        (found,) = await self._engine.read([("XREVRANGE", self._engine.key("alerts:audit"), "+", "-", "COUNT", str(limit))])
        return [_line(fields, kind) for _, fields in found]


def _line(fields: dict[bytes, Any], kind: type[T]) -> T:
    return msgspec.msgpack.decode(fields[b"e"], type=kind)
