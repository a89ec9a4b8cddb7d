"""What the commands do that change what is wanted of a running fleet, or show it: through the fleet's API."""

import contextlib
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import typer

from amas.cli.api import Api, home_at, quoted
from amas.cli.exit import ExitCode
from amas.cli.output import complain, console, harmless, moment, print_json, remark
from amas.cli.scaling import print_hosts
from amas.cli.who import me
from amas.clock import monotonic_s
from amas.errors import InputUnusable
from amas.model.numbers import named

WAIT_S = 120.0
"""Seconds without anything having come further, by default: something keeps the hosts from it, and the sentence says what."""
LOOK_EVERY_S = 0.2
TELL_EVERY_S = 5.0
"""Between two lines of progress where no terminal shows it."""


class Asked(NamedTuple):
    """What `amas apply` was asked for."""

    file: Path | None
    revision: int | None
    why: str
    again: bool = False
    yes: bool = False
    dry_run: bool = False
    wait: bool = True
    timeout_s: float | None = None


class Said(NamedTuple):
    """What goes with every change."""

    why: str
    wait: bool
    as_json: bool
    timeout_s: float | None = None
    """For how long to wait in all; None: as long as it comes further."""

    @property
    def body(self) -> dict[str, str]:
        """Return who wants it, and why."""
        return {"by": me(), "why": self.why}


def apply(asked: Asked, folder: Path | None, *, as_json: bool) -> None:
    """Show what a file, or an earlier revision, would change, and change it."""
    if (asked.file is None) == (asked.revision is None):
        raise InputUnusable("say which fleet: amas apply FILE, or amas apply --revision N")
    body = {**_body(asked.file, asked.revision), "again": asked.again}
    api = Api.of(home_at(folder))
    looked = api.post("/api/fleet/apply?dry_run=true", body)
    same = not (looked["difference"]["changes"] or looked["rollouts"])
    if not as_json:
        _say(looked["told"])
    if asked.dry_run or same:
        if as_json:
            print_json(looked)
        return
    if not (asked.yes or as_json):
        _ask()
    why = asked.why or (f"applied {asked.file}" if asked.file else f"back to revision {asked.revision}")
    applied = api.post("/api/fleet/apply", {**body, "by": me(), "why": why, "expect": looked["revision"]})
    if asked.wait:
        until_done(api, applied["revision"], show=not as_json, timeout_s=asked.timeout_s)
    if as_json:
        print_json(applied)
    else:
        console().print(f"revision {applied['revision']} " + ("runs" if asked.wait else "is wanted"))


def _body(file: Path | None, revision: int | None) -> dict[str, Any]:
    if file is None:
        return {"revision": revision}
    from amas.fleet.load import load_fleet

    return {"fleet": msgspec.to_builtins(load_fleet(file, agents=True))}


def _ask() -> None:
    if not sys.stdin.isatty():
        raise InputUnusable("nobody can be asked here: say --yes to apply this, or --dry-run to only look")
    try:
        agreed = typer.confirm("apply this?")
    except typer.Abort:  # Ctrl-C, or the end of what is typed
        raise KeyboardInterrupt from None
    if not agreed:
        complain("nothing is changed")
        raise typer.Exit(ExitCode.CANCELLED)


def diff(file: Path, folder: Path | None, *, as_json: bool) -> None:
    """Show what a file would change."""
    looked = Api.of(home_at(folder)).post("/api/fleet/apply?dry_run=true", _body(file, None))
    if as_json:
        print_json(looked)
    else:
        _say(looked["told"])
    if looked["difference"]["changes"] or looked["rollouts"]:
        raise typer.Exit(ExitCode.FAILED)


def scale(pool: str, replicas: int | None, folder: Path | None, *, said: Said, reset: bool) -> None:
    """Scale a pool, or end that."""
    if replicas is None and not reset:
        raise InputUnusable(f"say how many: amas scale {pool} N, or amas scale {pool} --reset")
    api = Api.of(home_at(folder))
    scaled = api.post(f"/api/pools/{quoted(pool)}/scale", {**said.body, "replicas": replicas})
    _finish(api, scaled, said, f"{pool} is to have {scaled['replicas']} agents" + (", as its file says" if reset else ""))


def restart(what: str, folder: Path | None, *, said: Said) -> None:
    """Restart a host, or else a pool, or else an agent."""
    api = Api.of(home_at(folder))
    if what in {host["id"] for host in api.get("/api/hosts")["items"]}:
        order(what, "restart", folder, said=said)
        return
    if named(what)[0] and what not in {pool["name"] for pool in api.get("/api/fleet/desired")["pools"]}:
        _finish(api, api.post(f"/api/agents/{quoted(what)}/restart", said.body), said, f"{what} is made anew")
        return
    restarted = api.post(f"/api/pools/{quoted(what)}/restart", said.body)
    _finish(api, restarted, said, f"the {restarted['replicas']} agents of {what} are made anew")


_ORDERED = {
    "drain": "is drained: its {seats} agents go to other hosts",
    "cordon": "is cordoned: it keeps its {seats} agents and gets no more",
    "uncordon": "may get agents again",
    "restart": "is started anew",
}
NOWHERE = "is drained: its {seats} agents sit nowhere until another host may have them"


def order(host: str, what: str, folder: Path | None, *, said: Said) -> None:
    """Order a host about."""
    api = Api.of(home_at(folder))
    ordered = api.post(f"/api/hosts/{quoted(host)}/{what}", said.body)
    if what == "drain" and not ordered["open_hosts"] and not said.wait:
        complain(f"no other host may get agents: those of {host} have nowhere to go until one is started or uncordoned")
    told = NOWHERE if what == "drain" and not ordered["open_hosts"] else _ORDERED[what]
    _finish(api, ordered, said, f"{host} {told.format(seats=ordered['seats'])}")


def hosts(folder: Path | None, *, as_json: bool) -> None:
    """List hosts."""
    from amas.cli.tree import table

    found = Api.of(home_at(folder)).get("/api/hosts")
    if as_json:
        print_json(found)
        return
    rows: list[list[object]] = [
        [
            host["id"],
            "live" if host["live"] else "gone",
            _wanted(host["order"]),
            host["seats"],
            host["running"],
            host["revision"] or "",
            ", ".join(f"{name}={value}" for name, value in host["labels"].items()),
        ]
        for host in found["items"]
    ]
    console().print(table("", ["host", "", "wanted", "agents", "tasks", "revision", "labels"], rows))
    if found["scaling"]:
        print_hosts(found["scaling"])


def _wanted(order: dict[str, Any]) -> str:
    return ", ".join(name for name in ("drained", "cordoned") if order[name])


def history(folder: Path | None, *, limit: int, as_json: bool) -> None:
    """List changes."""
    from amas.cli.tree import table

    found = Api.of(home_at(folder)).get("/api/fleet/history", limit=limit)
    if as_json:
        print_json(found)
        return
    rows: list[list[object]] = [
        [change["revision"], moment(change["at_ms"]), change["by"], ", ".join(change["fields"]), change["why"]]
        for change in found["items"]
    ]
    console().print(table("", ["revision", "when", "by", "what", "why"], rows))
    if found["fleets"]:
        console().print(f"`amas apply --revision N` goes back to a fleet: {', '.join(map(str, found['fleets']))}")


def _say(lines: list[str]) -> None:
    for line in lines:
        console().print(line, markup=False, soft_wrap=True)


def _finish(api: Api, answer: dict[str, Any], said: Said, sentence: str) -> None:
    if said.wait:
        until_done(api, answer["revision"], show=not said.as_json, timeout_s=said.timeout_s)
    if said.as_json:
        print_json(answer)
    else:
        console().print(sentence, markup=False)


def until_done(api: Api, revision: int, *, show: bool, timeout_s: float | None = None) -> None:
    """Return once all agents sit where they can and all hosts have carried it out, and say who can sit nowhere.

    Exit code 1, with why, after `timeout_s` seconds, or by default where nothing has come further for `WAIT_S`.
    """
    began_s = further_s = monotonic_s()
    before = ""
    with _progress(show=show) as say:
        while waits_for := _waits_for(api, revision):
            say(waits_for)
            now_s = monotonic_s()
            if waits_for != before:
                before, further_s = waits_for, now_s
            since_s, most_s = (now_s - further_s, WAIT_S) if timeout_s is None else (now_s - began_s, timeout_s)
            if since_s > most_s:
                complain(
                    f"revision {revision} is wanted, but after {now_s - began_s:.0f} s it doesn't run: {waits_for}; "
                    "it goes on by itself, and `amas hosts` shows more"
                )
                raise typer.Exit(ExitCode.FAILED)
            time.sleep(LOOK_EVERY_S)
    for pool in api.get("/api/fleet/desired")["pools"]:
        if pool["why"]:
            complain(pool["why"])


def _waits_for(api: Api, revision: int) -> str:
    """Return what is still to happen; "" for nothing, though agents may have no host until somebody acts."""
    found = api.get("/api/fleet/desired")
    live = [host["id"] for host in api.get("/api/hosts")["items"] if host["live"]]
    wanted, seated = (sum(pool[name] for pool in found["pools"]) for name in ("wanted", "seated"))
    why = "; ".join(pool["why"] for pool in found["pools"] if pool["why"])
    if found["revision"] < revision:
        return "the control plane hasn't seen it yet"
    if not found["dealt"]:
        return f"{seated} of {wanted} agents have their host" if live else "no host lives"
    if len(live) < found["hosts"]:
        return f"{len(live)} of {found['hosts']} hosts are up" + (f"; {why}" if why else "")
    behind = [host for host in found["behind"] if host in live]
    if behind:
        return f"{', '.join(behind)} {'is' if len(behind) == 1 else 'are'} behind"
    return "no host lives" if wanted > seated and not live else ""


@contextlib.contextmanager
def _progress(*, show: bool) -> Iterator[Any]:
    """Yield what tells people of progress: in one line of a terminal, else in lines of standard error, which are no result."""
    if not show:
        yield lambda _: None
        return
    if not sys.stdout.isatty():
        yield _Told().say
        return
    from rich.text import Text

    with console().status("waiting for the hosts") as line:
        yield lambda waits_for: line.update(Text(f"waiting: {harmless(waits_for)}"))


class _Told:
    """Lines of progress: what has changed, every few seconds at most."""

    def __init__(self) -> None:
        self._last, self._next_s = "", monotonic_s() + TELL_EVERY_S

    def say(self, waits_for: str) -> None:
        """Print it where it is due."""
        if waits_for != self._last and monotonic_s() >= self._next_s:
            self._last, self._next_s = waits_for, monotonic_s() + TELL_EVERY_S
            remark(f"waiting: {waits_for}")
