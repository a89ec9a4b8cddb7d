"""`amas.Workflow`: a graph of tasks, built in Python.

    flow = Workflow("nightly")
    pages = flow.task("fetch", "web.fetch", {"url": "https://example.org"})
    each = flow.map("summarise", over=pages, capability="text.summary")
    flow.task("merge", "text.merge", needs=[each], when="needs.summarise != `[]`")
    handle = await fleet.start(flow)

It only gathers what is said: `Fleet.start` checks all of it, with one sentence for each mistake, before anything is stored.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from amas.core.flow_check import check
from amas.errors import FlowInvalid
from amas.model.flow import ITEM, Flow, FlowTask, MapOver, Replan, Undo
from amas.model.task import Json


class Node:
    """A task of a flow that is being built; other tasks name it as what they need."""

    __slots__ = ("key",)

    def __init__(self, key: str) -> None:
        self.key = key

    def __repr__(self) -> str:
        return f"Node({self.key!r})"


class Workflow:
    """A flow that is being built. Every method that adds a task takes its key first and returns its node."""

    def __init__(self, name: str, *, output: "Node | str" = "") -> None:
        """`output`: the task whose result is the workflow's; by default the results of all, by key."""
        self.name = name
        self.output: Node | str = output
        self._tasks: list[FlowTask] = []

    def task(self, key: str, capability: str, input: Json = None, **options: Any) -> Node:  # noqa: A002  the field's name
        """Add work for an agent that can do `capability`.

        `options` are `FlowTask`'s fields: `needs` (nodes or keys), `wait`, `when`, `on_failure`, `undo`, `replan`, `priority`,
        `delay_s`, `timeout_s`, `deadline_s`, `retry`, `pool`, `title`, `concurrency`, `provider`, `estimate`. `undo` is
        `(capability, input)` or `Undo`, and `replan` a capability or `Replan`.
        """
        return self._add(key, options, capability=capability, input=input)

    def map(
        self,
        key: str,
        *,
        over: "Node | str | list[Json]",
        capability: str,
        input: Json = ITEM,  # noqa: A002  the field's name
        **options: Any,
    ) -> Node:
        """Add one task for each element of a list that is known only at run time; the result is the list of their results.

        `over`: the task whose result is the list, JMESPath over `needs` that gives it, or the list. `input` is each element's,
        with `{"$": "item.url"}` for a part of it. `options` may have `MapOver`'s fields too: `enough`, `at_once`, and
        `on_failure`, which here is the elements': `fail` or `skip`.
        """
        needs = list(_many(options.pop("needs", ())))
        if isinstance(over, Node):
            if over.key not in map(_key, needs):
                needs.append(over)
            over = f"needs.{_quoted(over.key)}"
        elif isinstance(over, list):
            options["input"], over = over, "input"
        given = {name: options.pop(name) for name in _OF_MAP if name in options}
        mapped = MapOver(over=over, capability=capability, input=input, **given)
        return self._add(key, {**options, "needs": needs}, map=mapped)

    def sub(self, key: str, flow: "Workflow", **options: Any) -> Node:
        """Add a flow within this one: its tasks are this task's sub-tasks, and its result this task's."""
        return self._add(key, options, flow=flow.built())

    def timer(self, key: str, delay_s: float, **options: Any) -> Node:
        """Add a wait of `delay_s` seconds after its needs; it holds nothing."""
        return self._add(key, options, timer_s=delay_s)

    def signal(self, key: str, *, expires_s: float = 0.0, **options: Any) -> Node:
        """Add a wait for a value that somebody sends (`handle.signal(key, value)`); it is the result."""
        return self._add(key, options, signal=True, expires_s=expires_s)

    def approval(self, key: str, question: str = "", *, expires_s: float = 0.0, **options: Any) -> Node:
        """Add a wait for a person's word; refused, or unanswered after `expires_s` seconds, it fails."""
        return self._add(key, options, approval=question or f"{self.name}: {key}?", expires_s=expires_s)

    def built(self) -> Flow:
        """Return the flow as it stands."""
        return Flow(name=self.name, tasks=tuple(self._tasks), output=_key(self.output))

    def check(self, capabilities: Sequence[str] | None = None) -> None:
        """Raise `FlowInvalid` with every mistake; `capabilities`: what the fleet can do, where that is to be checked too."""
        check(self.built(), capabilities=capabilities)

    def _add(self, key: str, options: dict[str, Any], **does: Any) -> Node:
        said = dict(options)
        unknown = said.keys() - _FIELDS
        if unknown:
            raise FlowInvalid(self.name, [f"task {key!r}: there is no option {sorted(unknown)[0]!r}"])
        said["needs"] = tuple(_key(need) for need in _many(said.get("needs", ())))
        if isinstance(said.get("undo"), tuple):
            said["undo"] = Undo(capability=said["undo"][0], input=said["undo"][1] if len(said["undo"]) > 1 else None)
        if isinstance(said.get("replan"), str):
            said["replan"] = Replan(capability=said["replan"])
        if said.get("replan") is not None:
            said.setdefault("on_failure", "replan")
        try:
            self._tasks.append(msgspec.convert({"key": key, **said, **does}, FlowTask))
        except msgspec.ValidationError as error:
            raise FlowInvalid(self.name, [f"task {key!r}: {error}"]) from error
        return Node(key)


_FIELDS = frozenset(FlowTask.__struct_fields__) - {"key", "capability", "map", "flow", "timer_s", "signal", "approval"}
_OF_MAP = ("on_failure", "enough", "at_once", "pool", "timeout_s", "retry", "concurrency", "provider", "estimate")


def _many(needs: "Node | str | Iterable[Node | str]") -> "Iterable[Node | str]":
    return (needs,) if isinstance(needs, Node | str) else needs


def _key(need: "Node | str") -> str:
    return need.key if isinstance(need, Node) else need


def _quoted(key: str) -> str:
    """Return a key as JMESPath names it."""
    return msgspec.json.encode(key).decode()
