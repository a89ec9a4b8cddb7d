"""What counts as done where the engine has replicas: the commands that go with a call's own, and what their answers mean.

AMAS_ACK_REPLICAS asks for `WAIT`: so many replicas have the writes. AMAS_ACK_FSYNC asks for `WAITAOF`: they, and the primary,
have them on disk. Both wait for the last write of their connection, so one more write goes before them: what a call found done
may have been another connection's doing, and must be as safe as if it were ours.
Source: https://valkey.io/commands/wait/ and https://valkey.io/commands/waitaof/

Used by `connection.py` alone. It talks to nobody.
"""

from collections.abc import Sequence
from typing import Any

from amas.errors import EngineError, EngineUnconfirmed, EngineUnsupported
from amas.settings import EngineSettings

WAITAOF_SINCE = (7, 2)

_AGAIN = (
    "append depose digest due expire figures forget lead limit mark promote reap refill register release resign scaling_keep "
    "tend trim weigh"
)
UNCONFIRMED = frozenset(_AGAIN.split())
"""Functions that never wait for replicas: they answer a question, or are said again and again, so that a promoted replica that
never heard of one hears it soon; and a control plane must start, and sweep, while replicas are away. A lease's renewal isn't
among them: a primary that was frozen while another was promoted answers for some seconds more, and only the missing replicas tell
the host that it beats into the void."""

Command = tuple[str | int, ...]


class Confirmation:
    """One client's way to have its calls confirmed."""

    def __init__(self, settings: EngineSettings, *, address: str, mark: str) -> None:
        """`mark`: the key of the write that is added."""
        self._settings, self._address, self._mark = settings, address, mark
        self.wanted = bool(settings.ack_replicas or settings.ack_fsync)
        self.commands: tuple[Command, ...] = ()
        """What goes with each batch of calls; empty until `choose`, and where nothing is wanted."""

    @property
    def needs_aof(self) -> bool:
        """Whether the server must keep an append-only file."""
        return bool(self.commands) and self.commands[-1][0] == "WAITAOF"

    @property
    def words(self) -> str:
        """What counts as done."""
        if not self.commands:
            return "by the primary alone"
        where = "on the disk of the primary and" if self.needs_aof else "by the primary and in the memory of"
        return f"{where} {self._settings.ack_replicas} replica(s), within {self._settings.ack_timeout_s:g} s"

    def choose(self, version: tuple[int, ...]) -> None:
        """Choose the commands for a server of this version; EngineUnsupported when it can confirm nothing of what is wanted."""
        replicas, timeout_ms = self._settings.ack_replicas, max(1, round(self._settings.ack_timeout_s * 1000))
        commands: list[Command] = [("SET", self._mark, 1)]
        if replicas:
            # Before WAITAOF, too: a replica answers before it syncs, and then not for a second. So it is asked twice.
            commands.append(("WAIT", replicas, timeout_ms))
        if self._settings.ack_fsync and version >= WAITAOF_SINCE:
            commands.append(("WAITAOF", 1, replicas, timeout_ms))
        if len(commands) == 1:
            raise EngineUnsupported(
                f"the engine at {self._address} can't confirm what is on its disk, as AMAS_ACK_FSYNC asks: take Valkey, or "
                "Redis >= 7.2, or set `appendfsync always` there and AMAS_ACK_FSYNC to false"
            )
        self.commands = tuple(commands)

    def check(self, commands: Sequence[Command], answers: Sequence[Any]) -> None:
        """Raise EngineUnconfirmed when the answers to the commands that went out say less than is wanted, or are errors."""
        if not commands:
            return
        settings = self._settings
        if error := next((answer for answer in answers if isinstance(answer, Exception)), None):
            if "appendonly is disabled" in str(error):
                raise self.without_aof() from error
            self.commands = ()  # a server of another version may have taken over
            raise EngineUnconfirmed(f"the engine at {self._address} confirms nothing now: {error}; {_MAY_BE}") from error
        local, replicas = answers[-1] if commands[-1][0] == "WAITAOF" else (1, answers[-1])
        if local < 1 or replicas < settings.ack_replicas:
            raise EngineUnconfirmed(
                f"{replicas} of {settings.ack_replicas} replicas of the engine at {self._address} confirmed a call within "
                f"{settings.ack_timeout_s:g} s; {_MAY_BE}"
            )

    def without_aof(self) -> EngineError:
        """Return the error for a server that can't confirm its disk because it keeps nothing there."""
        return EngineUnsupported(
            f"the engine at {self._address} keeps no append-only file, which AMAS_ACK_FSYNC asks for: set `appendonly yes` there"
        )


_MAY_BE = "it may or may not be stored for good, and saying it again under the same ids is safe"
