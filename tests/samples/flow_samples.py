"""Agents that the tests of flows run, over files where a real process does."""

import asyncio
from pathlib import Path

from amas import Context, GiveUp, SignalExpired, SubTask, agent
from amas.model.task import Json


@agent("flow.echo")
async def echo(task: Context) -> Json:
    return {"input": task.input, "needs": task.results, "failures": sorted(task.failures)}


@agent("flow.numbers")
async def numbers(task: Context) -> list[int]:
    return list(range(task.input))


@agent("flow.double")
async def double(task: Context) -> int:
    if task.input == task.options.get("bad"):
        raise GiveUp("an unlucky number", code="unlucky")
    return int(task.input) * 2


@agent("flow.note")
async def note(task: Context) -> Json:
    """Append a line to the ledger, within a step."""
    path = Path(str(task.options["ledger"]))

    def write() -> Json:
        with path.open("a") as file:
            file.write(f"{task.spec.key} {task.input}\n")
        return task.input

    return await task.step("write", write)


@agent("flow.fail")
async def fail(task: Context) -> Json:
    raise GiveUp(f"no way to {task.input}", code="no_way")


@agent("flow.plan")
async def plan(task: Context) -> Json:
    """Answer a failure as its task's input says."""
    asked = task.input
    match asked["task"]["input"]:
        case "with a result":
            return {"result": [asked["failure"]["code"], asked["round"], sorted(task.results)]}
        case "with nonsense":
            return {"tasks": 3}
        case "in the end" if asked["round"] == 1:
            return {"tasks": [{"key": "again", "capability": "flow.fail", "input": "succeed"}]}
    return {"tasks": [{"key": "other", "capability": "flow.echo", "input": asked["round"]}], "output": "other"}


@agent("flow.waits")
async def waits(task: Context) -> Json:
    """Sleep, and wait for a signal or its expiry."""
    began = await task.step("began", lambda: task.attempt)
    await task.sleep(0.05)
    await task.sleep(0.05)
    try:
        said = await task.wait_for_signal("go", expires_s=task.input)
    except SignalExpired as error:
        said = str(error)
    return {"began": began, "attempt": task.attempt, "said": said}


busy_now = 0


@agent("flow.busy")
async def busy(task: Context) -> int:
    """Return how many of these were at work at a time."""
    global busy_now
    busy_now += 1
    await asyncio.sleep(0.01)
    seen = busy_now
    busy_now -= 1
    return seen


@agent("flow.count")
async def count(task: Context) -> int:
    return len(task.results)


@agent("flow.first")
async def first(task: Context) -> Json:
    """Go on with the first sub-task that succeeds."""
    tasks = [SubTask(key=f"k{index}", capability=capability, input=index) for index, capability in enumerate(task.input["of"])]
    outcomes = await task.spawn(tasks, wait=task.input["wait"])
    return {key: outcome.state.value for key, outcome in outcomes.items()}
