"""Where the operator's secret for back-ups comes from: a reference (`amas.secrets`), which AMAS_BACKUP_KEY names.

Only the reference is a setting. The secret itself never stands in an argument, a log or a message.
"""

import os
from collections.abc import Mapping

from amas.errors import BackupKeyWrong, SecretUnreadable
from amas.secrets import Known, reveal
from amas.settings import BackupSettings

SECRET_BYTES_MIN = 16
_HOW = "set AMAS_BACKUP_KEY to env:NAME, file:/path, k8s:... or vault:..., where a secret of at least 16 characters is"


def read_secret(settings: BackupSettings | None = None, environ: Mapping[str, str] | None = None) -> bytes:
    """Return the secret; BackupKeyWrong says what to set where there is none."""
    reference = (settings or BackupSettings.read(environ)).key
    if not reference:
        raise BackupKeyWrong(f"back-ups are encrypted, and there is no key: {_HOW}")
    try:
        secret = (reveal(reference) if environ is None else Known(environ=environ).read(reference)).encode()
    except SecretUnreadable as error:
        raise BackupKeyWrong(f"AMAS_BACKUP_KEY can't be had: {error}") from None
    if len(secret) < SECRET_BYTES_MIN:
        raise BackupKeyWrong(f"what AMAS_BACKUP_KEY names ({reference}) holds less than {SECRET_BYTES_MIN} characters: {_HOW}")
    return secret


def forget_secret() -> None:
    """Take the secret out of this process's environment, so that nothing that agents start inherits it."""
    kind, _, name = os.environ.get("AMAS_BACKUP_KEY", "").partition(":")
    if kind == "env":
        os.environ.pop(name, None)
