"""The model planner: a language model proposes how to meet a goal, as a playbook's parts or as a graph of its own.

Nothing that the model says is trusted: its draft becomes a plan only when `core.plan.problems` finds nothing, and what is wrong
goes back to it, `REPAIRS` times at most. Where it can't (no answer, no time, no sound plan), the rules planner does it, and the
plan's notes say why. Within a task, its requests are journaled steps, announced to the goal's budget before they are sent
(`agents/model_calls.py`): a coordinator that is killed asks nothing twice, and a goal with too little money is planned by rules.
Loaded on first use, because pydantic-ai takes a second; made by `coordinator.planner`. It runs nothing.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any, Generic, NamedTuple, TypeVar

import msgspec
from pydantic import BaseModel, Field, create_model
from pydantic_ai import Agent, ModelRetry, NativeOutput
from pydantic_ai.exceptions import AgentRunError, ModelAPIError, ModelHTTPError, UserError
from pydantic_ai.models import Model
from pydantic_ai.settings import ModelSettings as CallSettings

from amas.agents.context import Context
from amas.agents.model_calls import HTTP_SERVER_ERROR, JournaledModel, Priced
from amas.agents.named_model import model_of
from amas.core.estimate import estimated
from amas.core.plan import graded, problems
from amas.core.replan import applied, fallen, part_of
from amas.errors import BudgetExhausted, GiveUp, GoalError, InputUnusable, NoPlaybook, NotAllowed
from amas.model.goal import ROOT_CAPABILITY, Goal, Plan, PlanChange, SubTask
from amas.model.states import Layer
from amas.model.task import Json
from amas.orchestration.decomposer import playbook_plan, rules_plan
from amas.orchestration.planner import FleetFacts, Setback
from amas.orchestration.playbooks import Playbook
from amas.orchestration.replanning import rules_change
from amas.settings import ModelSettings

REPAIRS = 2
"""Rounds in which the model may mend its plan; one that three tries didn't make sound won't be by the fourth."""
PAUSES_S = (0.5, 2.0)
"""Before another try when the model's server is busy or down; what it answered before isn't asked again."""
BUSY = 429
SHARE_OF_TIME = 0.9
"""Of the time for planning that the model gets: the rules planner needs the rest, which is milliseconds, when it fails."""
BY_MODEL = "model"
"""In the place of a playbook's name: the model made the graph itself."""
_REASON_CHARS_MAX = 300
_UNPLANNED = (AgentRunError, UserError, ImportError, GiveUp, BudgetExhausted, NotAllowed)
"""Why a model makes no plan; the rules planner needs neither a provider nor money."""
_RESULT_CHARS_MAX = 600
"""Of each result that the model sees when it plans again: enough to know what there is, and fifty of them fit any prompt."""

Said = TypeVar("Said", bound=BaseModel)
Made = TypeVar("Made")


class DraftTask(BaseModel):
    """A task as the model writes it."""

    key: str = Field(description="short and unique, such as summary")
    capability: str = Field(description="one of the capabilities, exactly as it is written")
    instruction: str = Field(default="", description="what this task is to do")
    needs: list[str] = Field(default=[], description="keys of the tasks whose results it gets")


class Draft(BaseModel):
    """Either `playbook` with `use`, or `tasks` with `deliverable`."""

    playbook: str = Field(default="", description="a playbook's name, or empty")
    use: list[str] = Field(default=[], description="with a playbook: those of its capabilities that the goal asks for")
    tasks: list[DraftTask] = Field(default=[], description="without a playbook: the graph")
    deliverable: str = Field(default="", description="without a playbook: the key of the last task, whose result is handed over")


class Other(BaseModel):
    """What is to do the work of a capability that failed."""

    failed: str = Field(description="the capability that failed")
    capability: str = Field(description="another capability that gives the same output, exactly as it is written")


class Mend(BaseModel):
    """`tasks` in the place of what failed, or, in a playbook's plan, `instead`."""

    instead: list[Other] = Field(default=[], description="in a playbook's plan: what does the work of capabilities that failed")
    tasks: list[DraftTask] = Field(
        default=[], description="in a graph: new tasks; they may need tasks that are done, by their keys"
    )
    deliverable: str = Field(default="", description="in a graph: the key of the new task whose result is handed over")


def _offered(facts: FleetFacts) -> type[Draft]:
    """Return `Draft` with a schema that names what this fleet has: a server which holds its model to it allows no other words.

    Only the schema is narrower: what a model says all the same is judged as ever, in sentences that it can mend.
    """
    task = DraftTask.model_json_schema()
    task["properties"]["capability"]["enum"] = _free(facts)
    parts = sorted(
        {work.capability for book in facts.playbooks for phase in book.phases for work in phase.work} & facts.capabilities
    )

    def narrow(schema: dict[str, Any]) -> None:
        given = schema["properties"]
        given["playbook"]["enum"] = [*(book.name for book in facts.playbooks), *([""] if _free(facts) else [])]
        given["use"] |= {"items": {"type": "string", "enum": parts}, "maxItems": len(parts)}
        given["tasks"] |= {"items": task, "maxItems": facts.limits.max_subtasks}
        schema |= {"title": Draft.__name__, "required": ["playbook", "use"]}
        if not _free(facts):
            del given["tasks"], given["deliverable"]

    return create_model("Draft", __base__=Draft, __config__=None, __cls_kwargs__={"json_schema_extra": narrow})


class ModelPlanner:
    """Plans with a model, and by rules where the model can't; `task` journals the requests and pays for them."""

    def __init__(self, settings: ModelSettings, task: Context | None = None) -> None:
        self._settings, self._task = settings, task

    async def plan(self, goal: Goal, facts: FleetFacts) -> Plan:
        """Return a plan for `goal`; a GoalError says why neither model nor rules have one."""
        plan, why = await self._in_time(self._by_model(goal, facts), facts)
        return plan or _by_rules(goal, facts, f"the model {self._settings.model} made no plan: {why}")

    async def replan(self, setback: Setback, facts: FleetFacts) -> PlanChange:
        """Return another way for what failed, by the model, else as the playbook declares it."""
        mended, why = await self._in_time(self._mended(setback, facts), facts)
        if mended is not None:
            return mended
        change = rules_change(setback, facts)
        note = f"planned again by rules, since the model {self._settings.model} made no plan: {why}"
        return msgspec.structs.replace(change, notes=(*change.notes, note))

    async def _in_time(self, making: Awaitable[Made], facts: FleetFacts) -> tuple[Made | None, str]:
        """Return what the model makes in its share of the time, or why it made nothing."""
        limit_s = facts.limits.decomposition_timeout_s * SHARE_OF_TIME
        try:
            async with asyncio.timeout(limit_s):
                return await making, ""
        except TimeoutError:
            return None, f"it took longer than {limit_s:g} s"
        except _UNPLANNED as error:
            return None, _reason(error)

    async def _mended(self, setback: Setback, facts: FleetFacts) -> PlanChange:
        def judge(mend: Mend) -> tuple[list[str], PlanChange | None]:
            return mended(mend, setback, facts)

        asking = _Asking(Mend, judge, mend_prompt(setback, facts), _request(setback.goal), f"replan-{setback.number}")
        change, _ = await self._asked(asking)
        return msgspec.structs.replace(change, notes=(*change.notes, f"planned again by the model {self._settings.model}"))

    async def _by_model(self, goal: Goal, facts: FleetFacts) -> Plan:
        def judge(draft: Draft) -> tuple[list[str], Plan | None]:
            return judged(draft, goal, facts)

        plan, rounds = await self._asked(_Asking(_offered(facts), judge, prompt(facts), _request(goal), "plan"))
        refused = f", after {rounds - 1} of its plans were refused" if rounds > 1 else ""
        return _noted(plan, f"planned by the model {self._settings.model}{refused}")

    async def _asked(self, asking: "_Asking[Said, Made]") -> tuple[Made, int]:
        """Return what the judge makes of an answer in which it finds nothing wrong, and how many requests that took."""
        model = model_of(self._settings)
        async with model.model:  # closes its connections
            for pause_s in PAUSES_S:
                try:
                    return await self._once(asking, self._paid(model, asking.steps))
                except ModelAPIError as error:
                    if not _passing(error):
                        raise
                    await asyncio.sleep(max(pause_s, getattr(error, "retry_after", None) or 0.0))
            return await self._once(asking, self._paid(model, asking.steps))

    def _paid(self, model: Priced, steps: str) -> Model:
        return model.model if self._task is None else JournaledModel([model], self._task, steps=steps)

    async def _once(self, asking: "_Asking[Said, Made]", model: Model) -> tuple[Made, int]:
        native = model.profile.get("supports_json_schema_output", False)
        agent = Agent(
            model,
            output_type=NativeOutput(asking.kind) if native else asking.kind,
            retries=REPAIRS,
            instructions=asking.prompt,
            model_settings=CallSettings(max_tokens=self._settings.answer_tokens_max, max_retries=0),  # none that isn't announced
        )
        plans: list[Made] = []

        @agent.output_validator
        def sound(said: Said) -> Said:
            found, plan = asking.judge(said)
            if plan is None or found:
                raise ModelRetry("this plan can't run: " + "; ".join(found) + ". Answer with the whole plan, mended.")
            plans.append(plan)
            return said

        result = await agent.run(asking.request)
        return plans[-1], result.usage.requests


class _Asking(NamedTuple, Generic[Said, Made]):
    """What the model is asked for."""

    kind: type[Said]
    judge: Callable[[Said], tuple[list[str], Made | None]]
    prompt: str
    request: str
    steps: str
    """What the names of its journaled requests begin with."""


def _passing(error: ModelAPIError) -> bool:
    """Return whether the same request may be answered a moment later."""
    return not isinstance(error, ModelHTTPError) or error.status_code == BUSY or error.status_code >= HTTP_SERVER_ERROR


def prompt(facts: FleetFacts) -> str:
    """Return what the model must know of the fleet."""
    free = "\n".join(f"- {each}" for each in _free(facts)) or "- none: use a playbook"
    books = "\n".join(_described(each, facts) for each in facts.playbooks) or "none"
    return (
        "You plan how a team of agents meets a goal. Answer with a plan only; you carry nothing out.\n"
        "If a playbook covers the goal, answer with its name in `playbook`, and in `use` the capabilities of it to use.\n"
        "Otherwise answer with `tasks`: a graph without cycles, in which every task is needed by another or is the deliverable.\n"
        f"At most {facts.limits.max_subtasks} tasks; as few as will do. Never invent capabilities or playbooks.\n\n"
        f"Capabilities for `tasks`:\n{free}\n\nPlaybooks:\n{books}"
    )


def mend_prompt(setback: Setback, facts: FleetFacts) -> str:
    """Return what the model must know to plan again what failed."""
    free = "\n".join(f"- {each}" for each in _free(facts)) or "- none"
    lines = []
    for task in setback.plan.tasks:
        outcome = setback.outcomes.get(task.key)
        if outcome is None or task in setback.given_up:
            continue
        said = outcome.failure.message if outcome.failure else msgspec.json.encode(outcome.result).decode()
        state = "failed" if outcome.failure else "done"
        lines.append(f"- {task.key} ({task.capability}): {state}: {said[:_RESULT_CHARS_MAX]}")
    for gate in setback.given_up:
        part = part_of(setback.outcomes[gate.key]) or {"missing": []}
        lacks = dict.fromkeys(f"{each['capability']}: {each['reason']}" for each in part["missing"])
        lines += [f"- {gate.key}: the part is not good enough; {each[:_RESULT_CHARS_MAX]}" for each in lacks]
    ask = (
        "Answer with `tasks`, and with `deliverable` if the task whose result is handed over is lost."
        if setback.plan.playbook == BY_MODEL
        else "Answer with `instead`: for each capability that failed another one that gives the same output, if there is one."
    )
    return (
        "A team of agents carries out a plan of which a part failed for good. Plan again only what failed or was lost with it; "
        f"what is done stays. {ask}\nNever invent capabilities. Use one that failed only if its instruction was the fault.\n\n"
        f"Capabilities for `tasks`:\n{free}\n\nAll capabilities:\n{', '.join(sorted(facts.capabilities))}\n\n"
        "The plan so far:\n" + "\n".join(lines)
    )


def mended(mend: Mend, setback: Setback, facts: FleetFacts) -> tuple[list[str], PlanChange | None]:
    """Return what is wrong with a model's answer to a setback, and the change that it stands for where there is one."""
    if setback.plan.playbook != BY_MODEL:
        leads = (each for each in facts.members if each.layer in {Layer.EXECUTIVE, Layer.MANAGEMENT})
        can = facts.capabilities.difference(*(each.capabilities for each in leads))
        wrong = [f"no specialist of this fleet has {each.capability!r}" for each in mend.instead if each.capability not in can]
        ways = {each.failed: (each.capability,) for each in mend.instead}
        return wrong, None if wrong else rules_change(setback, facts, ways=ways)
    lost = [task.key for task in (*setback.failed, *fallen(setback.plan, setback.outcomes))]
    names = {each.key: f"replan-{setback.number}/{each.key}" for each in mend.tasks}
    tasks = [_task(each, setback.goal) for each in mend.tasks]
    change = PlanChange(
        tasks=tuple(
            msgspec.structs.replace(task, key=names[task.key], needs=tuple(names.get(need, need) for need in task.needs))
            for task in tasks
        ),
        gone=tuple(lost),
        deliverable=names.get(mend.deliverable, mend.deliverable),
        notes=tuple(_failed(task, setback) for task in setback.failed),
    )
    made = applied(setback.plan, change, done=setback.outcomes.keys())
    check = partial(problems, capabilities=facts.capabilities, limits=facts.limits, members=facts.members)
    return ([] if tasks else ["it has no `tasks`"]) + _bound(mend.tasks, facts) + check(made), change


def _failed(task: SubTask, setback: Setback) -> str:
    failure = setback.outcomes[task.key].failure
    return f"planned again: {task.title or task.key}: {task.capability} failed ({failure.message if failure else ''})"


def judged(draft: Draft, goal: Goal, facts: FleetFacts) -> tuple[list[str], Plan | None]:
    """Return what is wrong with a draft, and the plan that it stands for where there is one."""
    if draft.playbook:
        try:
            plan = playbook_plan(draft.playbook, draft.use, goal, facts)
        except (InputUnusable, NoPlaybook) as error:
            return [str(error)], None
        bound: list[str] = []
    else:
        plan = _graph(draft, goal)
        bound = _bound(draft.tasks, facts)
    check = partial(problems, capabilities=facts.capabilities, limits=facts.limits, members=facts.members)
    found = [*bound, *check(plan)]
    if not found:
        priced = msgspec.structs.replace(plan, estimate=estimated(plan.tasks, facts.estimates))
        found = check(priced, budget=goal.budget)
    return found, plan


def _graph(draft: Draft, goal: Goal) -> Plan:
    return Plan(
        playbook=BY_MODEL,
        complexity=graded(len(draft.tasks)),
        tasks=tuple(_task(each, goal) for each in draft.tasks),
        deliverable=draft.deliverable,
    )


def _task(draft: DraftTask, goal: Goal) -> SubTask:
    given: dict[str, Json] = {
        "goal": goal.text,
        "instruction": draft.instruction,
        "input_dir": goal.input_dir,
        "output_dir": goal.output_dir,
        "preferences": goal.preferences,
    }
    title = draft.instruction.partition("\n")[0][:80]
    needs = tuple(dict.fromkeys(draft.needs))
    return SubTask(key=draft.key, capability=draft.capability, input=given, needs=needs, title=title, priority=goal.priority)


def _free(facts: FleetFacts) -> list[str]:
    """Return the capabilities whose agents take a task as the model words it: those of playbooks want what their leads make."""
    taken = {ROOT_CAPABILITY}.union(*(each.capabilities.union(*each.instead.values()) for each in facts.playbooks))
    return sorted(facts.capabilities - taken)


def _bound(tasks: Sequence[DraftTask], facts: FleetFacts) -> list[str]:
    """Return a sentence for each task whose capability works within a playbook only."""
    bound = facts.capabilities - frozenset(_free(facts))
    return [
        f"task {task.key!r}: {task.capability!r} works within a playbook only: name the playbook instead"
        for task in tasks
        if task.capability in bound
    ]


def _described(playbook: Playbook, facts: FleetFacts) -> str:
    works = [
        f"    {work.capability}: {work.title or phase.title}"
        for phase in playbook.phases
        for work in phase.work
        if work.capability in facts.capabilities
    ]
    return "\n".join([f"- {playbook.name}: {playbook.title}", *works])


def _request(goal: Goal) -> str:
    about = f"\nThe goal is about the folder {goal.input_dir}." if goal.input_dir else ""
    return f"The goal: {goal.text}{about}"


def _by_rules(goal: Goal, facts: FleetFacts, why: str) -> Plan:
    """Return the rules planner's plan with a note; its error says what became of the model, too."""
    try:
        return _noted(rules_plan(goal, facts), f"planned by playbooks, since {why}")
    except GoalError as error:
        raise type(error)(f"{error}; {why}") from error


def _noted(plan: Plan, note: str) -> Plan:
    return msgspec.structs.replace(plan, notes=(*plan.notes, note))


def _reason(error: Exception) -> str:
    """Return why the model failed in one line; a plan refused to the end names what was last wrong with it."""
    cause: BaseException = error
    while not isinstance(cause, ModelRetry) and (inner := cause.__cause__ or cause.__context__) is not None:
        cause = inner
    said = " ".join(str(cause if isinstance(cause, ModelRetry) else error).split())
    return said if len(said) <= _REASON_CHARS_MAX else said[: _REASON_CHARS_MAX - 1] + "…"
