"""The file with a person's sign-ins, `signed-in.json` in their data folder, one for each control plane.

Its owner alone may read it. It is replaced whole, and whoever changes it holds a lock: providers give a refresh token that counts
once, so two commands that renewed at a time would sign each other out.
"""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from amas.errors import HomeUnusable, SignInRefused

NAME = "signed-in.json"


class Kept(msgspec.Struct, frozen=True, kw_only=True):
    """One sign-in."""

    issuer: str
    client_id: str
    refresh_token: str = ""
    """What the provider gives new tokens for; empty where it gave none, so that it ends with `token`."""
    token: str
    """What requests to the control plane show."""
    ends_s: float
    """When that ends, in seconds since 1970."""
    name: str
    role: str
    tenant: str


class SignIns:
    """The sign-ins in a folder, by the control plane's address."""

    def __init__(self, folder: Path) -> None:
        self._path, self._lock = folder / NAME, folder / "signed-in.lock"

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """Keep others from changing them; HomeUnusable where that can't be written."""
        with self._usable():
            self._lock.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield
        finally:
            os.close(handle)

    def get(self, url: str) -> Kept | None:
        """Return the sign-in with a control plane, None where there is none; SignInRefused where others may read it."""
        return self._all().get(url)

    def put(self, url: str, kept: Kept | None) -> None:
        """Keep a sign-in, or with None forget it; called while they are `held`."""
        found = self._all()
        found.pop(url, None)
        if kept is not None:
            found[url] = kept
        fresh = self._path.with_suffix(".new")
        with self._usable():
            fresh.unlink(missing_ok=True)
            handle = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(msgspec.json.format(msgspec.json.encode(found)))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self._path)

    def _all(self) -> dict[str, Kept]:
        try:
            with os.fdopen(os.open(self._path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), "rb") as file:
                if os.fstat(file.fileno()).st_mode & 0o077:
                    raise SignInRefused(f"others than you may read {self._path}: remove it, and sign in again with `amas login`")
                return msgspec.json.decode(file.read(), type=dict[str, Kept])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.MsgspecError) as error:
            raise SignInRefused(f"{self._path} can't be read ({error}): remove it, and sign in again with `amas login`") from None

    @contextlib.contextmanager
    def _usable(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise HomeUnusable(
                f"{self._path} can't be written: {error.strerror or error}: set AMAS_HOME to a folder of yours"
            ) from error
