"""Commands that start flows and act on workflows, approvals and dead letters, through the API of the running fleet."""

from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from amas.cli.api import Api, home_at, quoted
from amas.cli.look import print_begun, print_page, print_task
from amas.cli.output import console, counted, in_short, moment, print_json, value_of
from amas.errors import SubmissionError


class Start(NamedTuple):
    """What `amas workflows start` was asked."""

    file: Path
    tenant: str
    priority: int
    deadline_s: float
    key: str


def start(wanted: Start, folder: Path | None, *, as_json: bool) -> None:
    """Check a file's flow, naming the line of whatever is wrong, and start it."""
    from amas.core.flow_check import problems
    from amas.model.flow import Flow
    from amas.model.yamlfile import YamlFile

    file = YamlFile.read(wanted.file)
    flow = file.decode(Flow)
    for field, message in problems(flow):
        raise file.invalid(message, field)
    body = {
        "flow": msgspec.to_builtins(flow),
        "tenant": wanted.tenant,
        "priority": wanted.priority,
        "deadline_s": wanted.deadline_s,
    }
    headers = {"Idempotency-Key": wanted.key} if wanted.key else None
    answer = Api.of(home_at(folder)).post("/api/workflows", body, headers=headers)
    print_begun(answer, as_json=as_json)


def pause(workflow_id: str, folder: Path | None, *, as_json: bool) -> None:
    """Let nothing new of a workflow start."""
    answer = Api.of(home_at(folder)).post(f"/api/workflows/{quoted(workflow_id)}/pause")
    said = f"{workflow_id} is paused" if answer["changed"] else f"{workflow_id} was paused or has ended; nothing changed"
    _tell(answer, said, as_json=as_json)


def resume(workflow_id: str, folder: Path | None, *, as_json: bool) -> None:
    """Go on with a paused workflow."""
    answer = Api.of(home_at(folder)).post(f"/api/workflows/{quoted(workflow_id)}/resume")
    said = f"{workflow_id} goes on" if answer["changed"] else f"{workflow_id} wasn't paused; nothing changed"
    _tell(answer, said, as_json=as_json)


def rerun(workflow_id: str, task: str, folder: Path | None, *, as_json: bool) -> None:
    """Do a task and all that came of it again."""
    answer = Api.of(home_at(folder)).post(f"/api/workflows/{quoted(workflow_id)}/rerun", {"task": task})
    _tell(answer, f"{counted(answer['tasks'], 'task')} of {workflow_id} done again, from {task}", as_json=as_json)


def signal(workflow_id: str, key: str, value: str, folder: Path | None, *, as_json: bool) -> None:
    """Send a signal task its value: JSON, or plain text where it isn't any."""
    said = {"key": key, "value": value_of(value, "the value")}
    answer = Api.of(home_at(folder)).post(f"/api/workflows/{quoted(workflow_id)}/signal", said)
    _tell(answer, f"the signal {key} is sent: {workflow_id} has it, or keeps it until a task waits for it", as_json=as_json)


def approvals(workflow_id: str, folder: Path | None, *, as_json: bool) -> None:
    """List what people are asked."""
    page = Api.of(home_at(folder)).all("/api/approvals", workflow_id=workflow_id)
    print_page(
        page,
        ["approval", "workflow", "key", "question", "expires"],
        [
            [item["task_id"], item["workflow_id"], item["key"], item["question"], moment(item["expires_ms"])]
            for item in page["items"]
        ],
        as_json=as_json,
        nothing="nobody is asked anything",
    )


class Word(NamedTuple):
    """A person's answer."""

    approved: bool
    by: str
    comment: str
    score: float | None = None


def approve(task_id: str, word: Word, folder: Path | None, *, as_json: bool) -> None:
    """Answer an approval."""
    answer = Api.of(home_at(folder)).post(f"/api/approvals/{quoted(task_id)}", word._asdict())
    _tell(answer, f"{task_id} is {'approved' if word.approved else 'refused'}", as_json=as_json)


def dead_letters(workflow_id: str, folder: Path | None, *, limit: int, as_json: bool) -> None:
    """List tasks that failed for good."""
    page = Api.of(home_at(folder)).get("/api/dead-letters", workflow_id=workflow_id, limit=limit)
    print_page(
        page,
        ["task", "failed", "capability", "key", "attempts", "why"],
        [
            [
                item["task_id"],
                moment(item["at_ms"]),
                item["capability"],
                item["key"],
                item["attempt"],
                in_short((item["failure"] or {}).get("message", "")),
            ]
            for item in page["items"]
        ],
        as_json=as_json,
        nothing="no task has failed for good",
    )


def dead_letter(task_id: str, folder: Path | None, *, retry: bool, discard: bool, as_json: bool) -> None:
    """Show a dead letter, put it back or discard it."""
    if retry and discard:
        raise SubmissionError("give --retry or --discard, not both")
    api = Api.of(home_at(folder))
    if not retry and not discard:
        task = api.get(f"/api/tasks/{quoted(task_id)}")
        print_json(task) if as_json else print_task(task)
        return
    answer = api.post(f"/api/dead-letters/{quoted(task_id)}/{'retry' if retry else 'discard'}")
    done = "is queued again" if retry else "is discarded" if answer["changed"] else "was no dead letter; nothing changed"
    _tell(answer, f"{task_id} {done}", as_json=as_json)


def _tell(answer: dict[str, Any], said: str, *, as_json: bool) -> None:
    print_json(answer) if as_json else console().print(said, soft_wrap=True)
