"""Every error that amas raises, in one tree. `code` is stable and public; `act` says who must do something about it.

AmasError
├── GoalError                 author     the goal can't be planned as it stands
│   ├── NoPlaybook
│   ├── PlanRefused
│   ├── GoalOverBudget
│   └── InputUnusable
├── FleetError                author     the fleet or playbook file is wrong
│   ├── FleetFileInvalid
│   ├── RolloutRefused        it can't be begun, approved, promoted or aborted as it stands
│   └── DesiredChanged        nobody     somebody else changed what is wanted meanwhile: look again
│   ├── DesiredChanged        nobody     somebody else changed what is wanted meanwhile: look again
│   ├── AlertsChanged         nobody     somebody else changed an alert or a run-book's run meanwhile: look again
│   └── RunBookRefused        author     there is no such run-book or run, or it can't do that now
├── ScheduleInvalid           author     a schedule can never be due, or has nothing to submit
├── TaskError                 nobody     one task's or attempt's fate
│   ├── AttemptStale
│   ├── TaskCancelled
│   ├── TaskUnknown
│   ├── WorkflowUnknown
│   ├── AgentUnknown
│   ├── AgentTaken            author     another live session has an agent of this name
│   ├── SessionLost           nobody     a remote session's lease ran out: register anew
│   ├── ScheduleUnknown
│   ├── TaskFailed
│   ├── LimitUnknown
│   ├── BudgetExhausted       raised in agents, by what they spend
│   ├── SignalRefused         author     it was answered before, or waits for no signal
│   ├── ResetRefused          author     these tasks can't run again as they are
│   ├── ModelUnavailable      raised in model agents
│   ├── RetryLater            raised by agents
│   ├── RateLimited           raised by agents
│   ├── DependencyDown        raised in agents, while a dependency's breaker is open
│   └── GiveUp                raised by agents
│       ├── SignalExpired     raised in agents
│       └── NotAllowed        raised in agents, by what they may not do
├── SubmissionError           author     a submission was refused whole; nothing was stored
│   ├── DependencyUnknown
│   ├── CapabilityUnknown
│   ├── QueueFull
│   ├── IdempotencyConflict
│   ├── ExpressionInvalid
│   ├── FlowInvalid
│   └── PayloadTooLarge
├── MessageError              author     a message was not sent
│   ├── MessageForbidden
│   ├── MessageRefused
│   ├── InboxFull
│   └── ReplyOverdue          nobody     nobody answered a request in time
├── EngineError               operator   the engine can't be used
│   ├── EngineUnreachable
│   │   └── EngineUnconfirmed
│   ├── EngineUnsupported
│   ├── EngineFunctionsMismatch
│   ├── EngineDiskFull
│   ├── EngineStartFailed
│   ├── EngineFolderInUse
│   └── EngineDataDamaged
├── PlatformError             operator   a box can't be started or stopped
│   ├── FleetNotRunning
│   ├── FleetAlreadyRunning
│   ├── PortInUse
│   ├── HomeUnusable
│   ├── StartFailed
│   ├── StageIncomplete
│   ├── IntakeClosed
│   └── ModelNotInstalled
├── RecordsError              operator   the history can't be written or read
├── ArtifactError             operator   the artifact store can't take or give a large value
│   ├── ArtifactLost          it won't be there the next time either
│   │   ├── ArtifactMissing
│   │   └── ArtifactDamaged
│   ├── ArtifactStoreUnknown
│   └── ArtifactStoreUnusable
├── BackupError               operator   a back-up can't be made, read or restored
│   ├── BackupUnusable
│   ├── BackupUnknown
│   ├── BackupKeyWrong
│   ├── BackupDamaged
│   ├── BackupBusy            somebody else is at work there: try again
│   └── RestoreRefused
├── DeliveryUnreadable        author     a folder holds no record of a delivery
└── SettingInvalid            operator   an environment variable's value can't be taken
"""

from typing import ClassVar, Literal

Actor = Literal["author", "operator", "nobody"]


class AmasError(Exception):
    """The root: catch it to catch everything that amas raises on purpose."""

    code: ClassVar[str] = "amas_error"
    act: ClassVar[Actor] = "nobody"


class GoalError(AmasError):
    """The goal can't be planned as it stands."""

    code = "goal_error"
    act = "author"


class NoPlaybook(GoalError):
    """No playbook answers this goal."""

    code = "no_playbook"


class PlanRefused(GoalError):
    """The plan broke a rule of the validator."""

    code = "plan_refused"

    def __init__(self, problems: list[str]) -> None:
        super().__init__("the plan was refused: " + "; ".join(problems))
        self.problems = problems


class GoalOverBudget(GoalError):
    """What the plan takes at least is more than the goal's budget; nothing was started."""

    code = "goal_over_budget"

    def __init__(self, sums: list[str]) -> None:
        super().__init__("; ".join(sums) + ": raise the budget, or ask for less")
        self.sums = sums


class InputUnusable(GoalError):
    """The goal's input is missing, empty or can't be read."""

    code = "input_unusable"


class ScheduleInvalid(AmasError):
    """A schedule can never be due, or has nothing to submit."""

    code = "schedule_invalid"
    act = "author"


class FleetError(AmasError):
    """The fleet or a playbook file is wrong."""

    code = "fleet_error"
    act: ClassVar[Actor] = "author"


class FleetFileInvalid(FleetError):
    """A file has a mistake: the message names file, line, field and the mend."""

    code = "fleet_file_invalid"

    def __init__(self, message: str, *, path: str, line: int, field: str) -> None:
        super().__init__(f"{path}:{line}: {field}: {message}" if field else f"{path}:{line}: {message}")
        self.path, self.line, self.field = path, line, field


class DesiredChanged(FleetError):
    """Somebody else changed what is wanted of the fleet between a look at it and a change of it: look again."""

    code = "desired_changed"
    act = "nobody"


class RolloutRefused(FleetError):
    """A roll-out can't be started, approved, promoted or aborted as it stands; the message says why and what would do."""

    code = "rollout_refused"


class AlertsChanged(FleetError):
    """Somebody else changed an alert or a run-book's run meanwhile: look again, decide again."""

    code = "alerts_changed"
    act = "nobody"


class RunBookRefused(FleetError):
    """There is no such run-book, run or silence, or it can't do what was asked of it now."""

    code = "runbook_refused"


class TaskError(AmasError):
    """One task's or attempt's fate."""

    code = "task_error"


class AttemptStale(TaskError):
    """Another attempt owns this task now: drop the result, do not retry."""

    code = "attempt_stale"


class TaskCancelled(TaskError):
    """The task was cancelled: stop working on it."""

    code = "task_cancelled"


class TaskUnknown(TaskError):
    """No such task, neither in the engine nor in the records."""

    code = "task_unknown"


class WorkflowUnknown(TaskError):
    """No such workflow, neither in the engine nor in the records."""

    code = "workflow_unknown"


class AgentUnknown(TaskError):
    """No live host has an agent of this name."""

    code = "agent_unknown"


class AgentTaken(TaskError):
    """Another live session has an agent of this name: end that one, wait for its lease to end, or take the agent over."""

    code = "agent_taken"
    act = "author"

    def __init__(self, agent_id: str, *, session_id: str) -> None:
        super().__init__(
            f"{agent_id} is registered by the session {session_id}, which is alive: register it under another name, "
            "or say take_over when that one is yours and gone"
        )
        self.agent_id, self.session_id = agent_id, session_id


class SessionLost(TaskError):
    """A remote session's lease has run out: what it ran went to others, and its agents must be registered anew."""

    code = "session_lost"

    def __init__(self, session_id: str) -> None:
        super().__init__(f"the lease of {session_id} has run out and its tasks went to others: stop them and register anew")
        self.session_id = session_id


class ScheduleUnknown(TaskError):
    """There is no schedule of that name."""

    code = "schedule_unknown"


class TaskFailed(TaskError):
    """The task failed for good: its last error is the message."""

    code = "task_failed"

    def __init__(self, task_id: str, error_code: str, message: str) -> None:
        super().__init__(message)
        self.task_id, self.error_code = task_id, error_code


class SignalRefused(TaskError):
    """A signal found nobody who waits for it: it was answered before with another payload, has ended, or is no signal."""

    code = "signal_refused"
    act = "author"


class ResetRefused(TaskError):
    """These tasks can't be run again now: the message says why and what to do instead."""

    code = "reset_refused"
    act = "author"


class RetryLater(TaskError):
    """Raised by an agent: this attempt can't go on now; try again after `delay_s` seconds (None: the policy's back-off)."""

    code = "retry_later"

    def __init__(self, reason: str = "the agent asked to be tried again", *, delay_s: float | None = None) -> None:
        super().__init__(reason)
        self.delay_s = delay_s


class RateLimited(TaskError):
    """Raised by an agent: a provider takes nothing for `retry_after_s` seconds. No failure: the task waits for it."""

    code = "rate_limited"

    def __init__(self, retry_after_s: float, *, provider: str = "") -> None:
        """`provider`: by default the one that the task or its pool names."""
        super().__init__(f"{provider or 'the provider'} asked to come back in {retry_after_s:g} s")
        self.retry_after_s, self.provider = retry_after_s, provider


class DependencyDown(TaskError):
    """A dependency's breaker is open: let this end the attempt, which counts as no failure; the task comes back later."""

    code = "dependency_down"

    def __init__(self, dependency: str, retry_after_s: float) -> None:
        super().__init__(f"{dependency} is down: it is tried again in {retry_after_s:g} s")
        self.dependency, self.retry_after_s = dependency, retry_after_s


class LimitUnknown(TaskError):
    """No such resource: nothing was submitted or declared that names it."""

    code = "limit_unknown"


class BudgetExhausted(TaskError):
    """A budget has no room for what an attempt is about to spend: spend nothing, and let this end the attempt."""

    code = "budget_exhausted"


class ModelUnavailable(TaskError):
    """No model that an agent may ask answered; a later attempt goes on from the answers that came."""

    code = "model_unavailable"


class GiveUp(TaskError):
    """Raised by an agent: no further attempt can succeed; the task fails with this reason."""

    code = "gave_up"

    def __init__(self, reason: str, *, code: str = "gave_up") -> None:
        super().__init__(reason)
        self.error_code = code


class SignalExpired(GiveUp):
    """Nobody sent the signal that the agent waited for, in the time that it gave."""

    code = "signal_expired"

    def __init__(self, name: str) -> None:
        super().__init__(f"nobody sent the signal {name!r} in time", code=self.code)
        self.name = name


class NotAllowed(GiveUp):
    """The agent's place in the hierarchy gives it no right to this: the message names the right and who has to give it."""

    code = "not_allowed"
    act = "author"

    def __init__(self, reason: str) -> None:
        super().__init__(reason, code=self.code)


class SubmissionError(AmasError):
    """A submission was refused whole; nothing was stored."""

    code = "submission_error"
    act = "author"


class DependencyUnknown(SubmissionError):
    """A task needs another that is neither in the batch nor in the engine."""

    code = "dependency_unknown"


class CapabilityUnknown(SubmissionError):
    """No agent of the fleet can do what a task needs."""

    code = "capability_unknown"


class QueueFull(SubmissionError):
    """As many tasks as a queue may hold wait in it already: nothing was stored, try again when some have begun."""

    code = "queue_full"

    def __init__(self, queue: str, *, depth: int, bound: int, wanted: int, room_in_s: float | None) -> None:
        """`wanted`: tasks of the submission that are for this queue. `room_in_s`: None where nobody can tell yet."""
        when = (
            f"there should be room in about {room_in_s:.1f} s" if room_in_s is not None else "nobody can tell when there is room"
        )
        never = f"; so many never fit, send at most {bound} at a time" if wanted > bound else f"; {when}"
        super().__init__(f"the queue {queue!r} holds {depth} tasks and takes at most {bound}, so {wanted} more don't fit{never}")
        self.queue, self.depth, self.bound, self.wanted, self.room_in_s = queue, depth, bound, wanted, room_in_s


class IdempotencyConflict(SubmissionError):
    """This idempotency key was used before with another body."""

    code = "idempotency_conflict"


class ExpressionInvalid(SubmissionError):
    """A condition or reference is no JMESPath expression, or can't be worked out."""

    code = "expression_invalid"


class FlowInvalid(SubmissionError):
    """A flow has mistakes; nothing of it was started."""

    code = "flow_invalid"

    def __init__(self, name: str, problems: list[str]) -> None:
        shown = problems[:20]
        more = f"; and {len(problems) - 20} more" if len(problems) > 20 else ""
        super().__init__(f"the flow {name!r} can't start: {'; '.join(shown)}{more}")
        self.problems = problems


class PayloadTooLarge(SubmissionError):
    """An input, result or step is larger than may be carried, or too large for the engine while no artifact store is known."""

    code = "payload_too_large"


class MessageError(AmasError):
    """A message was not sent."""

    code = "message_error"
    act: ClassVar[Actor] = "author"


class MessageForbidden(MessageError):
    """The hierarchy doesn't let this sender send this to that recipient; it was audited."""

    code = "message_forbidden"


class MessageRefused(MessageError):
    """A message is forged, replayed, too old or expired, or has no such recipient; nobody got it."""

    code = "message_refused"


class InboxFull(MessageError):
    """As many messages as an inbox may hold wait in it already: nothing was stored, try again after `retry_after_s` seconds."""

    code = "inbox_full"

    def __init__(self, agent_id: str, *, held: int, retry_after_s: float) -> None:
        super().__init__(f"the inbox of {agent_id!r} holds {held} messages and takes no more: try again in {retry_after_s:g} s")
        self.agent_id, self.held, self.retry_after_s = agent_id, held, retry_after_s


class ReplyOverdue(MessageError):
    """Nobody answered a request in the time that it gave."""

    code = "reply_overdue"
    act = "nobody"


class EngineError(AmasError):
    """The engine can't be used."""

    code = "engine_error"
    act = "operator"


class EngineUnreachable(EngineError):
    """The engine doesn't answer at its address."""

    code = "engine_unreachable"


class EngineUnconfirmed(EngineUnreachable):
    """The engine took the call, but too few replicas confirmed it in time: it may or may not outlive the primary.

    Like any call without an answer it may have worked. Saying it again under the same ids is safe.
    """

    code = "engine_unconfirmed"


class EngineUnsupported(EngineError):
    """The server is too old or of another kind: Valkey, or Redis >= 7, is needed."""

    code = "engine_unsupported"


class EngineFunctionsMismatch(EngineError):
    """The engine's function library is missing or of another version than this program's."""

    code = "engine_functions_mismatch"


class EngineDiskFull(EngineError):
    """The engine can't write its append-only file; nothing was accepted. Free space under its data folder: it then goes on."""

    code = "engine_disk_full"


class EngineStartFailed(EngineError):
    """The embedded engine didn't come up; the message carries the last line of its log."""

    code = "engine_start_failed"


class EngineFolderInUse(EngineError):
    """Another engine runs on this data folder."""

    code = "engine_folder_in_use"


class EngineDataDamaged(EngineError):
    """The engine's append-only file can't be read: restore it, or move its folder away to start with an empty engine."""

    code = "engine_data_damaged"


class PlatformError(AmasError):
    """A box can't be started or stopped."""

    code = "platform_error"
    act = "operator"


class FleetNotRunning(PlatformError):
    """No fleet runs here: start one with `amas up`."""

    code = "fleet_not_running"


class FleetAlreadyRunning(PlatformError):
    """A fleet runs here already: `amas status` shows it, `amas down` stops it."""

    code = "fleet_already_running"


class PortInUse(PlatformError):
    """A port that the fleet needs is taken by another program."""

    code = "port_in_use"


class HomeUnusable(PlatformError):
    """The data folder can't be written: it is full, read-only, somebody else's or not a folder."""

    code = "home_unusable"


class StartFailed(PlatformError):
    """A part of the fleet didn't come up; the message carries the last lines of its log."""

    code = "start_failed"


class StageIncomplete(PlatformError):
    """A stage's agents aren't there and well in time; what was started before goes on running."""

    code = "stage_incomplete"


class IntakeClosed(PlatformError):
    """No goals and tasks are taken now; what was accepted is kept."""

    code = "intake_closed"


class ModelNotInstalled(PlatformError):
    """The local model was asked for, and its packages aren't installed."""

    code = "model_not_installed"


class RecordsError(AmasError):
    """The history can't be written or read."""

    code = "records_error"
    act = "operator"


class ArtifactError(AmasError):
    """The artifact store can't take or give a large value."""

    code = "artifact_error"
    act = "operator"


class ArtifactLost(ArtifactError):
    """What a reference stands for can't be had any more."""

    code = "artifact_lost"


class ArtifactMissing(ArtifactLost):
    """The store has no such artifact: it was removed, or this process looks at another store than the one that took it."""

    code = "artifact_missing"


class ArtifactDamaged(ArtifactLost):
    """What the store has under a reference isn't what was stored there: restore it from a back-up, or submit the value again."""

    code = "artifact_damaged"


class ArtifactStoreUnknown(ArtifactError):
    """A large value lies in the artifact store, and this process wasn't told where that is."""

    code = "artifact_store_unknown"


class ArtifactStoreUnusable(ArtifactError):
    """The artifact store doesn't answer or refuses us: the message says why. Trying again may help."""

    code = "artifact_store_unusable"


class BackupError(AmasError):
    """A back-up can't be made, read or restored."""

    code = "backup_error"
    act = "operator"


class BackupUnusable(BackupError):
    """The place of the back-ups doesn't answer or refuses us. Trying again may help."""

    code = "backup_unusable"


class BackupUnknown(BackupError):
    """There is no such back-up, or nobody said where back-ups are."""

    code = "backup_unknown"


class BackupKeyWrong(BackupError):
    """AMAS_BACKUP_KEY isn't set, can't be read, or isn't the key that the back-ups were made with."""

    code = "backup_key_wrong"


class BackupDamaged(BackupError):
    """A chunk or a manifest isn't what was stored, or a back-up doesn't add up: take another one."""

    code = "backup_damaged"


class BackupBusy(BackupError):
    """Somebody else makes or removes back-ups there: try again when that is over."""

    code = "backup_busy"


class RestoreRefused(BackupError):
    """What is to be restored into isn't empty, or can't take it: the message says what to give instead."""

    code = "restore_refused"


class DeliveryUnreadable(AmasError):
    """A folder holds no record of a delivery that could be read."""

    code = "delivery_unreadable"
    act = "author"


class SettingInvalid(AmasError):
    """An environment variable's value can't be taken: the message names it, the value and the bounds."""

    code = "setting_invalid"
    act = "operator"
