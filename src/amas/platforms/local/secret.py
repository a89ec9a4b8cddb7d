"""The secrets of a local fleet: what its messages are signed with (AMAS_MESSAGE_SECRET, or else a file in its home), and the key
that commands on this machine show its API.

The supervisor makes the files, once; hosts, the control plane and programs on this machine read them. They are never handed on in
arguments, printed or logged, and whoever may read the home may send as any agent and do anything.
"""

import contextlib
import os
import secrets
from pathlib import Path

import msgspec

from amas.errors import SettingInvalid
from amas.platforms.local.home import Home
from amas.settings import MessageSettings

SECRET_BYTES = 32


def make_message_secret(home: Home) -> None:
    """Make the messages' secret where there is none; called under the home's lock. A fleet that starts again keeps its own."""
    _make(home, home.secret_file)


def make_api_key(home: Home) -> None:
    """Make the home's key of the API where there is none; called under the home's lock."""
    _make(home, home.key_file)


def api_key(home: Home) -> str:
    """Return the home's key of the API, "" where there is none that this user may read."""
    with contextlib.suppress(OSError):
        return home.key_file.read_text().strip()
    return ""


def _make(home: Home, path: Path) -> None:
    with home.usable():
        if path.exists():
            path.chmod(0o600)
            return
        fresh = path.with_suffix(".new")
        fresh.unlink(missing_ok=True)
        handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w") as file:
            file.write(secrets.token_hex(SECRET_BYTES))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(path)


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
