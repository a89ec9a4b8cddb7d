"""`amas rollout`: start, status, approve, promote, abort; through the API of the running fleet."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

from amas.cli.api import Api, elsewhere, home_at, quoted
from amas.cli.output import console, moment, print_json
from amas.cli.who import me
from amas.errors import InputUnusable, RolloutRefused
from amas.platforms.local.home import Home


def start(pool: str, folder: Path | None, *, wanted: dict[str, Any], sets: Sequence[str], as_json: bool) -> None:
    """Begin a roll-out; `sets` are options as `name=value`, each value JSON or text."""
    wanted["by"] = wanted["by"] or me()
    wanted["options"] = dict(_option(each) for each in sets)
    home = home_at(folder)
    if (wanted["agent"] or wanted["options"]) and not elsewhere(home):  # what another machine can import isn't known here
        _check_agent(home, pool, wanted)
    _print(Api.of(home).post(f"/api/rollouts/{quoted(pool)}", wanted), as_json=as_json)


def _check_agent(home: Home, name: str, wanted: dict[str, Any]) -> None:
    """Raise RolloutRefused where the new version's agent can't work in the pool: its hosts could only say that it isn't alive."""
    import asyncio
    import sys

    from amas.fleet.check import pool_agent_problems
    from amas.platforms.local.applied import applied_fleet
    from amas.platforms.local.control import fleet_state

    state = fleet_state(home.folder)
    fleet = asyncio.run(applied_fleet(state))
    sys.path += [str(Path(state.fleet_file).parent), fleet.folder]  # where its hosts look
    for pool in fleet.pools:
        if pool.name == name:
            changed = {"agent": wanted["agent"] or pool.agent, "options": {**pool.options, **wanted["options"]}}
            for field, problem in pool_agent_problems(msgspec.structs.replace(pool, **changed)):
                raise RolloutRefused(f"version {wanted['version']} of {name!r} can't be begun: {field}: {problem}")


def act(pool: str, what: str, folder: Path | None, *, by: str, as_json: bool) -> None:
    """Approve, promote or abort a roll-out."""
    _print(Api.of(home_at(folder)).post(f"/api/rollouts/{quoted(pool)}/{what}", {"by": by or me()}), as_json=as_json)


def status(pool: str, folder: Path | None, *, as_json: bool) -> None:
    """Show one pool's roll-out, or all pools'."""
    api = Api.of(home_at(folder))
    if pool:
        _print(api.get(f"/api/rollouts/{quoted(pool)}"), as_json=as_json)
        return
    found = api.get("/api/rollouts")
    if as_json:
        print_json(found)
        return
    if not found["items"]:
        console().print("nothing has been rolled out (docs/rollouts.md)")
    for view in found["items"]:
        _print(view, as_json=False)


def _option(said: str) -> tuple[str, Any]:
    name, equals, value = said.partition("=")
    if not name or not equals:
        raise InputUnusable(f"--set {said!r} must be name=value, such as model=small")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def _print(view: dict[str, Any], *, as_json: bool) -> None:
    from amas.cli.tree import table

    if as_json:
        print_json(view)
        return
    say = console()
    say.print(
        f"{view['pool']}: version {view['was']} to {view['version']}, {view['phase']} since {moment(view['phase_ms'])}",
        markup=False,
    )
    say.print(f"  gets {view['share']:.0%} of its tasks; {view['tasks']:.0f} done so far", markup=False)
    if not view["agents_alive"] and view["next"]:
        say.print("  no agent of the new version is alive", markup=False)
    say.print(f"  {view['why']}", markup=False, soft_wrap=True)
    if view["next"]:
        say.print(f"  now: {view['next']}", markup=False, soft_wrap=True)
    rows = [
        [each["name"], f"{each['stable']:.4g}", f"{each['canary']:.4g}", each["standing"], each["bound"]]
        for each in view["figures"]
    ]
    say.print(table("", ["", f"version {view['was']}", f"version {view['version']}", "proven", "bound"], rows))
