"""The secret that a local fleet's messages are signed with: AMAS_MESSAGE_SECRET, or else a file in its home.

The supervisor makes the file, once; hosts, the control plane and programs on this machine read it. It is never handed on in
arguments, printed or logged, and whoever may read the home may send as any agent.
"""

import contextlib
import os
import secrets

import msgspec

from amas.errors import SettingInvalid
from amas.platforms.local.home import Home
from amas.settings import MessageSettings

SECRET_BYTES = 32


def make_message_secret(home: Home) -> None:
    """Make the file where there is none; called under the home's lock. A fleet that starts again keeps what it has."""
    with home.usable():
        if home.secret_file.exists():
            home.secret_file.chmod(0o600)
            return
        fresh = home.secret_file.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_hex(SECRET_BYTES))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(home.secret_file)


def message_settings(home: Home) -> MessageSettings:
    """Return the settings of messages with the fleet's secret; without one, where there is neither variable nor file."""
    settings = MessageSettings.read()
    if settings.secret:
        return settings
    text = ""
    with home.usable(), contextlib.suppress(FileNotFoundError):
        text = home.secret_file.read_text().strip()
    try:
        return msgspec.structs.replace(settings, secret=text)
    except SettingInvalid:
        raise SettingInvalid(
            f"{home.secret_file} holds no secret of at least 16 visible characters: remove it and start the fleet again"
        ) from None


def forget_message_secret() -> None:
    """Take the secret out of this process's environment, so that nothing that agents start inherits it."""
    os.environ.pop("AMAS_MESSAGE_SECRET", None)
