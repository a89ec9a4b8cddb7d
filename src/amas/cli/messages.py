"""`amas messages`: write to agents as the operator, and look at inboxes, refusals and dead messages, through the fleet's API."""

from pathlib import Path
from typing import NamedTuple

from amas.cli.api import Api, home_at, quoted
from amas.cli.look import print_page
from amas.cli.output import console, moment, print_json, value_of


class Written(NamedTuple):
    """What somebody wants to say."""

    recipient: str
    payload: str
    type: str
    priority: int = 1


def show(folder: Path | None, *, as_json: bool) -> None:
    """Print the state of the bus, its counts and the inboxes that hold something."""
    found = Api.of(home_at(folder)).get("/api/messages")
    if as_json:
        print_json(found)
        return
    console().print(f"the bus is [bold]{found['state']}[/bold]; its inboxes hold {found['backlog']} messages")
    if found["counts"]:
        console().print(", ".join(f"{name.replace('_', ' ')} {count}" for name, count in sorted(found["counts"].items())))
    print_page(
        {"items": found["inboxes"], "next": None},
        ["agent", "held", "state", "answers"],
        [[one["agent_id"], one["held"], one["state"], one["answers"] or ""] for one in found["inboxes"]],
        as_json=False,
        nothing="every inbox is empty",
    )


def send(written: Written, folder: Path | None, *, as_json: bool) -> None:
    """Send a message and say whom it reached."""
    body = {**written._asdict(), "payload": value_of(written.payload, "the payload")}
    sent = Api.of(home_at(folder)).post("/api/messages", body)
    if as_json:
        print_json(sent)
        return
    console().print(f"sent to {', '.join(sent['ids'])}" if sent["ids"] else "nobody got it", soft_wrap=True)
    for agent_id, retry_after_s in sent["full"].items():
        console().print(f"the inbox of {agent_id} is full: try again in {retry_after_s:g} s")


def ask(written: Written, folder: Path | None, *, wait_s: float, as_json: bool) -> None:
    """Ask an agent and print its answer."""
    body = {
        "recipient": written.recipient,
        "payload": value_of(written.payload, "the payload"),
        "type": written.type,
        "timeout_s": wait_s,
    }
    answer = Api.of(home_at(folder)).post("/api/messages/ask", body)
    print_json(answer if as_json else answer["payload"])


def inbox(agent_id: str, folder: Path | None, *, as_json: bool) -> None:
    """Print what one inbox holds."""
    found = Api.of(home_at(folder)).get(f"/api/messages/inboxes/{quoted(agent_id)}")
    if as_json:
        print_json(found)
        return
    answers = f" and {found['answers']} answers" if found["answers"] else ""
    console().print(f"the inbox of {agent_id} holds {found['held']} messages{answers}: {found['state']}", soft_wrap=True)


def refused(folder: Path | None, *, limit: int, as_json: bool) -> None:
    """List messages that reached nobody."""
    page = Api.of(home_at(folder)).get("/api/messages/refused", limit=limit)
    print_page(
        {**page, "next": None},
        ["when", "why", "said to be from", "to", "message"],
        [[moment(one["at_ms"]), one["why"], one["sender"], one["recipient"], one["message_id"]] for one in page["items"]],
        as_json=as_json,
        nothing="no message was refused",
    )


def dead(folder: Path | None, *, limit: int, as_json: bool) -> None:
    """List messages that were handed out too often."""
    page = Api.of(home_at(folder)).get("/api/messages/dead", limit=limit)
    print_page(
        {**page, "next": None},
        ["when", "inbox", "handed out", "message"],
        [[moment(one["at_ms"]), one["inbox"], one["deliveries"], one["message_id"]] for one in page["items"]],
        as_json=as_json,
        nothing="no message is dead",
    )
