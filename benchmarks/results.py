"""`results.json`: what was measured, kept from run to run, and what each flat key of it may sensibly be."""

import json
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NamedTuple

from benchmarks.peers import ratios

PATH = Path(__file__).with_name("results.json")


class Measured(NamedTuple):
    """What a part found out."""

    keys: dict[str, float]
    """Flat keys: medians, named with their unit."""
    details: dict[str, Any]
    """What the page and the plots show besides."""


class Key(NamedTuple):
    """A flat key that others read."""

    name: str
    what: str
    target: str
    """What was asked for; empty where nothing was."""
    least: float = 0.0
    """Below it the measurement is wrong, however fast or slow the machine is."""
    most: float = math.inf
    unit: str = ""


KEYS = (
    Key("tasks_per_s_client_fsync", "tasks a second from end to end through the Python client, every acknowledgement on disk",
        "20,000", 10, 1e6, "/s"),
    Key("tasks_per_s_rest_fsync", "the same through `POST /api/tasks/batch`", "20,000", 10, 1e6, "/s"),
    Key("read_p99_ms", "a read of the API, 1,000 a second arriving by chance, p99", "under 20", 0.05, 1e5, "ms"),
    Key("read_cpu_us", "CPU of the control plane for one of those reads", "under 500", 0, 1e5, "us"),
    Key("cpu_us_per_task", "CPU of all processes together for one of those tasks, history included", "at most 80", 5, 1e5, "us"),
    Key("engine_cycle_ceiling_per_s", "tasks a second when the engine alone is given ready-made calls", "", 10, 1e6, "/s"),
    Key("latency_idle_p50_ms", "one task on an idle fleet, submit to result seen, p50", "under 2.5", 0.05, 1e4, "ms"),
    Key("latency_idle_p99_ms", "the same, p99", "under 8", 0.05, 1e4, "ms"),
    Key("latency_idle_nofsync_p50_ms", "the same without fsync, p50", "under 1.5", 0.05, 1e4, "ms"),
    Key("latency_half_load_p99_ms", "at half of the rate of single calls, arrivals by chance, p99", "under 50", 0.05, 1e5, "ms"),
    Key("bytes_per_queued_task", "engine memory of a queued task of 256 bytes", "at most 1,024", 256, 1e5, "bytes"),
    Key("cost_ratio_1m_to_1k_tasks", "engine CPU per task with 1,000,000 queued over that with 1,000", "within 1.2", 0.3, 10, ""),
    Key("cost_ratio_graph_100k_to_1k", "engine CPU per task in a graph of 100,000 tasks over one of 1,000, worst shape",
        "within 1.2", 0.3, 20, ""),
    Key("host_kill_recovery_s_p99", "kill -9 of a host at full load: until its last task runs again elsewhere",
        "under 8", 0.01, 60, "s"),
    Key("engine_kill_lost", "kill -9 of the engine under load: accepted tasks without an end", "0", 0, 0, ""),
    Key("engine_kill_doubled", "the same: results recorded twice", "0", 0, 0, ""),
    Key("fair_share_wait_ms", "a single task while another tenant has 100,000 queued: how much longer than on an idle fleet",
        "under 100", -100, 1e6, "ms"),
    Key("messages_per_s_fsync", "messages a second between agents on two hosts: signed, checked, received, acknowledged",
        "10,000", 10, 1e6, "/s"),
    Key("message_latency_p50_ms", "one message at low load, from the sender's call to the receiver's hands, p50", "under 2",
        0.05, 1e4, "ms"),
    Key("message_latency_p99_ms", "the same, p99", "under 10", 0.05, 1e4, "ms"),
    Key("messages_lost_host_kill", "kill -9 of a receiving host under load: messages that nobody handled", "0", 0, 0, ""),
    Key("cpu_us_per_message", "CPU of all processes together for one of those messages", "", 5, 1e5, "us"),
    Key("goals_100x50_s", "100 workflows of 50 tasks at once, from the first submission to the last end", "", 0.01, 1e4, "s"),
    Key("goals_waiting_starved", "1,100 workflows of which 1,000 wait, most of one tenant: those that starved", "0", 0, 1100, ""),
    Key("ratio_to_best_durable_peer", "tasks a second, times those of the fastest peer that keeps results on disk", "at least 5",
        0.01, 1000, "x"),
    *(Key(measure.key, f"{measure.what}: amas over the bare cycle in the same run", measure.bound, 0.001, 1000, "x")
      for measure in ratios.MEASURES),
)  # fmt: skip
"""The flat keys that the page lists, in its order."""

PEER_KEYS = frozenset({"ratio_to_best_durable_peer", *(measure.key for measure in ratios.MEASURES)})
"""Those that `make bench-peers` adds."""


def unsound(found: dict[str, Any], keys: Iterable[Key]) -> list[str]:
    """Return a sentence for each key that is missing or can't be true."""
    wrong = []
    for key in keys:
        value = found.get(key.name)
        if not isinstance(value, int | float) or not math.isfinite(value):
            wrong.append(f"{key.name} is {value!r}, not a number")
        elif not key.least <= value <= key.most:
            wrong.append(f"{key.name} is {value}, but can only be from {key.least:g} to {key.most:g}")
    return wrong


def load(path: Path = PATH) -> dict[str, Any]:
    """Return the results so far."""
    found: dict[str, Any] = json.loads(path.read_text()) if path.exists() else {}
    return found


def save(found: dict[str, Any], path: Path = PATH) -> None:
    """Write the results, flat keys first and sorted, so that two runs can be compared line by line."""
    flat = {name: found[name] for name in sorted(found) if not isinstance(found[name], dict)}
    nested = {name: found[name] for name in sorted(found) if isinstance(found[name], dict)}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(flat | nested, indent=1) + "\n")


def quantiles(values: list[float]) -> dict[str, float]:
    """Return p50, p99 and p99.9 of measurements, by name."""
    ordered = sorted(values)

    def at(share: float) -> float:
        return round(ordered[min(len(ordered) - 1, int(len(ordered) * share))], 2)

    return {"p50": at(0.5), "p99": at(0.99), "p999": at(0.999)}
