"""What operators must look after: engine, platform, records, artifacts, back-ups, settings. Import these from `amas.errors`."""

from amas.errors.base import AmasError


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


class AuditError(AmasError):
    """The audit can't be written: administrative acts are refused until it can."""

    code = "audit_error"
    act = "operator"


class AuditDamaged(AuditError):
    """A line of the audit was changed, removed or put in: the message names the first that isn't sound."""

    code = "audit_damaged"


class SettingInvalid(AmasError):
    """An environment variable's value can't be taken: the message names it, the value and the bounds."""

    code = "setting_invalid"
    act = "operator"


class ProviderFailed(AmasError):
    """The provider that people sign in with is away, or isn't what was set."""

    code = "provider_failed"
    act = "operator"


class SecretUnreadable(AmasError):
    """A reference to a secret can't be resolved: the message names the reference, never the secret, and the way out."""

    code = "secret_unreadable"
    act = "operator"

    def __init__(self, reference: str, why: str) -> None:
        super().__init__(f"the secret {reference}: {why}")
        self.reference = reference


class SealError(AmasError):
    """A payload can't be sealed or opened."""

    code = "seal_error"
    act = "operator"


class SealKeyMissing(SealError):
    """Payloads of this fleet are sealed with a key that this process doesn't have; who has it can do the work."""

    code = "seal_key_missing"
    retry_after_s = 5.0
    """Until a task that is sealed with it is offered again, to whoever claims it."""

    def __init__(self, key_id: str) -> None:
        super().__init__(
            f"payloads of this fleet are sealed with the key {key_id}, which AMAS_SEAL_KEY doesn't name here: "
            "name it there as well, behind the one that seals, and start this process again"
        )
        self.key_id = key_id


class SealBroken(SealError):
    """A sealed payload isn't what was sealed: restore it, or submit its task again."""

    code = "seal_broken"
