"""Requests to a server that a pool declares and somebody else runs: where they may go, and what an answer's status means.

They go to the host that is declared and no other: redirects within it are followed, others refused; an address within a private
network is called only where `private` says so, one under which clouds give out credentials never, and what was looked up is what
is connected to, so that a name can't change its mind in between. An answer that doesn't come whole within its time is cut off, at
whatever pace it comes. What an answer means: 2xx a success; 429 that the task waits as long as `Retry-After` says, which is no
failure; another 4xx that no attempt can help; anything else, or silence, that another attempt may.
"""

import asyncio
import email.utils
import http.client
import os
import socket
from collections.abc import Callable, Mapping
from time import time
from urllib.parse import SplitResult, urljoin, urlsplit

from amas.agents.pinned import Answer, Pinned
from amas.agents.threads import DaemonThreads
from amas.core.breaker import Outcome, outcome_of
from amas.errors import GiveUp, RateLimited, RetryLater, SecretUnreadable
from amas.policy.outbound import allowed, is_public
from amas.secrets import is_reference, revealed

ANSWER_BYTES_MAX = 64 << 20
"""As results: what is larger isn't carried."""
REDIRECTS_MAX = 3
RETRY_AFTER_S = 5.0
"""Where a server that is busy doesn't say for how long."""
RETRY_AFTER_MAX_S = 3600.0
SHOWN_CHARS = 300
"""Of an answer that says no."""
ENVIRONMENT = "env:"


class Foreign:
    """How one agent reaches its pool's server."""

    def __init__(
        self, section: str, *, headers: Mapping[str, str], timeout_s: float, private: bool, threads: DaemonThreads
    ) -> None:
        """`section`: of the fleet file, to name where something can be said; `headers`: values may be references to secrets."""
        self._section, self._headers, self._timeout_s, self._private = section, dict(headers), timeout_s, private
        self._threads = threads

    async def headers(self) -> dict[str, str]:
        """Return what the fleet file says, with the secrets that it refers to; RetryLater where one can't be had now."""
        if not any(map(is_reference, self._headers.values())):
            return self._headers
        try:
            return await asyncio.wrap_future(self._threads.submit(revealed, self._headers))
        except SecretUnreadable as error:
            raise RetryLater(str(error)) from error

    async def talk(
        self, method: str, url: str, headers: Mapping[str, str], body: bytes, *, bytes_max: int = ANSWER_BYTES_MAX
    ) -> Answer:
        """Return the server's answer, whatever its status; RetryLater where there was none, GiveUp where it may not be asked."""
        parts = urlsplit(url)

        def asking(connection: Pinned, target: str) -> Answer:
            return connection.ask(method, target, dict(headers), body, bytes_max=bytes_max)

        try:
            async with asyncio.timeout(self._timeout_s):
                for _ in range(REDIRECTS_MAX + 1):
                    answer = await self._once(parts, asking, bytes_max)
                    if answer.status not in {307, 308}:
                        return answer
                    parts = _within(parts, answer.headers.get("location", ""))
        except UnicodeError as error:  # a host's name, or a redirect's address, that can't be written in a request
            raise GiveUp(f"{parts.netloc!r} can't be asked: {error}", code="redirect_refused") from error
        except TimeoutError as error:
            raise RetryLater(f"{parts.scheme}://{parts.netloc} gave no whole answer within {self._timeout_s:g} s") from error
        except (OSError, http.client.HTTPException) as error:
            raise RetryLater(f"{parts.scheme}://{parts.netloc} doesn't answer: {error or type(error).__name__}") from error
        raise GiveUp(f"{url} redirects in circles", code="redirect_refused")

    async def listen(
        self, url: str, headers: Mapping[str, str], body: bytes, *, heard: Callable[[bytes], bool], bytes_max: int
    ) -> Answer:
        """Post, and have `heard` called, in a thread, with each server-sent event until it returns True or the stream ends.

        Returns and raises as `talk`, but follows no redirect, and a stream may take as long as the caller waits for it.
        """
        parts = urlsplit(url)

        def listening(connection: Pinned, target: str) -> Answer:
            return connection.listen(target, dict(headers), body, heard=heard, bytes_max=bytes_max)

        try:
            return await self._once(parts, listening, bytes_max)
        except (OSError, http.client.HTTPException) as error:
            raise RetryLater(f"the stream of {parts.netloc} broke off: {error or type(error).__name__}") from error

    async def _once(self, parts: SplitResult, asking: Callable[[Pinned, str], Answer], bytes_max: int) -> Answer:
        host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
        looked_up = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
        address = str(looked_up[0][4][0])
        self._reject(host, address)
        connection = Pinned(host, port, address, secure=parts.scheme == "https", timeout_s=self._timeout_s)
        target = f"{parts.path or '/'}{'?' + parts.query if parts.query else ''}"
        try:
            answer = await asyncio.wrap_future(self._threads.submit(asking, connection, target))
        finally:  # cancelled, too: the thread's read ends with its socket
            connection.end()
        if len(answer.body) > bytes_max:
            most = f"{bytes_max >> 20} MiB" if bytes_max >= 1 << 20 else f"{bytes_max >> 10} KiB"
            raise GiveUp(f"{host} answered more than {most}", code="answer_too_large")
        return answer

    def _reject(self, host: str, address: str) -> None:
        """Raise GiveUp unless an address may be called."""
        if not allowed(address):
            raise GiveUp(
                f"{host} is at {address}, a link-local or metadata address, which is never called", code="address_refused"
            )
        if not self._private and not is_public(address):
            raise GiveUp(
                f"{host} is at {address}, which is no public address: "
                f"say `private: true` under {self._section} where that is meant",
                code="address_refused",
            )


def mistake_of(url: str, *, timeout_s: float, headers: Mapping[str, str]) -> str:
    """Return what is wrong with how a server is declared, in a sentence; "" when it is sound."""
    if not is_address(url):
        return f"{url!r} is no address: write https://host/path, with secrets under headers"
    if not 0 < timeout_s <= 3600:
        return f"a timeout of {timeout_s:g} s can't be taken: more than 0 and up to 3600 s can"
    named = [value for value in headers.values() if value.startswith(ENVIRONMENT)]
    missing = [value for value in named if not os.environ.get(value.removeprefix(ENVIRONMENT))]
    return f"{missing[0]} is wanted for a header, and the environment has no such variable" if missing else ""


def is_address(url: str) -> bool:
    """Return whether it is the address of something on a host, without anybody's name and password."""
    try:
        parts = urlsplit(url)
        return parts.scheme in {"http", "https"} and bool(parts.hostname) and not parts.username and parts.port != 0
    except ValueError:
        return False


def outcome(error: BaseException | None) -> Outcome:
    """Return what the breaker of a server is told: one that is away or in trouble fails, one that refuses a task has answered."""
    return "error" if isinstance(error, RetryLater) else outcome_of(error)


def judge(answer: Answer) -> None:
    """Raise what an answer's status means, unless it is a success."""
    if 200 <= answer.status < 300:
        return
    said = f"the server answered {answer.status}: {answer.body[:SHOWN_CHARS].decode(errors='replace')}"
    if answer.status == 429:
        raise RateLimited(_retry_after_s(answer.headers) or RETRY_AFTER_S)  # 0 for ever would be a circle
    if answer.status >= 500 or answer.status in {408, 425}:
        raise RetryLater(said, delay_s=_retry_after_s(answer.headers))
    raise GiveUp(said, code="redirect_refused" if answer.status < 400 else "request_refused")


def _within(parts: SplitResult, location: str) -> SplitResult:
    """Return where a redirect leads; GiveUp unless that is on the same server."""
    try:
        target = urlsplit(urljoin(parts.geturl(), location))
    except ValueError as error:
        raise GiveUp(f"{parts.netloc} redirects to {location[:200]!r}, which is no address", code="redirect_refused") from error
    if not location or (target.scheme, target.netloc) != (parts.scheme, parts.netloc):
        raise GiveUp(f"{parts.netloc} redirects to {target.netloc or 'nowhere'}, which isn't declared", code="redirect_refused")
    return target


def _retry_after_s(headers: Mapping[str, str]) -> float | None:
    """Return what Retry-After says in seconds, an hour at most; None where it says nothing."""
    text = headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return min(float(text), RETRY_AFTER_MAX_S)
    try:
        at = email.utils.parsedate_to_datetime(text).timestamp()
    except (ValueError, OverflowError):
        return None
    return min(max(at - time(), 0.0), RETRY_AFTER_MAX_S)
