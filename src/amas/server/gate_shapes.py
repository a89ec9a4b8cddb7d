"""What the API shows of gates; `core.gates` has the records that these hold."""

import msgspec

from amas.core.gates import Asked, Round
from amas.model.states import TaskState


class GateShape(msgspec.Struct, frozen=True, kw_only=True):
    """One gate and its rounds; what isn't known before it has ended is null."""

    task_id: str
    key: str
    title: str
    state: TaskState
    threshold: float | None = None
    score: float | None = None
    accepted: bool | None = None
    accepted_by: str = ""
    """Who let it through below the threshold."""
    rounds: list[Round] = msgspec.field(default_factory=list)
    up: list[Asked] = msgspec.field(default_factory=list)
    """What those above said of work that no round mended."""
    judged_by: str = ""


class DeliveryShape(msgspec.Struct, frozen=True, kw_only=True):
    """How a delivery was signed."""

    approved: bool
    score: float
    signed_by: str
    signature: str
    """`HMAC-SHA256`; empty where no secret was set."""


class WorkflowQuality(msgspec.Struct, frozen=True, kw_only=True):
    """All gates of a workflow."""

    workflow_id: str
    gates: list[GateShape]
    delivery: DeliveryShape | None
    """Null before it was signed, and where there is none."""
