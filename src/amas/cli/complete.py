"""What a shell offers in the place of a name when the user presses tab: what the running fleet has, asked then.

Keeps true: whatever goes wrong, nothing is offered and nothing is said; the fleet has a second; and a shell, which evaluates what
it is offered, gets no character from what agents and their authors wrote that it might obey.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from amas.cli.api import Api

Offered = list[tuple[str, str]]
"""Names, each with a word on it."""
PATIENCE_S = 1.0
NEWEST = 30
"""Of workflows and tasks, which are more than anybody reads."""
POOLS_MAX, AGENTS_MAX = 5, 200
"""Of more pools than this the first agents alone are offered, and of one no more agents: who types on gets others."""
_NAME = re.compile(r"[A-Za-z0-9_.@/+-]+")
_OBEYED = re.compile(r"[^A-Za-z0-9_.,@/+ -]")
_WORDS_MAX = 50


def offers(path: str, name: str, *about: str, **query: object) -> Callable[[typer.Context, str], Offered]:
    """Return what offers the field `name` of each item of a list of the API, with the words of other fields."""

    def offered(api: "Api", _: str) -> Iterator[tuple[object, object]]:
        for item in api.get(path, **query)["items"]:
            yield _at(item, name), " ".join(str(_at(item, field)) for field in about)

    return _completes(offered)


def _at(item: Any, field: str) -> object:
    for part in field.split("."):
        item = (item or {}).get(part)
    return "" if item is None else item


def _completes(offered: Callable[["Api", str], Iterable[tuple[object, object]]]) -> Callable[[typer.Context, str], Offered]:
    """Make what asks the API a completion as typer has it."""

    def complete(ctx: typer.Context, incomplete: str) -> Offered:
        from amas.cli.api import Api, home_at
        from amas.errors import AmasError

        try:
            found = list(offered(Api.of(home_at(ctx.params.get("home")), timeout_s=PATIENCE_S), incomplete))
        except AmasError:
            return []
        return [
            (str(name), " ".join(_OBEYED.sub(" ", str(words)).split())[:_WORDS_MAX])
            for name, words in found
            if _NAME.fullmatch(str(name)) and str(name).startswith(incomplete)
        ]

    return complete


def _pools(api: "Api", _: str) -> Iterator[tuple[object, object]]:
    for pool in api.get("/api/pools")["items"]:
        yield pool["pool"], f"{pool['agents']['total']} agents"


def _agents(api: "Api", incomplete: str) -> Iterator[tuple[object, object]]:
    found = [pool["pool"] for pool in api.get("/api/pools")["items"]]
    meant = [pool for pool in found if f"{pool}-".startswith(incomplete) or incomplete.startswith(f"{pool}-")]
    for pool in meant:
        if len(meant) > POOLS_MAX:
            yield f"{pool}-1", ""
            continue
        for agent in api.get("/api/agents", pool=pool, limit=AGENTS_MAX)["items"]:
            yield agent["agent_id"], agent["status"]


def _agents_or_pools(api: "Api", incomplete: str) -> Iterator[tuple[object, object]]:
    yield from _pools(api, incomplete)
    yield from _agents(api, incomplete)


def _hosts_pools_agents(api: "Api", incomplete: str) -> Iterator[tuple[object, object]]:
    yield from ((host["id"], "a host") for host in api.get("/api/hosts")["items"])
    yield from _agents_or_pools(api, incomplete)


def _works(api: "Api", incomplete: str) -> Iterator[tuple[object, object]]:
    yield from ((each["id"], _at(each, "goal.text")) for each in api.get("/api/workflows", limit=NEWEST)["items"])
    yield from ((each["id"], each["title"] or each["key"]) for each in api.get("/api/tasks", limit=NEWEST)["items"])


def _capabilities(api: "Api", _: str) -> Iterator[tuple[object, object]]:
    for pool in api.get("/api/pools")["items"]:
        yield from ((capability, pool["pool"]) for capability in pool["capabilities"])


pools, agents, agents_or_pools, hosts_pools_agents, works, capabilities = map(
    _completes, (_pools, _agents, _agents_or_pools, _hosts_pools_agents, _works, _capabilities)
)
hosts = offers("/api/hosts", "id")
workflows = offers("/api/workflows", "id", "goal.text", limit=NEWEST)
tasks = offers("/api/tasks", "id", "title", "key", "state", limit=NEWEST)
approvals = offers("/api/approvals", "task_id", "question")
dead_letters = offers("/api/dead-letters", "task_id", "capability", limit=NEWEST)
schedules = offers("/api/schedules", "schedule.name", "schedule.cron")
runbooks = offers("/api/runbooks", "name", "title")
runs = offers("/api/runbook-runs", "id", "book.name", limit=NEWEST)
webhooks = offers("/api/webhooks", "id", "url")
keys = offers("/api/keys", "prefix", "name")
breakers = offers("/api/breakers", "name", "state")
quarantined = offers("/api/quarantine", "agent_id", "why")


def one_of(*words: str) -> Callable[[str], list[str]]:
    """Return what offers these words."""

    def offered(incomplete: str) -> list[str]:
        return [word for word in words if word.startswith(incomplete)]

    return offered


def fleets(incomplete: str) -> list[str]:
    """Offer the fleets that ship with amas; a path is completed by the shell."""
    from amas.model.yamlfile import shipped_folder

    return [path.stem for path in sorted(shipped_folder("fleets").glob("*.yaml")) if path.stem.startswith(incomplete)]
