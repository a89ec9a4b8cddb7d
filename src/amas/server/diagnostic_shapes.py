"""What diagnostics answer with: what each part is doing, how late it is, what is slow and what is stuck."""

from typing import Any

import msgspec


class LogLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line of a log; what it was logged with besides stands beside these."""

    at: str
    level: str
    message: str
    agent_id: str


class DutyShape(msgspec.Struct, frozen=True, kw_only=True):
    """One of the control plane's duties; they run where this process leads."""

    name: str
    doing: str
    """`sweeps` or `rests`."""
    for_s: float
    late_s: float
    """By how much its next sweep is overdue."""
    sweeps: int
    mean_s: float
    longest_s: float
    troubles: int
    """Sweeps that the engine or the records refused."""


class LoopTask(msgspec.Struct, frozen=True, kw_only=True):
    """What one task of the control plane's event loop waits for."""

    name: str
    at: str
    """Function, file and line."""


class HostState(msgspec.Struct, frozen=True, kw_only=True):
    """A host, as its last beat said."""

    id: str
    loop_lag_s: float
    lease_left_s: float
    """Less than 0: nobody has heard of it in time."""
    running: int
    troubled: int
    """Agents whose health check says no."""


class SlowTransition(msgspec.Struct, frozen=True, kw_only=True):
    """A command or transition of the engine, since its server started."""

    name: str
    calls: int
    mean_us: float
    total_s: float
    failed: int


class SlowCall(msgspec.Struct, frozen=True, kw_only=True):
    """A single one that took long."""

    at_ms: int
    micros: int
    name: str


class EngineState(msgspec.Struct, frozen=True, kw_only=True):
    """The engine's server."""

    version: str
    up_s: int
    answered_s: float
    """How long it took to say all this."""
    keys: int
    clients: int
    blocked: int
    memory_bytes: int
    memory_max_bytes: int
    slowest: list[SlowTransition]
    slow_calls: list[SlowCall]


class StuckTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task that has been where it is for long."""

    id: str
    what: str
    """`queued` or `running`."""
    where: str
    """Its queue, or its agent."""
    for_s: float
    at: str = ""
    """Where the agent's code is, as its host last said: function, file and line; only of those that have run for long."""


class Diagnostics(msgspec.Struct, frozen=True, kw_only=True):
    """How everything is, for who looks for what is wrong."""

    leads: bool
    """Whether this control plane runs the duties; another's are told there."""
    loop_lag_s: float
    threads: int
    duties: list[DutyShape]
    tasks: list[LoopTask]
    hosts: list[HostState]
    engine: EngineState
    recorder_lag_s: float | None
    """None: the records don't answer."""
    stuck: list[StuckTask]
    """The oldest first, queued and running; not all of them need be stuck."""


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """Where CPU time went, as https://www.speedscope.app reads it."""

    schema: str = msgspec.field(name="$schema", default="https://www.speedscope.app/file-format-schema.json")
    exporter: str = "amas"
    shared: dict[str, Any]
    profiles: list[dict[str, Any]]
