"""`amas up`, `down` and `status`, and the fleet that `amas run` starts for one goal."""

import asyncio
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from amas.cli.api import Api, Refused, elsewhere, home_at
from amas.cli.look import print_killed
from amas.cli.output import console, moment, print_json
from amas.errors import FleetAlreadyRunning, FleetNotRunning
from amas.model.closing import Closing
from amas.model.fleet import DELAYED
from amas.platforms.local.control import STOP_MARGIN_S, RunningFleet, fleet_state, start_fleet, stop_fleet
from amas.platforms.local.home import Home
from amas.platforms.local.request import Event, Ports, Report, request_for
from amas.settings import EngineSettings, HostSettings, RecordsSettings

DEFAULT_FLEET = "amas"
"""What starts in a home without a past where nobody names a fleet."""


def up(fleet: str, folder: Path | None, *, ports: Ports, phase: str, foreground: bool, as_json: bool) -> None:
    """Start a fleet, its stages one after the other up to `phase`, and say where it is; go on with one that isn't there yet.

    `fleet`: a file or a name; empty: what was applied last in this home, in one without a past the fleet `amas`.
    """
    from amas.platforms.local import opening  # with the engine's driver, which takes a while to import

    home = home_at(folder)
    look_back, keeps = has_past(home), False
    if home.supervisor_pid() is not None:
        state = fleet_state(home.folder)
        if asyncio.run(opening.reached(state)) is None:
            change = f", `amas apply {fleet}` makes it what that declares" if fleet else ""
            raise FleetAlreadyRunning(
                f"a fleet runs in {home.folder} already: `amas status` shows it, `amas down` stops it{change}"
            )
    else:
        keeps = goes_on(fleet, home)
        request = request_for(fleet or DEFAULT_FLEET, home, ports=ports, phase=phase, keeps=keeps)
        assert request.fleet is not None
        if not keeps:
            opening.last_stage(request.fleet, phase)  # a wrong word is refused before anything starts
        if foreground:
            asyncio.run(opening.run_in_stages(request, phase, None if as_json else _say))
            return
        with _progress(show=not as_json) as on_event:
            asyncio.run(start_fleet(request, on_event=on_event))
        state = fleet_state(home.folder)
    asyncio.run(opening.open_stages(state, phase, None if as_json else _say))
    if as_json:
        print_json(msgspec.to_builtins(state))
    else:
        console().print(f"fleet [bold]{state.name}[/bold] is up: {state.api_url}  data in {home.folder}")
        if keeps:
            console().print("[dim]as it was applied here last; `amas up --fleet` starts another[/dim]")
        if look_back:
            from amas.cli.recover import tell_what_is_lost  # with the records' library, which takes longer than all the rest

            tell_what_is_lost(home)


def goes_on(fleet: str, home: Home) -> bool:
    """Return whether a start that names this fleet, or none, goes on with what was applied in this home last."""
    return not fleet and (has_past(home) or bool(EngineSettings.read().url))


def has_past(home: Home) -> bool:
    """Return whether there may be a history from before this start: one that begins with it has lost nothing yet."""
    settings = RecordsSettings.read()
    return bool(settings.url) or Path(settings.url_for(home.folder).removeprefix("sqlite:///")).exists()


def down(folder: Path | None, *, as_json: bool) -> None:
    """Stop the fleet."""
    from amas.platforms.local import opening

    home = home_at(folder)
    late = asyncio.run(opening.close_stages(fleet_state(home.folder), None if as_json else _say))
    clean = asyncio.run(stop_fleet(home.folder, timeout_s=_stop_s()))
    closing = home.read_closing()
    if as_json:
        print_json({"stopped": True, "clean": clean, "unfinished": late, "records": msgspec.to_builtins(closing)})
        return
    if late:
        console().print(f"not done in time: {', '.join(late)}; their tasks are done after the next start")
    console().print("the fleet is down" if clean else "the fleet didn't end in time and was killed; nothing is lost")
    console().print(_closed(closing), markup=False, soft_wrap=True)


def _stop_s() -> float:
    """Return the seconds after which a fleet that was told to stop hangs: its hosts and its records have had their time."""
    return HostSettings.read().drain_s + RecordsSettings.read().catch_up_s + STOP_MARGIN_S


def _closed(closing: Closing | None) -> str:
    if closing is None:
        return (
            "nobody could say whether the history is whole: what it lacks is in the engine's journal, the next start records it"
        )
    if closing.caught_up:
        return f"the history holds all that the engine said ({closing.took_s:.1f} s)"
    lacks = f"the last {closing.lacks_s:,.1f} s of the engine's journal" if closing.lacks_s else "some of the engine's journal"
    return (
        f"the history lacks {lacks} after {closing.limit_s:g} s: {closing.why}; nothing is lost, the next start records it; "
        "AMAS_CATCH_UP_S gives more time"
    )


def status(folder: Path | None, *, as_json: bool) -> None:
    """Print what runs: processes, readiness, and the fleet's figures."""
    home = home_at(folder)
    if url := elsewhere(home):
        ready, figures, killed = _ask(home)
        if as_json:
            print_json({"fleet": None, "ready": ready, "figures": figures, "killed": killed})
            return
        console().print(f"the fleet at {url}: its processes are told of where it runs", markup=False, soft_wrap=True)
        _print_figures(ready, figures, killed)
        return
    state = fleet_state(home.folder)
    ready, figures, killed = _ask(home)
    if as_json:
        print_json({"fleet": msgspec.to_builtins(state), "ready": ready, "figures": figures, "killed": killed})
        return
    from amas.cli.tree import table

    console().print(f"fleet [bold]{state.name}[/bold] {state.status} since {moment(state.started_ms)}  {state.api_url}")
    rows: list[list[object]] = [
        [part.name, part.status, part.pid or "", part.restarts or "", part.reason] for part in state.parts
    ]
    console().print(table("", ["process", "status", "pid", "restarts", "last end"], rows))
    if not state.metrics_port:
        console().print("no metrics: ORCHESTRATION_ENABLE_METRICS=false, when it was started")
    _print_figures(ready, figures, killed)


def _print_figures(ready: dict[str, Any], figures: dict[str, Any], killed: list[dict[str, Any]]) -> None:
    from amas.cli.tree import table

    shown: list[list[object]] = [
        [name.replace("_", " "), round(value, 3)] for name, value in figures.items() if isinstance(value, (int, float))
    ]
    if shown:
        console().print(table("", ["", ""], shown))
    if queues := _queue_rows(figures.get("tasks", {})):
        console().print(table("", ["queue", "queued", "at most"], queues))
    print_killed(killed)
    for pool in figures.get("pools_down", []):
        console().print(f"[red]every agent of {pool} is quarantined[/red]: its tasks wait (amas quarantine list)")
    for problem in ready.get("problems", []):
        console().print(f"[yellow]not ready[/yellow]: {problem}")


def _queue_rows(tasks: dict[str, Any]) -> list[list[object]]:
    """Return a row for each queue that has work, the fullest first."""
    queued, bounds = tasks.get("queued", {}), tasks.get("bounds", {})
    depths = {**queued, **({DELAYED: tasks["delayed"]} if tasks.get("delayed") else {})}
    return [[queue, depth, bounds.get(queue, "")] for queue, depth in sorted(depths.items(), key=lambda each: -each[1])]


def _ask(home: Home) -> tuple[dict[str, Any], dict[str, Any], list[dict[str, Any]]]:
    """Return the control plane's word on readiness, its figures, and who is killed; what it can't say is said in their place."""
    try:
        api = Api.of(home)
        return api.get("/ready/orchestration"), api.get("/api/metrics"), api.get("/api/kill")["items"]
    except (FleetNotRunning, Refused) as error:
        if elsewhere(home) and (error.act == "author" or isinstance(error, FleetNotRunning)):
            raise
        return {"ready": False, "problems": [str(error)]}, {}, []


@contextlib.contextmanager
def started_fleet(fleet: str, home: Home, *, show: bool) -> Iterator[None]:
    """Run a fleet for as long as the block lasts, on free ports; it ends with this process, however that ends.

    `fleet`: a file or a name; empty: what was applied last in this home, in one without a past the fleet `amas`.
    """
    keeps = goes_on(fleet, home)
    request = request_for(fleet or DEFAULT_FLEET, home, ports=(0, 0), bound=True, keeps=keeps)
    running: RunningFleet | None = None
    try:
        with _progress(show=show) as on_event:
            running = asyncio.run(start_fleet(request, on_event=on_event))
        if keeps or (request.fleet is not None and len(request.fleet.stages) > 1):
            from amas.platforms.local import opening

            asyncio.run(opening.open_stages(running.state, "", None))
        if keeps and show and running.state.name != DEFAULT_FLEET:
            console().print(f"[dim]by the fleet {running.state.name}, as it was applied here last; --fleet names another[/dim]")
        yield
    finally:
        if running is not None:
            asyncio.run(running.stop())


def _say(event: Event) -> None:
    if event.what in ("ready", "stopped"):
        done = " stopped" if event.what == "stopped" else ""
        console().print(f"[green]✓[/green] {event.part}{done}  [dim]{event.seconds:.1f} s[/dim]")
    elif event.what == "failed":
        console().print(f"[red]✗[/red] {event.message}")
    elif event.what == "up":
        console().print("the fleet is up; Ctrl-C stops it")


@contextlib.contextmanager
def _progress(*, show: bool) -> Iterator[Report | None]:
    """Show which part is being started, in one line that goes away."""
    if not show:
        yield None
        return
    with console().status("starting the fleet") as line:

        def on_event(event: Event) -> None:
            if event.what == "starting":
                line.update(f"starting the fleet: {event.part}")

        yield on_event
