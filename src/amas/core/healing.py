"""What is to become of an agent that crashed, by its recent past, its pool's `HealingSpec`, and chance that is handed in.

A crash is an isolated attempt's process that died, an attempt that was stopped because it made no progress, or a health check
that failed. It counts against the agent until its task is found to be poison: one that has crashed `POISONED` sound agents. An
agent is sound when nothing else has crashed it since it last did a task well; so when a whole pool is broken, its agents are
quarantined one after the other, and their tasks are not taken for poison. Called by hosts (`agents/healer.py`) and the warden.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from amas.core.retry import Draw, pause_s
from amas.model.desired import Kill
from amas.model.fleet import PoolSpec
from amas.model.healing import HealingSpec, Quarantine
from amas.model.numbers import pool_named

QUIET_S = 300.0
"""Seconds that an attempt may pass without progress where its pool doesn't say; or half of its time, if that is longer."""


class Past(NamedTuple):
    """One crash of an agent."""

    at_s: float
    """By whatever clock the caller has; only differences count."""
    code: str
    task_id: str = ""
    """Empty where no task ran, as for a health check."""


class BackOff(NamedTuple):
    """The agent gets no tasks for a while."""

    delay_s: float


class Isolate(NamedTuple):
    """The agent is to be quarantined."""

    why: str


Decision = BackOff | Isolate


def recent(past: Sequence[Past], *, now_s: float, window_s: float) -> list[Past]:
    """Return the crashes that still count, oldest first."""
    return [crash for crash in past if now_s - crash.at_s <= window_s]


def suspects(past: Sequence[Past], task_id: str, *, good_at_s: float) -> tuple[str, ...]:
    """Return what else has crashed the agent since it last did a task well, at `good_at_s`: tasks, "" for no task.

    It is sound when these are none, or all poison.
    """
    return tuple(sorted({crash.task_id for crash in past if crash.at_s > good_at_s} - {task_id}))


def decide(past: Sequence[Past], spec: HealingSpec, *, now_s: float, poisons: Collection[str] = (), draw: Draw) -> Decision:
    """Return what a crash that has just been added to `past` means; `poisons` are tasks that were found to be the cause."""
    counted = [crash for crash in recent(past, now_s=now_s, window_s=spec.window_s) if crash.task_id not in poisons]
    if len(counted) >= spec.crashes:
        codes = ", ".join(sorted({crash.code for crash in counted}))
        return Isolate(f"it crashed {len(counted)} times within {spec.window_s:g} s ({codes})")
    return BackOff(pause_s(len(counted), least_s=spec.backoff_s, most_s=spec.backoff_max_s, draw=draw))


def stuck_limit_s(spec: HealingSpec, *, limit_s: float) -> float:
    """Return how many seconds an attempt that may take `limit_s` in all may pass without progress; 0: it is never stuck."""
    wanted_s = max(QUIET_S, limit_s / 2) if spec.stuck_after_s is None else spec.stuck_after_s
    return wanted_s if not limit_s or wanted_s < limit_s else 0.0  # its time is up first


def why_released(held: Quarantine, *, now_ms: int, version: str | None) -> str:
    """Return why a quarantine is over, empty while it holds; `version` is the pool's own, None for a pool that is gone."""
    if version is None:
        return "its pool is gone"
    if held.version and held.version != version:
        return f"its pool is version {version} now"
    if held.until_ms and now_ms >= held.until_ms:
        return "its time is over"
    return ""


def pools_down(quarantined: Collection[str], pools: Iterable[PoolSpec]) -> list[str]:
    """Return the pools all of whose agents are quarantined, by name."""
    held = Counter(map(pool_named, quarantined))
    return sorted(pool.name for pool in pools if 0 < pool.replicas <= held[pool.name])


def held_back(pool: str, *, killed: Mapping[str, Kill], quarantined: Collection[str], pools: Iterable[PoolSpec]) -> str:
    """Return why a pool gets no tasks though it is there, with the way out; empty where it may work. `*` stands for the fleet."""
    for name, what in (("*", "the whole fleet"), (pool, pool)):
        if held := killed.get(name):
            return f"{what} is killed, by {held.by}: {held.why} (`amas kill --lift` lets it work again)"
    if pool in pools_down(quarantined, pools):
        return f"every agent of {pool} is quarantined (`amas quarantine list` says why)"
    return ""
