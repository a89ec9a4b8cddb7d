"""`amas webhooks`: through the API of the running fleet."""

from pathlib import Path
from typing import Any

from amas.cli.api import Api, home_at, quoted
from amas.cli.exit import ExitCode
from amas.cli.output import console, harmless, moment, print_json, remark, short
from amas.cli.tree import table
from amas.errors import WebhookUnknown


def show(folder: Path | None, *, as_json: bool) -> None:
    """List webhooks."""
    found = Api.of(home_at(folder)).all("/api/webhooks")["items"]
    if as_json:
        print_json({"items": found})
    elif not found:
        console().print("no webhook is registered: `amas webhooks add URL`")
    else:
        rows = [
            [
                short(each["id"]),
                each["state"],
                each["url"],
                ", ".join(each["events"]),
                each["tenant"],
                each["told"],
                each["waiting"],
                each["given_up"],
                moment(each["last_ms"]),
                each["error"],
            ]
            for each in found
        ]
        columns = ["id", "", "url", "events", "tenant", "told", "waiting", "given up", "last", "error"]
        console().print(table("", columns, rows))


def add(url: str, events: list[str], folder: Path | None, *, said: dict[str, str], as_json: bool) -> None:
    """Register a webhook and print its secret."""
    body: dict[str, Any] = {"url": url, **{name: value for name, value in said.items() if value}}
    made = Api.of(home_at(folder)).post("/api/webhooks", {**body, **({"events": events} if events else {})})
    if as_json:
        print_json(made)
        return
    if made["secret"]:
        print(harmless(made["secret"]))
    remark(f"webhook {short(made['id'])}: {', '.join(made['events'])}")


def test(webhook: str, folder: Path | None, *, as_json: bool) -> None:
    """Post a test event; exits with 3 where it didn't arrive."""
    api = Api.of(home_at(folder))
    found = api.post(f"{_path(api, webhook)}/test")
    if as_json:
        print_json(found)
    elif found["delivered"]:
        console().print(f"it has got the event {found['event_id']}")
    else:
        console().print(f"it hasn't got it: {found['error'] or 'nobody has tried yet; does a control plane lead?'}", markup=False)
    if not found["delivered"]:
        raise SystemExit(ExitCode.UNUSABLE)


def missed(webhook: str, folder: Path | None, *, as_json: bool) -> None:
    """List what was given up."""
    api = Api.of(home_at(folder))
    found = api.all(f"{_path(api, webhook)}/events", limit=1000)["items"]
    if as_json:
        print_json({"items": found})
    elif not found:
        console().print("nothing was given up")
    else:
        rows = [[moment(each["at_ms"]), each["type"], each["subject"], each["tries"], each["error"]] for each in found]
        console().print(table("", ["at", "event", "about", "tries", "error"], rows))


def resend(webhook: str, folder: Path | None, *, as_json: bool) -> None:
    """Send again what was given up."""
    api = Api.of(home_at(folder))
    path = _path(api, webhook)
    api.post(f"{path}/enable")
    found = api.post(f"{path}/resend")
    if as_json:
        print_json(found)
    else:
        console().print(f"{found['count']} events are tried anew")


def remove(webhook: str, folder: Path | None, *, as_json: bool) -> None:
    """Forget a webhook."""
    api = Api.of(home_at(folder))
    gone = api.delete(_path(api, webhook))
    if as_json:
        print_json(gone)
    else:
        console().print(f"{gone['url']} is told nothing any more", markup=False)


def _path(api: Api, webhook: str) -> str:
    """Return the address of a webhook of which the end of its id is known; WebhookUnknown where that isn't one's alone."""
    found = [each["id"] for each in api.all("/api/webhooks")["items"] if each["id"].endswith(webhook)]
    if len(found) != 1:
        how_many = "several webhooks' ids end" if found else "no webhook's id ends"
        raise WebhookUnknown(f"{how_many} in {webhook!r}: `amas webhooks` lists them")
    return f"/api/webhooks/{quoted(found[0])}"
