"""`amas submit`: one task through the API of the fleet, and what came of it."""

import sys
from pathlib import Path
from typing import NamedTuple

from amas.cli.api import Api, Refused, home_at, quoted
from amas.cli.exit import ExitCode
from amas.cli.output import harmless, print_json, remark, value_of
from amas.errors import FleetNotRunning

WAIT_S = 20
"""How long one look waits for the end: less than the longest silence that the API's client takes for a fault."""
STDIN = "-"


class Wanted(NamedTuple):
    """The task."""

    capability: str
    input: str
    pool: str
    tenant: str
    priority: int
    delay_s: float
    key: str


def submit(wanted: Wanted, folder: Path | None, *, detach: bool, as_json: bool) -> ExitCode:
    """Submit it; print its id, or its result once it has one. Return FAILED or CANCELLED where it has none."""
    api = Api.of(home_at(folder))
    given = wanted._asdict()
    said = sys.stdin.read() if wanted.input == STDIN else wanted.input
    key, given["input"] = given.pop("key"), value_of(said, "the input")
    made = api.post("/api/tasks", given, headers={"Idempotency-Key": key} if key else None)
    if detach:
        print_json(made) if as_json else print(harmless(made["id"]))
        return ExitCode.OK
    try:
        return _told(api, made["id"], as_json=as_json)
    except (KeyboardInterrupt, FleetNotRunning):
        remark(f"the task {made['id']} goes on: `amas tasks {made['id']}` shows it, `amas cancel {made['id']}` ends it")
        raise


def _told(api: Api, task_id: str, *, as_json: bool) -> ExitCode:
    """Wait for a task's end and print what came of it."""
    task = f"/api/tasks/{quoted(task_id)}"
    try:
        while True:
            shown = api.get(f"{task}/result", wait=WAIT_S)
            if shown["state"] == "succeeded":
                print_json(shown if as_json else shown["result"])
                return ExitCode.OK
    except Refused as error:
        if error.status != 409:  # it has ended without a result
            raise
        if as_json:
            print_json(api.get(task))
        remark(f"{error}; `amas tasks {task_id}` shows its attempts")
        return ExitCode.CANCELLED if error.kind.endswith("task_cancelled") else ExitCode.FAILED
