"""States and the table of transitions between them; the engine's functions follow it and tests try every pair."""

from enum import IntEnum, StrEnum


class TaskState(StrEnum):
    """Where a task stands. The value is what the engine stores and every interface shows."""

    WAITING = "waiting"
    """On dependencies, on the sub-tasks that it spawned, or for a signal."""
    QUEUED = "queued"
    DELAYED = "delayed"
    """Until a time: asked for by the submitter, as timers are, or the back-off of a failed attempt."""
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Whether nothing follows."""
        return self in TERMINAL


TERMINAL = frozenset({TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED})


class Transition(StrEnum):
    """What happens to a task; each is one server-side function or part of one."""

    SATISFY = "satisfy"
    """Its last open dependency ended, or enough of them succeeded."""
    POSTPONE = "postpone"
    """Its last open dependency ended, and it asked for a delay after that."""
    PROMOTE = "promote"
    """Its time came."""
    ELAPSE = "elapse"
    """Its time came, and it is a timer."""
    ANSWER = "answer"
    """The signal that it waits for came."""
    REFUSE = "refuse"
    """The signal that it waits for says no."""
    CLAIM = "claim"
    COMPLETE = "complete"
    RETRY = "retry"
    """The attempt failed and another follows after a back-off."""
    FAIL = "fail"
    """The attempt failed and was the last, or gave up."""
    SUSPEND = "suspend"
    """The attempt waits for its sub-tasks and lets go of its agent."""
    GIVE_BACK = "give_back"
    """Its host drains, or died."""
    ABANDON = "abandon"
    """A task that it needs failed, or it went down with too many hosts."""
    EXPIRE = "expire"
    """It had a time until which to end, and that is over."""
    CANCEL = "cancel"
    RERUN = "rerun"
    """It is to run again: asked for, or put back from the dead letters."""
    RESET = "reset"
    """Something that it needs, or a sub-task that it waited for, is to run again."""


S, T = TaskState, Transition

TRANSITIONS: dict[tuple[TaskState, Transition], TaskState] = {
    (S.WAITING, T.SATISFY): S.QUEUED,
    (S.WAITING, T.POSTPONE): S.DELAYED,
    (S.WAITING, T.ABANDON): S.FAILED,
    (S.WAITING, T.CANCEL): S.CANCELLED,
    (S.DELAYED, T.PROMOTE): S.QUEUED,
    (S.DELAYED, T.CANCEL): S.CANCELLED,
    (S.QUEUED, T.CLAIM): S.RUNNING,
    (S.QUEUED, T.CANCEL): S.CANCELLED,
    (S.RUNNING, T.COMPLETE): S.SUCCEEDED,
    (S.RUNNING, T.RETRY): S.DELAYED,
    (S.RUNNING, T.FAIL): S.FAILED,
    (S.RUNNING, T.SUSPEND): S.WAITING,
    (S.RUNNING, T.GIVE_BACK): S.QUEUED,
    (S.RUNNING, T.ABANDON): S.FAILED,
    (S.RUNNING, T.CANCEL): S.CANCELLED,
    (S.DELAYED, T.ELAPSE): S.SUCCEEDED,
    (S.WAITING, T.ANSWER): S.SUCCEEDED,
    (S.WAITING, T.REFUSE): S.FAILED,
    **{(state, T.EXPIRE): S.FAILED for state in S if state not in TERMINAL},
    **{(state, T.RERUN): S.QUEUED for state in S if state not in {S.WAITING, S.QUEUED}},
    **{(state, T.RESET): S.WAITING for state in S},
}
"""Every arrow there is; a pair that is missing is refused by the engine and changes nothing."""


class WorkflowState(StrEnum):
    """Where a workflow stands."""

    WAITING = "waiting"
    """Accepted, and waiting until fewer workflows are open than the fleet allows at a time."""
    RUNNING = "running"
    PAUSED = "paused"
    """Open, and nothing new of it is claimed."""
    COMPENSATING = "compensating"
    """It failed or was cancelled, and what it had done is being undone; then it ends so."""
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        """Whether it has ended; only a re-run opens it again."""
        return self.value in TERMINAL


class AgentStatus(StrEnum):
    """What an agent is doing."""

    IDLE = "idle"
    WORKING = "working"
    ERROR = "error"
    HEALING = "healing"


class Layer(StrEnum):
    """The hierarchy, from those who plan to those who carry out."""

    EXECUTIVE = "executive"
    MANAGEMENT = "management"
    SPECIALIST = "specialist"
    EXECUTION = "execution"


class Priority(IntEnum):
    """How soon. A higher one is treated as if it had waited longer (see the submit function), so none starves."""

    LOW = 0
    NORMAL = 1
    HIGH = 2
    CRITICAL = 3
