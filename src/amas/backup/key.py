"""Where the operator's secret for back-ups comes from: the environment or a file, which AMAS_BACKUP_KEY names.

Only the reference is a setting. The secret itself never stands in an argument, a log or a message.
"""

import os
from collections.abc import Mapping
from pathlib import Path

from amas.errors import BackupKeyWrong
from amas.settings import BackupSettings

SECRET_BYTES_MIN = 16
_HOW = "set AMAS_BACKUP_KEY to env:NAME or file:/path, where a secret of at least 16 characters is"


def read_secret(settings: BackupSettings | None = None, environ: Mapping[str, str] | None = None) -> bytes:
    """Return the secret; BackupKeyWrong says what to set where there is none."""
    environ = os.environ if environ is None else environ
    kind, _, name = (settings or BackupSettings.read(environ)).key.partition(":")
    if not name:
        raise BackupKeyWrong(f"back-ups are encrypted, and there is no key: {_HOW}")
    if kind == "env":
        secret = environ.get(name, "").encode()
    else:
        try:
            secret = Path(name).expanduser().read_bytes()
        except OSError as error:
            raise BackupKeyWrong(f"AMAS_BACKUP_KEY names the file {name}, which can't be read: {error.strerror}") from error
    secret = secret.strip()
    if len(secret) < SECRET_BYTES_MIN:
        raise BackupKeyWrong(f"what AMAS_BACKUP_KEY names ({kind}:{name}) holds less than {SECRET_BYTES_MIN} characters: {_HOW}")
    return secret


def forget_secret() -> None:
    """Take the secret out of this process's environment, so that nothing that agents start inherits it."""
    kind, _, name = os.environ.get("AMAS_BACKUP_KEY", "").partition(":")
    if kind == "env":
        os.environ.pop(name, None)
