"""Goals to results: playbooks, planner, the executive and management agents, quality gates; and the hierarchy as programs use it.

    executor = get_workflow_executor()
    execution_id = await executor.execute_workflow("Review the code in /srv/shop")
    print(executor.get_execution_status(execution_id)["status"])

The names below stand in `amas.programs`, above the client, and two in the model. They load on first use, so that what is below
never needs them.
"""

import importlib
from typing import TYPE_CHECKING, Any

_PUBLIC = {
    "AgentHierarchyManager": "amas.programs.hierarchy",
    "AgentOrchestrator": "amas.programs.orchestrator",
    "CommunicationBus": "amas.programs.bus",
    "MessageType": "amas.model.message",
    "PerformanceMonitor": "amas.programs.performance",
    "PolicyManager": "amas.policy.manager",
    "Priority": "amas.model.states",
    "RedisAgentRegistry": "amas.programs.registry",
    "TaskDecomposer": "amas.programs.decomposer",
    "TaskDistributor": "amas.programs.distributor",
    "WorkflowExecutor": "amas.programs.executor",
    "get_agent_orchestrator": "amas.programs.shared",
    "get_agent_registry": "amas.programs.shared",
    "get_communication_bus": "amas.programs.shared",
    "get_hierarchy_manager": "amas.programs.shared",
    "get_performance_monitor": "amas.programs.shared",
    "get_policy_manager": "amas.programs.shared",
    "get_task_decomposer": "amas.programs.shared",
    "get_task_distributor": "amas.programs.shared",
    "get_workflow_executor": "amas.programs.shared",
}

__all__ = [*_PUBLIC]  # noqa: PLE0604  the names are the dictionary's keys

if TYPE_CHECKING:
    from amas.model.message import MessageType as MessageType
    from amas.model.states import Priority as Priority
    from amas.policy.manager import PolicyManager as PolicyManager
    from amas.programs.bus import CommunicationBus as CommunicationBus
    from amas.programs.decomposer import TaskDecomposer as TaskDecomposer
    from amas.programs.distributor import TaskDistributor as TaskDistributor
    from amas.programs.executor import WorkflowExecutor as WorkflowExecutor
    from amas.programs.hierarchy import AgentHierarchyManager as AgentHierarchyManager
    from amas.programs.orchestrator import AgentOrchestrator as AgentOrchestrator
    from amas.programs.performance import PerformanceMonitor as PerformanceMonitor
    from amas.programs.registry import RedisAgentRegistry as RedisAgentRegistry
    from amas.programs.shared import get_agent_orchestrator as get_agent_orchestrator
    from amas.programs.shared import get_agent_registry as get_agent_registry
    from amas.programs.shared import get_communication_bus as get_communication_bus
    from amas.programs.shared import get_hierarchy_manager as get_hierarchy_manager
    from amas.programs.shared import get_performance_monitor as get_performance_monitor
    from amas.programs.shared import get_policy_manager as get_policy_manager
    from amas.programs.shared import get_task_decomposer as get_task_decomposer
    from amas.programs.shared import get_task_distributor as get_task_distributor
    from amas.programs.shared import get_workflow_executor as get_workflow_executor


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'amas.orchestration' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)
