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
│   ├── DesiredChanged        nobody     somebody else changed what is wanted meanwhile: look again
│   ├── AlertsChanged         nobody     somebody else changed an alert or a run-book's run meanwhile: look again
│   └── RunBookRefused        author     there is no such run-book or run, or it can't do that now
├── ScheduleInvalid           author     a schedule can never be due, or has nothing to submit
├── ScheduleChanged           nobody     somebody else changed a schedule meanwhile: look again
├── TaskError                 nobody     one task's or attempt's fate
│   ├── AttemptStale
│   ├── TaskCancelled
│   ├── TaskUnknown
│   ├── WorkflowUnknown
│   ├── AgentUnknown
│   ├── AgentTaken            author     another live session has an agent of this name
│   ├── AgentsFull            operator   as many remote agents are registered as there may be
│   ├── RemoteRefused         author     the control plane refused what a remote agent said
│   │   └── RemoteTokenRefused
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
│   ├── ToolFailed            raised in agents, by a tool that ran
│   └── GiveUp                raised by agents
│       ├── SignalExpired     raised in agents
│       ├── NotAllowed        raised in agents, by what they may not do
│       ├── ToolRefused       raised in agents, by the policy that decides about tools
│       ├── ToolMisused       raised in agents, by arguments that a tool doesn't take
│       └── ToolUnsure        raised in agents, where a tool may have run already
├── SubmissionError           author     a submission was refused whole; nothing was stored
│   ├── DependencyUnknown
│   ├── CapabilityUnknown
│   ├── QueueFull
│   ├── IdempotencyConflict
│   ├── RequestUnderWay       nobody
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
├── AuditError                operator   the audit can't be written: administrative acts are refused until it can
│   └── AuditDamaged          a line was changed, removed or put in
├── AccessError               author     a key can't be made or revoked as it was asked
│   ├── KeyUnknown
│   ├── SignInRefused         who somebody is wasn't proved, or they may do nothing
│   └── TokenRefused          an agent's token doesn't count
│       ├── TokenExpired
│       ├── TokenForged
│       ├── TokenForAnother
│       ├── TokenKeyUnknown
│       └── TokenRevoked
├── ProviderFailed            operator   the provider that people sign in with can't be used
├── WebhookError              author     a webhook can't be kept or found as it was asked
│   ├── WebhookUnknown
│   └── WebhooksFull
├── DeliveryUnreadable        author     a folder holds no record of a delivery
├── SecretUnreadable          operator   a reference to a secret can't be resolved
├── SealError                 operator   a payload can't be sealed or opened
│   ├── SealKeyMissing        whoever has the key can go on
│   └── SealBroken
└── SettingInvalid            operator   an environment variable's value can't be taken
"""

from amas.errors.author import (
    AccessError,
    AlertsChanged,
    CapabilityUnknown,
    DeliveryUnreadable,
    DependencyUnknown,
    DesiredChanged,
    ExpressionInvalid,
    FleetError,
    FleetFileInvalid,
    FlowInvalid,
    GoalError,
    GoalOverBudget,
    IdempotencyConflict,
    InboxFull,
    InputUnusable,
    KeyUnknown,
    MessageError,
    MessageForbidden,
    MessageRefused,
    NoPlaybook,
    PayloadTooLarge,
    PlanRefused,
    QueueFull,
    ReplyOverdue,
    RequestUnderWay,
    RolloutRefused,
    RunBookRefused,
    ScheduleChanged,
    ScheduleInvalid,
    SignInRefused,
    SubmissionError,
    TokenExpired,
    TokenForAnother,
    TokenForged,
    TokenKeyUnknown,
    TokenRefused,
    TokenRevoked,
    WebhookError,
    WebhooksFull,
    WebhookUnknown,
)
from amas.errors.base import (
    Actor,
    AmasError,
)
from amas.errors.operator import (
    ArtifactDamaged,
    ArtifactError,
    ArtifactLost,
    ArtifactMissing,
    ArtifactStoreUnknown,
    ArtifactStoreUnusable,
    AuditDamaged,
    AuditError,
    BackupBusy,
    BackupDamaged,
    BackupError,
    BackupKeyWrong,
    BackupUnknown,
    BackupUnusable,
    EngineDataDamaged,
    EngineDiskFull,
    EngineError,
    EngineFolderInUse,
    EngineFunctionsMismatch,
    EngineStartFailed,
    EngineUnconfirmed,
    EngineUnreachable,
    EngineUnsupported,
    FleetAlreadyRunning,
    FleetNotRunning,
    HomeUnusable,
    IntakeClosed,
    ModelNotInstalled,
    PlatformError,
    PortInUse,
    ProviderFailed,
    RecordsError,
    RestoreRefused,
    SealBroken,
    SealError,
    SealKeyMissing,
    SecretUnreadable,
    SettingInvalid,
    StageIncomplete,
    StartFailed,
)
from amas.errors.tasks import (
    AgentsFull,
    AgentTaken,
    AgentUnknown,
    AttemptStale,
    BudgetExhausted,
    DependencyDown,
    GiveUp,
    LimitUnknown,
    ModelUnavailable,
    NotAllowed,
    RateLimited,
    RemoteRefused,
    RemoteTokenRefused,
    ResetRefused,
    RetryLater,
    ScheduleUnknown,
    SessionLost,
    SignalExpired,
    SignalRefused,
    TaskCancelled,
    TaskError,
    TaskFailed,
    TaskUnknown,
    ToolFailed,
    ToolMisused,
    ToolRefused,
    ToolUnsure,
    WorkflowUnknown,
)

__all__ = [
    "AccessError",
    "Actor",
    "AgentTaken",
    "AgentUnknown",
    "AgentsFull",
    "AlertsChanged",
    "AmasError",
    "ArtifactDamaged",
    "ArtifactError",
    "ArtifactLost",
    "ArtifactMissing",
    "ArtifactStoreUnknown",
    "ArtifactStoreUnusable",
    "AttemptStale",
    "AuditDamaged",
    "AuditError",
    "BackupBusy",
    "BackupDamaged",
    "BackupError",
    "BackupKeyWrong",
    "BackupUnknown",
    "BackupUnusable",
    "BudgetExhausted",
    "CapabilityUnknown",
    "DeliveryUnreadable",
    "DependencyDown",
    "DependencyUnknown",
    "DesiredChanged",
    "EngineDataDamaged",
    "EngineDiskFull",
    "EngineError",
    "EngineFolderInUse",
    "EngineFunctionsMismatch",
    "EngineStartFailed",
    "EngineUnconfirmed",
    "EngineUnreachable",
    "EngineUnsupported",
    "ExpressionInvalid",
    "FleetAlreadyRunning",
    "FleetError",
    "FleetFileInvalid",
    "FleetNotRunning",
    "FlowInvalid",
    "GiveUp",
    "GoalError",
    "GoalOverBudget",
    "HomeUnusable",
    "IdempotencyConflict",
    "InboxFull",
    "InputUnusable",
    "IntakeClosed",
    "KeyUnknown",
    "LimitUnknown",
    "MessageError",
    "MessageForbidden",
    "MessageRefused",
    "ModelNotInstalled",
    "ModelUnavailable",
    "NoPlaybook",
    "NotAllowed",
    "PayloadTooLarge",
    "PlanRefused",
    "PlatformError",
    "PortInUse",
    "ProviderFailed",
    "QueueFull",
    "RateLimited",
    "RecordsError",
    "RemoteRefused",
    "RemoteTokenRefused",
    "ReplyOverdue",
    "RequestUnderWay",
    "ResetRefused",
    "RestoreRefused",
    "RetryLater",
    "RolloutRefused",
    "RunBookRefused",
    "ScheduleChanged",
    "ScheduleInvalid",
    "ScheduleUnknown",
    "SealBroken",
    "SealError",
    "SealKeyMissing",
    "SecretUnreadable",
    "SessionLost",
    "SettingInvalid",
    "SignInRefused",
    "SignalExpired",
    "SignalRefused",
    "StageIncomplete",
    "StartFailed",
    "SubmissionError",
    "TaskCancelled",
    "TaskError",
    "TaskFailed",
    "TaskUnknown",
    "TokenExpired",
    "TokenForAnother",
    "TokenForged",
    "TokenKeyUnknown",
    "TokenRefused",
    "TokenRevoked",
    "ToolFailed",
    "ToolMisused",
    "ToolRefused",
    "ToolUnsure",
    "WebhookError",
    "WebhookUnknown",
    "WebhooksFull",
    "WorkflowUnknown",
]
