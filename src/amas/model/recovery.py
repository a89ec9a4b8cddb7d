"""What the records hold of a lost engine's work, on its way into a new one."""

from typing import Any

import msgspec

from amas.model.states import TaskState


class LostWorkflow(msgspec.Struct, frozen=True, kw_only=True):
    """A workflow that was open."""

    id: str
    goal: bytes
    """msgpack: what opened it."""
    root_id: str
    created_ms: int
    is_goal: bool = False
    """Whether it counts among the goals that may be open at a time."""
    waiting: bool = False
    """Whether it waited for its turn."""
    tenant: str = ""


class Outline(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What decides whether and when a task is restored: thousands are held at once, so no payloads."""

    id: str
    state: TaskState
    workflow_id: str
    parent_id: str
    options: dict[str, Any]
    """As the engine got them, whatever they were called when it did: see `SubmitOptions` for their names."""

    @property
    def needs(self) -> list[str]:
        """The ids of the tasks that it was submitted behind."""
        return list(self.options.get("n") or ())


class LostTask(msgspec.Struct, frozen=True, kw_only=True):
    """A task, with all that the engine had of it."""

    outline: Outline
    queue: str
    spec: bytes
    priority: int
    attempt: int
    failures: int
    created_ms: int
    ready_ms: int
    """When a delayed one is due."""
    started_ms: int
    finished_ms: int
    result: bytes
    """msgpack; empty where there is none, as is `failure`."""
    failure: bytes
    steps: list[tuple[str, bytes]]
    children: list[str]
