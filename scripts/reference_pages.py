"""Write docs/commands.md, problems.md, routes.md and settings.md from the code, which alone says it; a test holds them to it.

python scripts/reference_pages.py
"""

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import typer
from fastapi.routing import APIRoute

from amas import errors, settings
from amas.cli.groups import SECTIONS, ShowFirst
from amas.cli.main import app
from amas.server import routes
from amas.server.access import rule_for
from amas.server.contract import SHAPES
from amas.server.problems import STATUS
from amas.variables import Field, Settings

ROOT = Path(__file__).parents[1]
SERVER = ROOT / "src" / "amas" / "server"

REFUSED = {
    "agent_elsewhere": "The agent runs elsewhere: restart or end it there.",
    "agent_foreign": "An agent with a token of its own can register itself alone.",
    "agent_stopped": "The agent is killed, or in quarantine: it writes to nobody until that is lifted.",
    "body_malformed": "The body can't be read: it is cut off, nested too deeply, or not of its media type.",
    "body_too_large": "The body is larger than 32 MiB: send fewer tasks at a time.",
    "capability_refused": "Agents that run elsewhere may not take tasks of this capability.",
    "cursor_invalid": "The cursor isn't one that a page of this list gave: take `next` as it came.",
    "file_unknown": "The deliverable has no such file.",
    "fleet_invalid": "The fleet isn't sound; `errors` has each mistake.",
    "folder_refused": "A tenant names files that came with its goals, and no other folder of the fleet's machine.",
    "headers_too_large": "The headers are larger than 32 KiB together.",
    "host_refused": "On loopback only `localhost` and its addresses are answered; the `Host` header names something else.",
    "host_unknown": "There is no such host.",
    "http_error": "The request isn't HTTP as this server takes it.",
    "in_rollout": "The agent stands for a version that is being rolled out: abort the roll-out instead.",
    "input_too_large": "A goal's files are too many or too large: put them into a folder on the fleet's machine and name that.",
    "input_unknown": "There is no such folder for a goal's files: ask for one first.",
    "inputs_elsewhere": "Agents run on other machines and couldn't read the files: name a folder that they share.",
    "inputs_full": "4 GiB of goals' files are kept, or 1 GiB or 1000 folders of a tenant's: remove folders that no goal needs.",
    "internal_error": "A fault of amas: the control plane's log says what.",
    "key_refused": "The key opens nothing: it is wrong, expired or revoked.",
    "media_type_unknown": "The body's `Content-Type` isn't one that this route takes; the answer names them.",
    "method_unknown": "The path doesn't take this method; `Allow` names those that it takes.",
    "not_ready": "The engine, the records or all hosts are away; `errors` says which.",
    "oidc_off": "People sign in here with API keys: no provider is set.",
    "origin_refused": "A web page of another origin may not use this server.",
    "pool_not_scaled": "The size of this pool follows nothing.",
    "profile_running": "A profile is being made already.",
    "remote_off": "This fleet lets in no agents that run elsewhere.",
    "request_invalid": "The request breaks the contract; `errors` says where (`pointer` in the body, or `parameter`).",
    "request_overdue": "The body came too slowly: send it again, or in smaller parts.",
    "revision_unknown": "The revision brought no fleet that is kept.",
    "role_insufficient": "The caller's role, scopes or tenant don't allow this.",
    "route_unknown": "There is no such path.",
    "secret_refused": "A tenant's caller may not name variables of the control plane as a webhook's secret.",
    "session_token_needed": "Send the token that came when the session was registered.",
    "session_unknown": "There is no such session (any more): register anew.",
    "steps_full": "The task has as many steps as it may, in number or in bytes: make one of several.",
    "streams_full": "As many streams are open as there may be: close one.",
    "task_foreign": "The task is run by another session.",
    "tenant_refused": "The caller works for another tenant.",
    "token_needed": "Send an API key or the fleet's token as `Authorization: Bearer`.",
    "waits_full": "A session waits for work, or an agent for mail, as often as it may: one of each at a time is enough.",
    "webhook_url_refused": "Webhooks may not lead to this address.",
}
"""What the API refuses by itself, by code; the other codes are those of `amas.errors`."""

PROBLEMS = """\
# Problems

Every error of the REST API is a problem (RFC 9457, `application/problem+json`). Its `type` is `urn:amas:problem:` and one of
these codes, which stay as they are; `code` has it alone, `detail` says in a sentence what is wrong and what to do, and `errors`
where, if the request is at fault. 429 and 503 carry `Retry-After`: the same request may do later. `amas.rest` raises them by
their status ([api.md](api.md#from-python)), programs in the fleet as the errors of `amas.errors` with the same codes.

This page is written by `python scripts/reference_pages.py`.

| status | code | what it means |
|---|---|---|
"""
SETTINGS = """\
# Settings

The environment variables that amas reads, each checked at start: one that can't be taken is named with what it may be, before
anything runs. An empty one counts as not set. Secrets may be references, such as `env:NAME` or
`file:/path` ([secrets.md](secrets.md)).

What a fleet file may say is in [fleet-files.md](fleet-files.md). This page is written by `python scripts/reference_pages.py`.

Besides these, commands and `amas.rest` read `AMAS_URL`, a control plane elsewhere that they are for, and commands
`AMAS_TLS_CLIENT`, the certificate that they show ([access.md](access.md)); secrets in Vault are reached as
[secrets.md](secrets.md) says. Some settings need more packages: `pip install 'amas[postgres]'` for a history in PostgreSQL,
`[s3]` for large values in S3, `[models]` for a language model, `[tracing]` for OpenTelemetry.
"""
COMMANDS = """\
# Commands

Every command of `amas` with its options, by what they are for. Most also take `--home PATH` (the fleet's data folder, by
default AMAS_HOME), `--json` (one document for programs) and `--help`; what these print is in [terminal.md](terminal.md). With
`AMAS_URL` set they ask a fleet elsewhere ([access.md](access.md#from-the-command-line)).

This page is written by `python scripts/reference_pages.py`.
"""
ROUTES = """\
# Routes

Every operation of the REST API, with what it takes: a query (`?limit`), the fields of a body in JSON; what must be said is in
bold. `/openapi.json` of a running fleet has types, bounds, answers and examples; [api.md](api.md) has what holds for all, and
[access.md](access.md#roles) the roles. `*`: callers of a tenant may use it, too, and see and change what is theirs.

This page is written by `python scripts/reference_pages.py`.
"""
WHO = {
    "open": "anybody",
    "greet": "anybody",
    "session": "a session",
    "join": "agent",
    "look": "viewer",
    "work": "operator",
    "operate": "operator",
    "administer": "system-admin",
}
"""The least role that has a right; who may do more has it, too."""
EVERYWHERE = frozenset({"home", "as_json", "json", "help"})
"""Options that nearly every command takes."""


class Row(NamedTuple):
    """A problem."""

    status: int
    code: str
    says: str


def raised() -> Iterator[Row]:
    """Yield what stands for the errors of the tree, as far as a request can meet them."""
    for kind in vars(errors).values():
        if inspect.isclass(kind) and issubclass(kind, errors.AmasError):
            status = next((status for wide, status in STATUS if issubclass(kind, wide)), 0)
            if status:
                yield Row(status, kind.code, _prose((kind.__doc__ or "").partition("\n\n")[0]))
    yield Row(412, errors.DesiredChanged.code, "The same, of what `If-Match` names.")


def refused() -> Iterator[Row]:
    """Yield what the server's own modules refuse."""
    for path in SERVER.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and (found := _refusal(node)) is not None:
                yield Row(*found, REFUSED[found[1]])
    for status, code in ((404, "route_unknown"), (405, "method_unknown"), (422, "request_invalid"), (400, "http_error")):
        yield Row(status, code, REFUSED[code])


def _refusal(call: ast.Call) -> tuple[int, str] | None:
    """Return the status and code that a call refuses with; None for other calls, and codes that aren't written out."""
    name = call.func.id if isinstance(call.func, ast.Name) else ""
    given: dict[str | None, Any] = {each.arg: each.value.value for each in call.keywords if isinstance(each.value, ast.Constant)}
    if name == "problem" and all(isinstance(each, ast.Constant) for each in call.args[:2]):
        status, code = (each.value for each in call.args[:2] if isinstance(each, ast.Constant))
        return int(str(status)), str(code)
    return (int(given.get("status", 422)), str(given["code"])) if name == "Refusal" and "code" in given else None


def problems_page() -> str:
    """Return docs/problems.md."""
    rows = sorted({*raised(), *refused()})
    return PROBLEMS + "".join(f"| {row.status} | `{row.code}` | {row.says} |\n" for row in rows)


def settings_page() -> str:
    """Return docs/settings.md."""
    return SETTINGS + "".join(_group(group) for group in _groups())


def commands_page() -> str:
    """Return docs/commands.md."""
    command: Any = typer.main.get_command(app)
    return COMMANDS + "".join(
        f"\n## {title}\n\n| command | does | options |\n|---|---|---|\n"
        + "".join(_command_row(each, path) for name in names for path, each in _below(command.commands[name], f"amas {name}"))
        for title, names in SECTIONS.items()
    )


def _below(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """Yield a command, or those of a group; the one that may be left out is called as the group is."""
    if not hasattr(command, "commands"):
        yield path, command
        return
    for name, each in command.commands.items():
        if not each.hidden:
            left_out = name == "show" and isinstance(command, ShowFirst)
            yield from _below(each, path if left_out else f"{path} {name}")


def _command_row(command: Any, path: str) -> str:
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    words = [_argument(each) if each.required else f"[{_argument(each)}]" for each in arguments]
    options = [
        each for each in command.params if each.param_type_name == "option" and each.name not in EVERYWHERE and not each.hidden
    ]
    words += [f"{_long(each)} {each.name.upper()}" for each in options if each.required]
    told = "<br>".join(f"`{_long(each)}` {_option(each.help)}" for each in options)
    return f"| `{' '.join([path, *words])}` | {_bar(_prose(command.help))} | {told} |\n"


def _argument(argument: Any) -> str:
    """Return what stands for an argument; one that may name several things is called by its own name."""
    return str(argument.name if "|" in (argument.metavar or "|") else argument.metavar).upper()


def _long(option: Any) -> str:
    return str(max(option.opts, key=len))


def _option(about: str | None) -> str:
    return _bar(_prose(about)).rstrip(".")


def routes_page() -> str:
    """Return docs/routes.md."""
    found: dict[str, list[str]] = {}
    for route in _api_routes():
        for method in sorted(route.methods):
            rule = rule_for(method, route.path)
            who = WHO[rule.right] + (" *" if rule.tenants and rule.right in ("look", "work") else "")
            row = f"| `{method} {route.path.replace(':path', '')}` | {route.summary} | {_taken(route)} | {who} |\n"
            found.setdefault(str((route.tags or [rule.area])[0]), []).append(row)
    head = "| route | does | takes | who |\n|---|---|---|---|\n"
    return ROUTES + "".join(f"\n## {area.capitalize()}\n\n{head}{''.join(rows)}" for area, rows in sorted(found.items()))


def _api_routes() -> Iterator[APIRoute]:
    for module in sorted(each.name for each in pkgutil.iter_modules(routes.__path__)):
        router = getattr(importlib.import_module(f"{routes.__name__}.{module}"), "router", None)
        for route in router.routes if router else ():
            if isinstance(route, APIRoute) and route.include_in_schema:
                yield route


def _taken(route: APIRoute) -> str:
    """Return what stands in the query and in the body."""
    query = [f"`?{each.alias}`" for each in route.dependant.query_params]
    bodies = (route.openapi_extra or {}).get("requestBody", {}).get("content", {})
    schema = bodies.get("application/json", {}).get("schema", {})
    listed = schema.get("type") == "array"
    name = (schema.get("items", {}) if listed else schema).get("$ref", "").rpartition("/")[2]
    if name:
        fields = ", ".join(_fields(SHAPES[name]))
        query.append(f"a list of: {fields}" if listed else fields)
    elif bodies:
        query.append("the file" if "application/octet-stream" in bodies else f"`{next(iter(bodies))}`")
    return ", ".join(query)


def _fields(shape: Any) -> Iterator[str]:
    for field in msgspec.structs.fields(shape):
        yield f"**`{field.encode_name}`**" if field.required else f"`{field.encode_name}`"


def _groups() -> list[type[Settings]]:
    return [each for each in vars(settings).values() if inspect.isclass(each) and Settings in each.__bases__]


def _group(group: type[Settings]) -> str:
    title = re.sub(r"(?<!^)(?=[A-Z])", " ", group.__name__.removesuffix("Settings")).capitalize()
    head = f"\n## {title}\n\n{_prose(group.__doc__)}\n\n| variable | may be | default | why |\n|---|---|---|---|\n"
    why = _reasons(group)
    return head + "".join(f"| {' | '.join(_cells(field, why.get(field.name, '')))} |\n" for field in group.fields())


def _cells(field: Field, why: str) -> tuple[str, ...]:
    return f"`{field.variable.name}`", _bar(field.wanted), _default(field.default), _bar(why)


def _default(value: Any) -> str:
    if value in (None, ""):
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.15g}" if isinstance(value, int | float) else f"`{value}`"


def _reasons(group: type[Settings]) -> dict[str, str]:
    """Return what stands below each field."""
    (body,) = (node.body for node in ast.parse(inspect.getsource(group)).body if isinstance(node, ast.ClassDef))
    found = {}
    for field, text in pairwise(body):
        if isinstance(field, ast.AnnAssign) and isinstance(field.target, ast.Name) and isinstance(text, ast.Expr):
            found[field.target.id] = _prose(ast.literal_eval(text.value))
    return found


def _prose(text: str | None) -> str:
    """Return a docstring in one line, without the requirements that it names."""
    return re.sub(
        r"^[A-Z]\d+(, and what goes with it)?: (\w)| \([A-Z]\d+\)", lambda m: (m[2] or "").upper(), " ".join((text or "").split())
    )


def _bar(text: str) -> str:
    return text.replace("|", "\\|")


PAGES = {"commands.md": commands_page, "problems.md": problems_page, "routes.md": routes_page, "settings.md": settings_page}


def main() -> None:
    """Write the pages."""
    for name, page in PAGES.items():
        (ROOT / "docs" / name).write_text(page())


if __name__ == "__main__":
    main()
