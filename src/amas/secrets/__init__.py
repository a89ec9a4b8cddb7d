"""Secrets by reference: `env:NAME`, `file:/path`, `k8s:[namespace/]secret#key`, `vault:path#field`.

A reference goes everywhere: settings, fleet files, the engine, records, logs. What it stands for is read where it is used and
lies in that process's memory alone. `Secret` is a reference in the place of a value: its text, its repr and its msgpack show the
reference, and only `reveal()` says what it stands for. What lies across a network is kept, and read again every half minute by a
thread of its own, so `reveal()` holds up an event loop at most once. What was read is known here, so that `scrubbed` can put the
reference in its place wherever an agent, or an error, says it by mistake.

Called by the settings, hosts, agents and `amas doctor`; imports nothing but the errors, and no network unless a scheme wants it.
"""

import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from amas.errors import SecretUnreadable

SCHEMES = ("env", "file", "k8s", "vault")
FRESH_S = 30.0
"""Seconds until what was read is read again: a rotated secret is in use everywhere within a minute."""
STALE_MAX_S = 900.0
"""Seconds for which the old one goes on serving where it can't be read again: a vault's restart stops nothing."""
KNOWN_MAX = 1024
"""Secrets that a process keeps, and scrubs: more than any fleet names."""
SCRUBBED_CHARS_MIN = 6
"""What is shorter stands in innocent words as well."""
SECRET_BYTES_MAX = 64 << 10
HOSTS_OWN = frozenset({"VAULT_TOKEN", "AMAS_VAULT_TOKEN_FILE"})
"""Variables that isolated agents don't inherit: with them they could read what nobody gave them."""

_NEAR = ("env:", "file:")
"""What costs microseconds to read is read each time."""
_TEXTS = re.compile(rb'"(?:[^"\\]|\\.)*"|[^"]+')
"""The texts of a line of JSON, and what stands between them."""
_HOW = "write env:NAME, file:/path, k8s:[namespace/]secret#key or vault:path#field"


def is_reference(text: str) -> bool:
    """Return whether a text is a reference by its looks: one of the schemes, a colon and something."""
    scheme, _, rest = text.partition(":")
    return scheme in SCHEMES and bool(rest)


class Secret(msgspec.Struct, frozen=True):
    """A secret, by its reference. In a fleet file: `{secret: "vault:kv/openai#key"}`."""

    secret: str
    """The reference; it is all that is ever printed, encoded or compared."""

    def __str__(self) -> str:
        return self.secret

    def reveal(self) -> str:
        """Return what it stands for; SecretUnreadable says what to do where that can't be had.

        Blocks only where it was never read before; a host reads what its agents' options name before it makes them.
        """
        return _of_process.reveal(self.secret)


class Known:
    """What one process has read, by reference. Safe for many threads."""

    def __init__(
        self,
        *,
        environ: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
        mounted: Path = Path("/var/run/secrets/amas"),
        account: Path = Path("/var/run/secrets/kubernetes.io/serviceaccount"),
    ) -> None:
        """`environ`: the process's by default. `mounted`: where Kubernetes' Secrets are mounted, a folder each, unless
        AMAS_SECRETS_FOLDER says it; `account`: the pod's service account."""
        self._environ = os.environ if environ is None else environ
        self._clock, self._mounted, self._account = clock, mounted, account
        self._held: dict[str, tuple[str, float]] = {}
        self._given: dict[str, str] = {}
        self._lock = threading.Lock()
        self._keeper: threading.Thread | None = None
        self._said: dict[str, str] = {}
        """What is to be scrubbed and what stands in its place, what was read last at the end."""
        self._marks: tuple[tuple[str, str], ...] = ()
        """What is to be scrubbed, the longest first, each with what stands in its place."""

    def reveal(self, reference: str) -> str:
        """Return what a reference stands for; SecretUnreadable where it can't be had. Blocks where it was never read before."""
        if (given := self._given.get(reference)) is not None:
            return given
        held = None if reference.startswith(_NEAR) else self._held.get(reference)
        return held[0] if held else self.read(reference)

    def read(self, reference: str) -> str:
        """Return what a reference stands for now, and keep it; blocks for as long as its place takes to answer."""
        value = self._found(reference)
        with self._lock:
            self._held.pop(reference, None)
            self._held[reference] = value, self._clock()
            if len(self._held) > KNOWN_MAX:
                del self._held[next(iter(self._held))]
            self._mark(reference, value)
            if self._keeper is None and not reference.startswith(_NEAR):
                self._keeper = threading.Thread(target=self._keep, name="secrets", daemon=True)
                self._keeper.start()
        return value

    def refresh(self) -> None:
        """Read again what lies across a network; what can't be read is given up once its last reading is STALE_MAX_S old."""
        for reference, (_, read_s) in list(self._held.items()):
            if reference.startswith(_NEAR):
                continue
            try:
                self.read(reference)
            except SecretUnreadable:
                if self._clock() - read_s > STALE_MAX_S:
                    self._held.pop(reference, None)  # who wants it hears why it can't be had

    def give(self, values: Mapping[str, str]) -> None:
        """Take values that another process has read: an isolated agent's host reads for it."""
        with self._lock:
            self._given.update(values)
            for reference, value in values.items():
                self._mark(reference, value)

    def scrubbed(self, text: str) -> str:
        """Return a text without any secret that was read: `[vault:kv/openai#key]` stands in its place."""
        for value, mark in self._marks:
            if value in text:
                text = text.replace(value, mark)
        return text

    def scrubbed_line(self, line: bytes) -> bytes:
        """Return a line of JSON without any secret that was read, as JSON writes it."""
        for value, mark in self._marks:
            written, shown = msgspec.json.encode(value)[1:-1], msgspec.json.encode(mark)[1:-1]
            if written in line:
                line = _in_line(line, written, shown) if value.isdigit() else line.replace(written, shown)
        return line

    def _mark(self, reference: str, value: str) -> None:
        """Have a value scrubbed from now on; one that was rotated away stays among them while there is room."""
        if len(value) < SCRUBBED_CHARS_MIN:
            return
        known = self._said.pop(value, "")
        self._said[value] = known or f"[{reference}]"
        if len(self._said) > KNOWN_MAX:
            del self._said[next(iter(self._said))]
        if not known:
            self._marks = tuple(sorted(self._said.items(), key=lambda mark: -len(mark[0])))

    def _keep(self) -> None:
        while True:
            time.sleep(FRESH_S)
            self.refresh()

    def _found(self, reference: str) -> str:
        scheme, _, rest = reference.partition(":")
        if scheme not in SCHEMES or not rest:
            raise SecretUnreadable(reference, f"is no reference to a secret: {_HOW}")
        match scheme:
            case "env":
                value = self._environ.get(rest, "")
                if not value:
                    raise SecretUnreadable(reference, f"the environment has no variable {rest}: set it where this process starts")
            case "file":
                value = _read_file(reference, Path(rest).expanduser())
            case "k8s":
                from amas.secrets.kubernetes import read_kubernetes

                mounted = Path(self._environ.get("AMAS_SECRETS_FOLDER", "") or self._mounted)
                value = read_kubernetes(reference, environ=self._environ, mounted=mounted, account=self._account)
            case _:
                from amas.secrets.vault import read_vault

                value = read_vault(reference, environ=self._environ, account=self._account)
        if len(value) > SECRET_BYTES_MAX:
            raise SecretUnreadable(reference, f"is over {SECRET_BYTES_MAX} bytes, which is no secret: name another")
        return value.strip()


def _in_line(line: bytes, digits: bytes, shown: bytes) -> bytes:
    """Return a line without a secret that is a number: where it stands as one, a mark in its place would be no JSON."""

    def other(part: re.Match[bytes]) -> bytes:
        return part[0].replace(digits, shown if part[0].startswith(b'"') else b"9" * len(digits))

    return _TEXTS.sub(other, line)


def _read_file(reference: str, path: Path) -> str:
    try:
        with path.open() as file:
            text = file.read(SECRET_BYTES_MAX + 1)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise SecretUnreadable(reference, f"the file can't be read: {why}") from None
    if not text.strip():
        raise SecretUnreadable(reference, "the file is empty: write the secret into it")
    return text


def revealed(values: Mapping[str, str]) -> dict[str, str]:
    """Return values by name, with what they stand for in the place of references. Blocks as `reveal` does."""
    return {name: reveal(value) if is_reference(value) else value for name, value in values.items()}


def revealed_headers(values: Mapping[str, str]) -> dict[str, str]:
    """Return an HTTP request's headers as `revealed` does; SecretUnreadable, without it, for what no header can carry."""
    found = revealed(values)
    for name, value in found.items():
        if not (value.isascii() and value.isprintable()):
            why = "it has a line break or other characters that no HTTP header may have: mend the secret"
            raise SecretUnreadable(values[name] if is_reference(values[name]) else name, why)
    return found


def secrets_in(value: Any) -> Iterator[str]:
    """Yield the references of all secrets within options, as a fleet file writes them or as `with_secrets` gives them."""
    if isinstance(value, Secret):
        yield value.secret
    elif isinstance(value, dict):
        if is_written(value):
            yield value["secret"]
        else:
            for each in value.values():
                yield from secrets_in(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from secrets_in(each)


def with_secrets(value: Any) -> Any:
    """Return options with a `Secret` in the place of each `{secret: reference}`; what has none comes back as it is."""
    if isinstance(value, dict):
        return Secret(value["secret"]) if is_written(value) else {name: with_secrets(each) for name, each in value.items()}
    return [with_secrets(each) for each in value] if isinstance(value, list) else value


def is_written(value: Mapping[str, Any]) -> bool:
    """Return whether a mapping is a secret as fleet files write it: the one key `secret`, with a text."""
    return len(value) == 1 and isinstance(value.get("secret"), str)


_of_process = Known()
reveal, read, give, scrubbed, scrubbed_line = (
    _of_process.reveal,
    _of_process.read,
    _of_process.give,
    _of_process.scrubbed,
    _of_process.scrubbed_line,
)
"""This process's."""
