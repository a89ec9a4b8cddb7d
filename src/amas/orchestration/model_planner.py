"""The model planner: a language model proposes how to meet a goal, as a playbook's parts or as a graph of its own.

Nothing that the model says is trusted: its draft becomes a plan only when `core.plan.problems` finds nothing, and what is wrong
goes back to it, `REPAIRS` times at most. Where it can't (no answer, no time, no sound plan), the rules planner does it, and the
plan's notes say why. Loaded on first use, because pydantic-ai takes a second; made by `coordinator.planner`. It runs nothing.
"""

import asyncio
from collections.abc import Sequence
from functools import partial

import msgspec
from pydantic import BaseModel, Field
from pydantic_ai import Agent, ModelRetry, NativeOutput
from pydantic_ai.exceptions import AgentRunError, UserError
from pydantic_ai.usage import RunUsage

from amas.agents.named_model import model_of
from amas.core.estimate import estimated
from amas.core.plan import graded, problems
from amas.errors import GoalError, InputUnusable, NoPlaybook
from amas.model.goal import ROOT_CAPABILITY, Goal, Plan, SubTask
from amas.model.task import Json
from amas.orchestration.decomposer import playbook_plan, rules_plan
from amas.orchestration.planner import FleetFacts, Spent
from amas.orchestration.playbooks import Playbook
from amas.settings import ModelSettings

REPAIRS = 2
"""Rounds in which the model may mend its plan; one that three tries didn't make sound won't be by the fourth."""
SHARE_OF_TIME = 0.9
"""Of the time for planning that the model gets: the rules planner needs the rest, which is milliseconds, when it fails."""
BY_MODEL = "model"
"""In the place of a playbook's name: the model made the graph itself."""
_REASON_CHARS_MAX = 300


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


class ModelPlanner:
    """Plans with a model, and by rules where the model can't; `spent` hears what each goal's planning used."""

    def __init__(self, settings: ModelSettings, *, spent: Spent | None = None) -> None:
        self._settings, self._spent = settings, spent

    async def plan(self, goal: Goal, facts: FleetFacts) -> Plan:
        """Return a plan for `goal`; a GoalError says why neither model nor rules have one."""
        try:
            async with asyncio.timeout(facts.limits.decomposition_timeout_s * SHARE_OF_TIME):
                return await self._by_model(goal, facts)
        except TimeoutError:
            why = f"it took longer than {facts.limits.decomposition_timeout_s * SHARE_OF_TIME:g} s"
        except (AgentRunError, UserError, ImportError) as error:
            why = _reason(error)
        return _by_rules(goal, facts, f"the model {self._settings.model} made no plan: {why}")

    async def _by_model(self, goal: Goal, facts: FleetFacts) -> Plan:
        model = model_of(self._settings)
        native = model.profile.get("supports_json_schema_output", False)
        agent = Agent(model, output_type=NativeOutput(Draft) if native else Draft, retries=REPAIRS, instructions=prompt(facts))
        plans: list[Plan] = []

        @agent.output_validator
        def sound(draft: Draft) -> Draft:
            found, plan = judged(draft, goal, facts)
            if plan is None or found:
                raise ModelRetry("this plan can't run: " + "; ".join(found) + ". Answer with the whole plan, mended.")
            plans.append(plan)
            return draft

        usage = RunUsage()
        try:
            result = await agent.run(_request(goal), usage=usage)
        finally:  # what a plan that failed used was used as well
            self._tell(usage)
        rounds = result.usage.requests
        mended = f", after {rounds - 1} of its plans were refused" if rounds > 1 else ""
        return _noted(plans[-1], f"planned by the model {self._settings.model}{mended}")

    def _tell(self, usage: RunUsage) -> None:
        if self._spent is not None and usage.requests:
            self._spent(usd=float(usage.cost or 0), tokens=usage.total_tokens, calls=usage.requests)


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
    taken = {ROOT_CAPABILITY}.union(*(each.capabilities for each in facts.playbooks))
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
