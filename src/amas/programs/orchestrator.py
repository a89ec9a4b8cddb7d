"""`AgentOrchestrator`: one fleet with all its parts, for programs that want them together.

    async with AgentOrchestrator() as orchestrator:
        delivered = await orchestrator.orchestrate("Review the code in /srv/shop")
        print(delivered["folder"], (await orchestrator.monitor.get_performance_metrics()).success_rate)

It works with the fleet that runs in its home. Where none runs it starts one there, which ends with it.
"""

import asyncio
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import msgspec

from amas.client import Fleet
from amas.model.fleet import FleetSpec
from amas.model.limits import Amounts
from amas.model.task import Json
from amas.programs.bus import CommunicationBus
from amas.programs.decomposer import TaskDecomposer
from amas.programs.distributor import TaskDistributor
from amas.programs.executor import WorkflowExecutor
from amas.programs.hierarchy import AgentHierarchyManager
from amas.programs.link import EMBEDDED_FLEET, Link
from amas.programs.performance import PerformanceMonitor
from amas.programs.policies import FleetPolicyManager
from amas.programs.registry import RedisAgentRegistry


class AgentOrchestrator:
    """The parts of one fleet over one connection; `async with`, or `close()`, lets go of it."""

    def __init__(self, home: Path | str | None = None, *, fleet: str = EMBEDDED_FLEET, link: Link | None = None) -> None:
        """`home`: by default AMAS_HOME. `fleet`: what to start where none runs, a blueprint's name or a file."""
        self._link = link or Link(Path(home) if home else None, fleet=fleet)
        self.decomposer = TaskDecomposer(self._link)
        self.executor = WorkflowExecutor(self._link)
        self.hierarchy = AgentHierarchyManager(self._link)
        self.bus = CommunicationBus(self._link)
        self.registry = RedisAgentRegistry(self._link)
        self.distributor = TaskDistributor(self._link)
        self.monitor = PerformanceMonitor(self._link)
        self.policies = FleetPolicyManager(self._link)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        await self.registry.close()
        await asyncio.to_thread(self.close)

    async def orchestrate(
        self,
        goal: str,
        *,
        input_dir: Path | str = "",
        output_dir: Path | str = "",
        user_preferences: dict[str, Json] | None = None,
        budget: Amounts | None = None,
    ) -> Json:
        """Have a goal in plain words met and return its deliverable: a mapping with its `folder`, among others.

        TaskFailed with the sentence why it wasn't met, TaskCancelled. `executor.execute_workflow` doesn't wait.
        """

        async def meet(fleet: Fleet, _: FleetSpec) -> Json:
            handle = await fleet.run(
                goal, input_dir=input_dir, output_dir=output_dir, preferences=user_preferences, budget=budget
            )
            return await handle.result()

        return await self._link.ask(meet)

    async def get_status(self) -> dict[str, Any]:
        """Return the hierarchy's status (`get_hierarchy_status`) with `performance`, the figures of this moment."""
        hierarchy = await asyncio.to_thread(self.hierarchy.get_hierarchy_status)
        return {**hierarchy, "performance": msgspec.to_builtins(await self.monitor.get_performance_metrics())}

    def close(self) -> None:
        """Let go of the fleet, and stop it where this object started it; blocks until then."""
        self._link.close()
