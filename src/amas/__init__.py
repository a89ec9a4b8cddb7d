"""amas runs fleets of AI agents: a goal in plain words in, a checked deliverable out.

The public names load on first use, so that `amas --help` imports none of them.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "BaseAgent": "amas.agents.base",
    "agent": "amas.agents.base",
    "Context": "amas.agents.context",
    "SyncContext": "amas.agents.context",
    "MessageContext": "amas.agents.mail",
    "Fleet": "amas.client",
    "NewTask": "amas.client",
    "BudgetExhausted": "amas.errors",
    "RateLimited": "amas.errors",
    "RetryLater": "amas.errors",
    "GiveUp": "amas.errors",
    "IdempotencyConflict": "amas.errors",
    "SignalExpired": "amas.errors",
    "SubTask": "amas.model.goal",
    "Workflow": "amas.orchestration.workflow",
    "Amounts": "amas.model.limits",
    "Goal": "amas.model.goal",
    "Message": "amas.model.message",
    "MessageType": "amas.model.message",
    "Schedule": "amas.model.schedule",
    "ScheduledTask": "amas.model.schedule",
    "Priority": "amas.model.states",
    "RetryPolicy": "amas.model.task",
}

__all__ = ["__version__", *_PUBLIC]  # noqa: PLE0604  the names are the dictionary's keys

if TYPE_CHECKING:
    from amas.agents.base import BaseAgent as BaseAgent
    from amas.agents.base import agent as agent
    from amas.agents.context import Context as Context
    from amas.agents.context import SyncContext as SyncContext
    from amas.agents.mail import MessageContext as MessageContext
    from amas.client import Fleet as Fleet
    from amas.client import NewTask as NewTask
    from amas.errors import BudgetExhausted as BudgetExhausted
    from amas.errors import GiveUp as GiveUp
    from amas.errors import IdempotencyConflict as IdempotencyConflict
    from amas.errors import RateLimited as RateLimited
    from amas.errors import RetryLater as RetryLater
    from amas.errors import SignalExpired as SignalExpired
    from amas.model.goal import Goal as Goal
    from amas.model.goal import SubTask as SubTask
    from amas.model.limits import Amounts as Amounts
    from amas.model.message import Message as Message
    from amas.model.message import MessageType as MessageType
    from amas.model.schedule import Schedule as Schedule
    from amas.model.schedule import ScheduledTask as ScheduledTask
    from amas.model.states import Priority as Priority
    from amas.model.task import RetryPolicy as RetryPolicy
    from amas.orchestration.workflow import Workflow as Workflow


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'amas' has no attribute {name!r}")
    return getattr(importlib.import_module(_PUBLIC[name]), name)
