"""The gate of any task: has it done, judged, and done again with the judges' words in its input.

Every host carries it as the capability `amas.gate`; `core.flow.gated` puts it in the place of a task that declares a gate. Its
result is `{"result", "quality"}`; work that doesn't pass goes on, marked, and only a task that fails for good fails its gate.
"""

from collections.abc import Mapping, Sequence

import msgspec

from amas.agents.base import agent
from amas.agents.context import Context
from amas.agents.gating import judged
from amas.core.gates import Opinion, resolved
from amas.core.quality import Check
from amas.errors import GiveUp
from amas.model.fleet import pool_of
from amas.model.flow import GATE_CAPABILITY
from amas.model.gate import GateSpec
from amas.model.goal import SubTask
from amas.model.states import TaskState
from amas.model.task import Failure, Json, TaskOutcome


class GateOrder(msgspec.Struct, frozen=True, kw_only=True):
    """What the task of a gate gets as input."""

    task: SubTask
    gate: GateSpec


@agent(GATE_CAPABILITY)
async def gate_agent(task: Context) -> Json:
    """Return the task's result and the record of how it was judged."""
    try:
        order = msgspec.convert(task.input, GateOrder)
        fleet = msgspec.convert(task.options.get("gate") or {}, GateSpec)
    except msgspec.ValidationError as error:
        raise GiveUp(f"the task's input is none for {task.spec.capability}: {error}", code="input_unusable") from error
    subject = _TaskSubject(task, order.task)
    await subject.begin()
    quality = await judged(task, subject, resolved(fleet, order.gate))
    return {"result": subject.outcome.result, "quality": msgspec.to_builtins(quality)}


class _TaskSubject:
    """One task's result."""

    def __init__(self, ctx: Context, task: SubTask) -> None:
        self._ctx, self._task = ctx, task
        self.name = task.title or task.key
        self.outcome: TaskOutcome

    async def begin(self) -> None:
        self.outcome = (await self._ctx.spawn([self._task]))[self._task.key]
        if self.outcome.state is not TaskState.SUCCEEDED:
            why = self.outcome.failure or Failure("cancelled", f"it was {self.outcome.state}")
            raise GiveUp(why.message, code=why.code)

    def shown(self) -> dict[str, Json]:
        return {"task": self.name, "capability": self._task.capability, "input": self._task.input, "result": self.outcome.result}

    async def rules(self) -> Opinion:
        there = self.outcome.result not in (None, "", [], {})
        words = "" if there else "the result is empty"
        check = Check("result", float(there), words)
        return Opinion(judge="rules", score=check.score, checks=(check,), feedback=(words,) if words else ())

    def scored(self) -> tuple[Json, Json]:
        return self.outcome.result, self._task.input

    def redo(self, opinions: Sequence[Opinion]) -> int:
        return 1

    async def workers(self) -> dict[str, str]:
        found = await self._ctx.who_did([self.outcome.id])
        return {self._task.key: found[self.outcome.id]} if self.outcome.id in found else {}

    def lead_of(self, workers: Mapping[str, str]) -> str:
        return pool_of(workers.get(self._task.key, ""))

    async def again(
        self, number: int, opinions: Sequence[Opinion], *, prefer: Mapping[str, str], avoid: Mapping[str, str]
    ) -> str:
        feedback: dict[str, Json] = {
            "round": number,
            "words": [words for each in opinions for words in each.feedback],
            "scores": {each.judge: each.score for each in opinions},
            "before": self.outcome.result,
        }
        given = self._task.input
        told = {**given, "feedback": feedback} if isinstance(given, dict) else {"input": given, "feedback": feedback}
        further = msgspec.structs.replace(
            self._task,
            key=f"{self._task.key}/round-{number}",
            input=told,
            title=f"{self.name}: round {number + 1}",
            prefer=tuple(prefer.values()),
            avoid=tuple(avoid.values()),
        )
        outcome = (await self._ctx.spawn([further]))[further.key]
        if outcome.state is TaskState.SUCCEEDED:
            self.outcome = outcome
            return ""
        why = outcome.failure.message if outcome.failure else f"it was {outcome.state}"
        return f"round {number} failed, so what there was is judged: {why}"
