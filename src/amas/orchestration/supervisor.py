"""The Quality Supervisor: the gate of every part, and the approval of the delivery."""

from amas.agents.base import combined
from amas.orchestration.approval import approve
from amas.orchestration.gate import gate

quality_supervisor = combined(gate, approve)
