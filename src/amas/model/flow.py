"""Flows: graphs of tasks as programs and files declare them. A flow that was started is a workflow.

The same shapes are what `amas.Workflow` builds, what a YAML file says and what `POST /api/workflows` takes. They are checked by
`core.flow_check.problems` and turned into `SubTask`s by `core.flow.sub_tasks`; nothing else reads them.
"""

from typing import Literal

import msgspec

from amas.model.gate import GateSpec
from amas.model.limits import Amounts
from amas.model.task import DEFAULT_RETRY, Json, RetryPolicy

MAP_CAPABILITY = "amas.map"
FLOW_CAPABILITY = "amas.flow"
REPLAN_CAPABILITY = "amas.replan"
GATE_CAPABILITY = "amas.gate"
BUILT_IN = (MAP_CAPABILITY, FLOW_CAPABILITY, REPLAN_CAPABILITY, GATE_CAPABILITY)
"""What every host can do without a pool that says so."""
TIMER_CAPABILITY = "amas.timer"
SIGNAL_CAPABILITY = "amas.signal"
APPROVAL_CAPABILITY = "amas.approval"
ESCALATION_CAPABILITY = "amas.escalation"
"""Of a question that goes to a lead, whose `on_escalation` answers it."""

RESERVED_PREFIX = "amas/"
"""Keys that begin so are ours."""

Wait = Literal["all", "any"] | int
"""How many of its needs must succeed before a task runs."""
FlowFailure = Literal["fail", "skip", "replan"]
"""As `OnFailure`; `replan`: another capability is asked for a result or for other tasks instead."""

ITEM: Json = {"$": "item"}
"""In a map's input: the element. `{"$": "item.url"}` is a part of it."""


class MapOver(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One task for each element of a list that is known only at run time; the results are a list in the same order."""

    over: str
    """JMESPath over `input` and `needs` that gives the list: `needs.fetch.pages`."""
    capability: str
    input: Json = msgspec.field(default_factory=lambda: {"$": "item"})
    """Of each element's task; references see `item`, `index`, `input` and `needs`. Left out: the element itself."""
    on_failure: Literal["fail", "skip"] = "fail"
    """`fail`: the first element that fails for good fails the map. `skip`: null stands in its place."""
    enough: int = 0
    """So many successes are enough: the map ends with them, in order, and the rest is cancelled. 0: all elements count."""
    at_once: int = 0
    """Elements under way at a time; 0: as many as there are agents."""
    pool: str = ""
    timeout_s: float = 0.0
    retry: RetryPolicy = DEFAULT_RETRY
    concurrency: dict[str, int] = msgspec.field(default_factory=dict)
    """Keys, each with how many tasks that name it may run at once, in all workflows: `{"customer-42": 3}`."""
    provider: str = ""
    """Of each element: whose requests and tokens a minute it takes; empty takes the pool's."""
    estimate: Amounts | None = None
    """What one attempt takes; what isn't said is learned."""


class Replan(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Who is asked what to do when a task has failed for good."""

    capability: str
    """Gets `{"task", "failure", "round"}`; answers `{"result": ...}` or `{"tasks": [...], "output": key}`."""
    rounds: int = 1
    """How often it is asked at most."""


class Undo(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What takes a task's effects back when the workflow fails after it succeeded."""

    capability: str
    input: Json = None
    """Its `results` hold the task's result, under the task's key."""


class FlowTask(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One node of a flow. What it does is said by exactly one of `capability`, `map`, `flow`, `timer_s`, `signal`, `approval`."""

    key: str
    """Its name within the flow; results are known by it."""
    capability: str = ""
    map: MapOver | None = None
    flow: "Flow | None" = None
    """A flow within: runs as this task's sub-tasks; its result is that of its `output`, or all results by key."""
    timer_s: float = 0.0
    """Waits so many seconds, holding nothing."""
    signal: bool = False
    """Waits until somebody sends it a value, which is its result."""
    approval: str = ""
    """Waits until somebody approves or refuses; this is the question that they are asked."""

    input: Json = None
    needs: tuple[str, ...] = ()
    """Keys of the tasks before it, whose results it gets under those keys."""
    wait: Wait = "all"
    when: str = ""
    """A JMESPath condition over `input` and `needs`; when it is false the task succeeds with null and nothing runs."""
    on_failure: FlowFailure = "fail"
    replan: Replan | None = None
    undo: Undo | None = None
    gate: GateSpec | None = None
    """How its result is judged: then it is `{"result", "quality"}`, after as many rounds as it took."""
    title: str = ""
    pool: str = ""
    """Only this pool's agents may take it."""
    priority: int | None = None
    """None: the workflow's."""
    delay_s: float = 0.0
    """After its needs have ended."""
    timeout_s: float = 0.0
    """For one attempt; 0 takes the pool's."""
    deadline_s: float = 0.0
    """From the workflow's start, waiting included; 0 for none."""
    expires_s: float = 0.0
    """Of a signal or an approval, from when its needs have ended: it fails with `expired` when nobody has answered."""
    retry: RetryPolicy = DEFAULT_RETRY
    concurrency: dict[str, int] = msgspec.field(default_factory=dict)
    """Keys, each with how many tasks that name it may run at once, in all workflows: `{"customer-42": 3}`."""
    provider: str = ""
    """Whose requests and tokens a minute it takes; empty takes the pool's."""
    estimate: Amounts | None = None
    """What one attempt takes; what isn't said is learned."""


class Flow(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A graph of tasks."""

    name: str
    tasks: tuple[FlowTask, ...]
    output: str = ""
    """The key of the task whose result is the flow's; empty: the results of all, by key."""
