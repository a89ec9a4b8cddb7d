"""`python -m benchmarks.page`: put the tables and plots of `results.json` into docs/benchmarks.md, and a few of them into the
README, so that nobody types a number.

The pages' prose is written by hand; between `<!-- results: NAME -->` and `<!-- end -->` stands what this module makes.
"""

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import plots, results
from benchmarks.peers import ratios

PAGE = Path(__file__).parents[1] / "docs" / "benchmarks.md"
README = Path(__file__).parents[1] / "README.md"
_SLOT = re.compile(r"(<!-- results: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
_QUIET = 1.15
"""A yardstick longer than the shortest by this factor says that something else ran on the machine."""


def _table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    lines = [titles, ["---"] * len(titles), *rows]
    return "".join(f"| {' | '.join(_shown(cell) for cell in line)} |\n" for line in lines)


def _shown(value: object) -> str:
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int | float) else str(value)


def _machine(found: dict[str, Any]) -> str:
    machine, yardsticks = found["machine"], found["yardstick_ms"]
    every = [ms for pair in yardsticks.values() for ms in pair]
    text = f"{machine['cores']} cores of {machine['processor']}, Linux {machine['kernel']}, Python {machine['python']}. "
    text += f"The yardstick took {min(every)} to {max(every)} ms"
    noisy = sorted(name for name, pair in yardsticks.items() if max(pair) > _QUIET * min(every))
    if noisy:
        text += f"; the machine wasn't quiet, so these are provisional: {', '.join(noisy)}"
    return f"{text}.\n"


def _keys(found: dict[str, Any]) -> str:
    rows = [(f"`{key.name}`", key.what, _measured(key, found), key.target) for key in results.KEYS]
    return _table(("key", "what", "measured", "asked for"), rows)


def _measured(key: results.Key, found: dict[str, Any]) -> str:
    value = found.get(key.name)
    return "" if value is None else f"{value:,} {key.unit}".strip()


BRIEF = frozenset({
    "tasks_per_s_client_fsync", "tasks_per_s_rest_fsync", "ratio_to_best_durable_peer", "latency_idle_p50_ms",
    "fair_share_wait_ms", "bytes_per_queued_task", "cost_ratio_1m_to_1k_tasks", "messages_per_s_fsync",
    "host_kill_recovery_s_p99", "engine_kill_lost", "engine_kill_doubled",
})  # fmt: skip
"""What the README says."""


def _brief(found: dict[str, Any]) -> str:
    return _table(("what", "measured"), [(key.what, _measured(key, found)) for key in results.KEYS if key.name in BRIEF])


def _rates(rows: list[dict[str, Any]]) -> str:
    hosts = sorted({row["hosts"] for row in rows})
    rate = {(row["batch"], row["hosts"]): row["tasks_per_s"] for row in rows}
    titles = ("tasks in a batch", *(f"{count} host{'s' if count > 1 else ''}, tasks/s" for count in hosts))
    return _table(titles, [(batch, *(rate[batch, count] for count in hosts)) for batch in sorted({row["batch"] for row in rows})])


def _latency(found: dict[str, Any]) -> str:
    details = found["details"]["latency"]
    ways = {
        "idle_nofsync": "idle, without fsync",
        "idle": "idle, every acknowledgement on disk",
        "half_load": f"half load: {details['half_arrivals_per_s']:,} arrivals/s, as single calls",
        "log_rewrite": "the same, two seconds that begin with the log being written anew",
    }
    rows = [(title, *(found.get(f"latency_{way}_{at}_ms", "") for at in ("p50", "p99", "p999"))) for way, title in ways.items()]
    return _table(("one task, submit to result seen", "p50 ms", "p99 ms", "p99.9 ms"), rows)


def _cost(found: dict[str, Any]) -> str:
    split = found["details"]["cost"]["split"]
    return _table(("where", "CPU us of one task"), [*split.items(), ("**all**", found["cpu_us_per_task"])])


def _memory(found: dict[str, Any]) -> str:
    return _table(("state", "bytes"), [(state, found[f"bytes_per_{state}_task"]) for state in ("queued", "running", "finished")])


def _depth(found: dict[str, Any]) -> str:
    names = ("queued", "submit", "claim", "complete", "cpu_us_per_task", "ratio")
    titles = ("queued", "submit us", "claim us", "complete us", "all us", "ratio to 1,000 queued")
    return _table(titles, [[row[name] for name in names] for row in found["details"]["depth"]["depths"]])


def _graphs(found: dict[str, Any]) -> str:
    titles = (
        "shape",
        "tasks",
        "CPU us of one",
        "ratio to 1,000",
        "to forget one, us",
        "longest submit ms",
        "longest exchange ms",
        "longest forget ms",
    )
    rows = []
    for row in found["details"]["graphs"]["graphs"]:
        longest = [row["longest_ms"][kind] for kind in ("submit", "exchange", "forget")]
        rows.append((row["shape"], row["tasks"], row["cpu_us_per_task"], row["ratio"], row["forget_us_per_task"], *longest))
    return _table(titles, rows)


def _idle(found: dict[str, Any]) -> str:
    idle = found["details"]["idle"]
    rows = [(name, ms, idle["memory_mb"][name]) for name, ms in idle["cpu_ms_per_s"].items()]
    return _table(
        ("process", "CPU ms per second", "memory MB"), [*rows, ("**all**", found["idle_cpu_ms_per_s"], found["idle_memory_mb"])]
    )


def _fair(found: dict[str, Any]) -> str:
    fair = found["details"]["fair"]
    rows = [
        (title, *(fair[name][at] for at in ("p50", "p99", "p999")))
        for name, title in (("idle_ms", "on an idle fleet"), ("flooded_ms", "in the flood"))
    ]
    return _table(("the small tenant's task", "p50 ms", "p99 ms", "p99.9 ms"), rows)


def _messages(found: dict[str, Any]) -> str:
    details = found["details"]["messages"]
    titles = {"low_load_ms": "one message at low load", "one_write_ms": "a bare write to the engine, just before"}
    titles["full_load_ms"] = "one message at full load"
    times = [(title, *(details[name][at] for at in ("p50", "p99", "p999"))) for name, title in titles.items()]
    kills = [(kill["messages"], kill["lost"], kill["handled_twice"], kill["successor_ready_s"]) for kill in details["kills"]]
    return (
        _table(("", "p50 ms", "p99 ms", "p99.9 ms"), times)
        + "\n"
        + _table(("process", "CPU us per message"), [*details["cpu_us"].items(), ("**all**", found["cpu_us_per_message"])])
        + "\n"
        + _table(("messages, one host killed", "lost", "handled twice", "next host ready after s"), kills)
    )


def _goals(found: dict[str, Any]) -> str:
    goals = found["details"]["goals"]
    waits, spans = goals["wait_s"], (("100 at once", goals["at_once_s"]), ("1,100, once let in", goals["span_s"]))
    rows = [(who, *(waits[name][at] for at in ("first", "p50", "last"))) for who, name in WAITERS]
    cpu = found["goals_waiting_cpu_us_per_task"]
    return (
        _table(("who waits to be let in", "first s", "p50 s", "last s"), rows)
        + "\n"
        + _table(("workflows of 50 tasks", "p50 s", "p99 s", "p99.9 s"), [(who, *took.values()) for who, took in spans])
        + f"\n1,100 workflows in {goals['seconds']} s, {found['goals_waiting_starved']} starved; {cpu} us of CPU a task.\n"
    )


def _kills(found: dict[str, Any]) -> str:
    details = found["details"]
    hosts = [
        (number, kill["tasks"], kill["first_s"], kill["last_s"]) for number, kill in enumerate(details["kill_host"]["kills"], 1)
    ]
    engines = [
        (number, kill["log_mb"], kill["from_start_s"], kill["away_s"])
        for number, kill in enumerate(details["kill_engine"]["kills"], 1)
    ]
    accepted = details["kill_engine"]["accepted"]
    return (
        _table(("host killed", "tasks it had", "first again after s", "last again after s"), hosts)
        + "\n"
        + _table(("engine killed", "its log MB", "from its start to its first answer s", "away s"), engines)
        + f"\n{accepted:,} tasks accepted, {found['engine_kill_lost']} lost, {found['engine_kill_doubled']} recorded twice.\n"
    )


def _peers(found: dict[str, Any]) -> str:
    return _table(ratios.TITLES, ratios.lines(found["details"]["peers"]["rows"]))


def _rod(found: dict[str, Any]) -> str:
    return _table(ratios.ROD_TITLES, ratios.rod_lines(found["details"]["peers"]["rows"]))


def _science(found: dict[str, Any]) -> str:
    names = (
        "workflow",
        "tasks",
        "needs",
        "levels",
        "widest",
        "measured_path_s",
        "path_s",
        "took_s",
        "overhead_percent",
        "overhead_ms_per_level",
        "cpu_us_per_task",
    )
    titles = (
        "workflow",
        "tasks",
        "edges",
        "levels",
        "widest",
        "critical path as measured s",
        "scaled to s",
        "took s",
        "overhead %",
        "overhead per level ms",
        "CPU us of one task",
    )
    return _table(titles, [[row[name] for name in names] for row in found["details"]["science"]])


def _of(part: str, make: Callable[[Any], str]) -> Callable[[dict[str, Any]], str]:
    return lambda found: make(found["details"][part]["rates"])


WAITERS = (("the tenant with the flood", "flood"), ("the nine others", "others"))

MAKERS: dict[str, Callable[[dict[str, Any]], str]] = {
    "machine": _machine,
    "keys": _keys,
    "brief": _brief,
    "client": _of("throughput", _rates),
    "rest": _of("rest", _rates),
    "latency": _latency,
    "cost": _cost,
    "memory": _memory,
    "depth": _depth,
    "graphs": _graphs,
    "idle": _idle,
    "fair": _fair,
    "messages": _messages,
    "goals": _goals,
    "kills": _kills,
    "peers": _peers,
    "rod": _rod,
    "science": _science,
}


PLOTS = {
    "client": ("client", "tasks a second through the Python client"),
    "rest": ("rest", "tasks a second through HTTP"),
    "latency": ("latency", "milliseconds from submit to result"),
    "cost": ("cpu-split", "CPU of one task"),
    "depth": ("depth", "CPU of one task against the tasks queued"),
    "graphs": ("graphs", "CPU of one task against the size of its graph"),
    "peers": ("peers", "tasks a second of amas and its peers"),
}
"""Which plot stands under which table, and what it shows."""


def filled(text: str, found: dict[str, Any]) -> str:
    """Return the page with the tables and plots of these results; what wasn't measured yet says so."""

    def slot(match: re.Match[str]) -> str:
        try:
            made = MAKERS[match[2]](found)
            if plot := PLOTS.get(match[2]):
                made += f"\n![{plot[1]}](benchmarks/{plot[0]}.svg)\n"
        except KeyError as missing:
            made = f"Not measured yet ({missing.args[0]}).\n"
        return f"{match[1]}{made}{match[3]}"

    return _SLOT.sub(slot, text)


def write(found: dict[str, Any]) -> None:
    """Bring the pages up to date."""
    for page in (PAGE, README):
        page.write_text(filled(page.read_text(), found))


if __name__ == "__main__":
    so_far = results.load()
    plots.draw(so_far)
    write(so_far)
