"""The one link of a program that says nothing else, and the parts that stand on it."""

from functools import cache

from amas.programs.bus import CommunicationBus
from amas.programs.decomposer import TaskDecomposer
from amas.programs.executor import WorkflowExecutor
from amas.programs.hierarchy import AgentHierarchyManager
from amas.programs.link import Link
from amas.programs.registry import RedisAgentRegistry


@cache
def _link() -> Link:
    return Link()


def get_task_decomposer() -> TaskDecomposer:
    """Return what plans goals, for the fleet in AMAS_HOME."""
    return TaskDecomposer(_link())


def get_workflow_executor() -> WorkflowExecutor:
    """Return what has goals met, by the fleet in AMAS_HOME."""
    return WorkflowExecutor(_link())


def get_hierarchy_manager() -> AgentHierarchyManager:
    """Return what shows the hierarchy of the fleet in AMAS_HOME."""
    return AgentHierarchyManager(_link())


def get_agent_registry() -> RedisAgentRegistry:
    """Return what registers and finds agents, for the fleet in AMAS_HOME; each has a session of its own."""
    return RedisAgentRegistry(_link())


@cache
def get_communication_bus() -> CommunicationBus:
    """Return what writes to agents, for the fleet in AMAS_HOME."""
    return CommunicationBus(_link())
