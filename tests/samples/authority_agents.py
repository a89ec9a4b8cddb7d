"""Agents of a small hierarchy, which do what their place allows and what it doesn't."""

import asyncio
from typing import Any

from amas import Context, SubTask, SyncContext, agent
from amas.model.task import Json


@agent("place.any")
async def any_work(task: Context) -> Json:
    """Do what the input says: `{"spawn": SubTask's fields}`, `{"spend"/"report": usd}` or `{"ask": question}`."""
    order: dict[str, Any] = task.input
    if "spawn" in order:
        (outcome,) = (await task.spawn([SubTask(**{"key": "one", **order["spawn"]})])).values()
        return {"result": outcome.result, "code": outcome.failure.code if outcome.failure else ""}
    if "spend" in order:
        await task.spend(usd=order["spend"])
    if "report" in order:
        task.report_usage(usd=order["report"])
    if "ask" in order:
        answer = await task.escalate(order["ask"], about=order.get("about"), expires_s=order.get("expires_s", 60.0))
        return {"answer": answer.answer, "by": answer.by, "attempt": task.attempt}
    return "done"


@agent("place.blocking")
def blocking(task: SyncContext) -> Json:
    return task.escalate("ask what?").by


@agent("place.lead")
async def lead(task: Context) -> Json:
    return await any_work(task)


@lead.on_escalation
async def answer(task: Context) -> Json:
    """Answer by the question: some at once, some never, some by passing them on."""
    asked = task.input
    match asked["question"]:
        case "which one?":
            return {"take": asked["about"], "says": task.agent_id, "to": asked["from"]}
        case "slow?":
            await asyncio.Event().wait()
        case "hard?":
            raise ValueError("no idea")
    return None


@agent("place.top")
async def top(task: Context) -> Json:
    return await any_work(task)


@top.on_escalation
async def decide(task: Context) -> Json:
    """Decide what the lead didn't."""
    return None if task.input["question"] == "people?" else "decided at the top"
