"""The one link of a program that says nothing else, and the parts that stand on it."""

from functools import cache

from amas.programs.bus import CommunicationBus
from amas.programs.decomposer import TaskDecomposer
from amas.programs.distributor import TaskDistributor
from amas.programs.executor import WorkflowExecutor
from amas.programs.hierarchy import AgentHierarchyManager
from amas.programs.link import Link
from amas.programs.orchestrator import AgentOrchestrator
from amas.programs.performance import PerformanceMonitor
from amas.programs.policies import FleetPolicyManager
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


@cache
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


def get_task_distributor() -> TaskDistributor:
    """Return what hands tasks to whoever can do them, for the fleet in AMAS_HOME."""
    return TaskDistributor(_link())


def get_performance_monitor() -> PerformanceMonitor:
    """Return what shows how the fleet in AMAS_HOME does."""
    return PerformanceMonitor(_link())


def get_policy_manager() -> FleetPolicyManager:
    """Return what says which agent of the fleet in AMAS_HOME may use which tool; a `PolicyManager`."""
    return FleetPolicyManager(_link())


@cache
def get_agent_orchestrator() -> AgentOrchestrator:
    """Return all parts together, for the fleet in AMAS_HOME; this program's parts share their connection with it."""
    return AgentOrchestrator(link=_link())
