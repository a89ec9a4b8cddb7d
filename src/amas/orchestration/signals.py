"""Signals to agents that wait for one with `wait_for_signal`, and to those that haven't come to that point yet."""

from amas.agents.context import signal_key
from amas.clock import child_id
from amas.engine.connection import Engine
from amas.engine.queue import TaskQueue
from amas.engine.signals import generation_of
from amas.engine.workflows import Workflows, make_signal
from amas.errors import SignalRefused, TaskUnknown
from amas.model.flow import SIGNAL_CAPABILITY
from amas.model.task import Json, TaskSpec


async def send_signal(engine: Engine, workflows: Workflows, task_id: str, name: str, value: Json) -> None:
    """Send the task what it waits for as `name`, or will wait for.

    `TaskUnknown` when the engine holds no such task; `SignalRefused` when it has ended or got another value before.
    """
    queue = TaskQueue(engine)
    view = await queue.task(task_id)
    if view is None:
        raise TaskUnknown(f"the engine holds no task {task_id!r}")
    if view.state.terminal:
        raise SignalRefused(f"task {task_id} has {view.state}; it takes no signal any more")
    waiting = child_id(task_id, signal_key(name), await generation_of(engine, task_id))
    spec = TaskSpec(capability=SIGNAL_CAPABILITY, key=waiting, title=name, workflow_id=view.workflow_id)
    await queue.submit([make_signal(waiting, spec)], resend=True)  # kept for the agent that hasn't come to its wait yet
    await workflows.signal(waiting, value)
