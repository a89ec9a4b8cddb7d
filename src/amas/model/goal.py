"""Goals, the plans that meet them, and the sub-tasks that agents spawn."""

from enum import StrEnum

import msgspec

from amas.model.gate import GateSpec
from amas.model.limits import Amounts
from amas.model.states import Layer, Priority
from amas.model.task import DEFAULT_RETRY, Json, OnFailure, RetryPolicy, TaskKind

ROOT_KEY = "goal"
"""The key of a goal's first task: the one that the executive layer runs and whose result is the deliverable."""

ROOT_CAPABILITY = "executive.coordinate"

CHOICE_S = 5.0
"""Seconds that a task waits for the agents that it would rather have: two looks of a host that no bell has told of it."""


class Goal(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody wants, in plain words, with what it is about. It is the input of the workflow's root task."""

    text: str
    input_dir: str = ""
    """An absolute path to the folder that the goal is about; empty when it is about none."""
    output_dir: str = ""
    """An absolute path where the deliverable goes; empty takes the fleet's own deliverables folder."""
    preferences: dict[str, Json] = msgspec.field(default_factory=dict)
    priority: int = int(Priority.NORMAL)
    deadline_s: float = 0.0
    """Seconds from submission; 0 takes the fleet's workflow time-out."""
    tenant: str = ""
    budget: Amounts | None = None
    """What all its tasks may spend; then its workflow ends as failed, with what it has by then."""


class Complexity(StrEnum):
    """How large a plan is: up to 5, 15 and 30 sub-tasks, and more."""

    SIMPLE = "simple"
    MODERATE = "moderate"
    COMPLEX = "complex"
    VERY_COMPLEX = "very_complex"


TITLE_CHARS_MAX = 200
"""As the API takes them. Every list shows titles, and agents make them of texts that others wrote."""


class SubTask(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a plan, or of an agent's own work; it gets a task id when it is spawned."""

    key: str
    """Unique among its siblings: `review`, `gate/review`, `security/src-core`."""
    capability: str
    input: Json = None
    needs: tuple[str, ...] = ()
    """Keys of siblings whose results it gets, under those keys."""
    title: str = ""
    """For people; the beginning of one that is longer than `TITLE_CHARS_MAX`."""
    layer: Layer | None = None
    priority: int = int(Priority.NORMAL)
    timeout_s: float = 0.0
    retry: RetryPolicy = DEFAULT_RETRY
    on_failure: OnFailure = "fail"
    delay_s: float = 0.0
    """After its needs have ended."""
    deadline_s: float = 0.0
    """From now, waiting included: it fails when it hasn't ended by then; 0 for none but its parent's."""
    pool: str = ""
    """Only this pool's agents may take it."""
    when: str = ""
    """A JMESPath condition over `input` and `needs`; when it is false the sub-task succeeds with null and nothing runs."""
    quorum: int = 0
    """How many of its needs must succeed; 0 for all."""
    kind: TaskKind = "work"
    expires_s: float = 0.0
    """Of a `signal`, from when its needs have ended: it fails with `expired` unless somebody sent it something; 0 for never."""
    undoes: str = ""
    """The key of the sibling whose effects it takes back when their workflow fails."""
    runs_after: tuple[str, ...] = ()
    """Keys of siblings that must have ended, like `needs`, but whose results it doesn't get."""
    inherits_needs: bool = False
    """Whether it gets the results that its parent got, too."""
    concurrency: dict[str, int] = msgspec.field(default_factory=dict)
    """Keys, each with how many tasks that name it may run at once: `{"customer-42": 3}`."""
    provider: str = ""
    """Whose requests and tokens a minute it takes; empty takes the pool's."""
    estimate: Amounts | None = None
    """What one attempt takes; what isn't said is learned."""
    prefer: tuple[str, ...] = ()
    """Agents that are to have it, by their ids; whoever is free where they don't come for it within `choice_s`."""
    avoid: tuple[str, ...] = ()
    """Agents that are not to have it, unless no other comes for it within `choice_s`. Of the two lists one can be said."""
    choice_s: float = CHOICE_S
    gate: GateSpec | None = None
    """How its result is judged: then it is `{"result", "quality"}`, after as many rounds as it took."""
    spawns: tuple[str, ...] = ()
    """Capabilities of which it is known to spawn at least one sub-task each; only the plan's estimate looks at them."""

    def __post_init__(self) -> None:
        if len(self.title) > TITLE_CHARS_MAX:
            msgspec.structs.force_setattr(self, "title", self.title[: TITLE_CHARS_MAX - 1] + "…")


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """What a plan takes at least, one attempt at each of its tasks."""

    total: Amounts
    """An amount that nobody declares stays None."""
    unknown: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    """For each amount (`usd`, `tokens`, `calls`, `agent_s`), the capabilities that don't say it and aren't in its sum."""
    critical_path: tuple[str, ...] = ()
    """Keys of the chain of tasks that takes longest: the goal can't be met sooner, however many agents there are."""
    critical_s: float | None = None
    """Seconds along it; None where nothing on it is declared."""


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """How a goal is to be met: a graph of sub-tasks, checked before it starts."""

    playbook: str
    complexity: Complexity
    tasks: tuple[SubTask, ...]
    deliverable: str
    """The key of the task whose result is the deliverable."""
    aside: tuple[str, ...] = ()
    """Keys of tasks that the deliverable does not need, on purpose."""
    joins: tuple[str, ...] = ()
    """Keys of tasks that put parts together: they and what needs them start when what was given up has been planned again."""
    notes: tuple[str, ...] = ()
    """What the planner understood and left out, in plain words."""
    estimate: Estimate | None = None
    """None until the plan was checked."""
    pools: dict[str, tuple[str, ...]] = msgspec.field(default_factory=dict)
    """By task, who it is assigned to: its pool, then one for each of `spawns`; empty until the plan was checked."""


class PlanChange(msgspec.Struct, frozen=True, kw_only=True):
    """What a re-plan changes in a plan; `core.replan.applied` makes the new plan of both."""

    tasks: tuple[SubTask, ...] = ()
    """To be done now; their needs are each other, and tasks that are done. Empty when there is no other way."""
    instead: dict[str, str] = msgspec.field(default_factory=dict)
    """The key of a task of the plan -> the key of the new one whose result stands in its place."""
    gone: tuple[str, ...] = ()
    """Keys of tasks that leave the plan without a successor."""
    deliverable: str = ""
    """Where it is another task's result than before."""
    notes: tuple[str, ...] = ()
    """What was learned and what is done about it, in plain words."""
