"""An HTTP connection to one address that was looked at before, whatever its host's name stands for by then.

Used by foreign agents and by tools: who decided that an address may be called calls that one, and reads no more than it wants.
"""

import http.client
import socket
import ssl
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from typing import NamedTuple

EVENTS = "text/event-stream"


class Answer(NamedTuple):
    """What a server said."""

    status: int
    headers: Mapping[str, str]
    """By names in lower case."""
    body: bytes


class Pinned(http.client.HTTPConnection):
    """A connection to one address; without TLS unless `secure`."""

    def __init__(self, host: str, port: int, address: str, *, secure: bool, timeout_s: float) -> None:
        super().__init__(host, port, timeout=timeout_s)
        self._address, self._secure, self._ended = address, secure, False

    def connect(self) -> None:
        """Connect to the address, and with TLS make sure that it is the host's; ConnectionAbortedError once nobody waits."""
        self.sock = socket.create_connection((self._address, self.port), self.timeout)
        if self._secure:
            tls = _trusted().wrap_socket(self.sock, server_hostname=self.host, do_handshake_on_connect=False)
            self.sock = tls  # so that a handshake a byte at a time can be ended, too
            self._go_on()
            tls.do_handshake()
        self._go_on()

    def _go_on(self) -> None:
        """Raise ConnectionAbortedError where the end came before there was a socket to shut down."""
        if self._ended:
            self.close()
            raise ConnectionAbortedError("the attempt was stopped")

    def ask(self, method: str, target: str, headers: dict[str, str], body: bytes, *, bytes_max: int) -> Answer:
        """Send a request and return the answer, of a body that is too large one byte more than `bytes_max`; blocks."""
        self.request(method, target, body or None, headers)
        answer = self.getresponse()
        read = answer.read(bytes_max + 1)
        return Answer(answer.status, {name.lower(): value for name, value in answer.getheaders()}, read)

    def listen(
        self, target: str, headers: dict[str, str], body: bytes, *, heard: Callable[[bytes], bool], bytes_max: int
    ) -> Answer:
        """Post, and hand `heard` the data of each server-sent event until it returns True or the stream ends; blocks.

        The answer has a body where no stream came. HTTPException for an event of more than `bytes_max`, its comments included.
        """
        self.request("POST", target, body, headers)
        answer = self.getresponse()
        said = {name.lower(): value for name, value in answer.getheaders()}
        if answer.status != 200 or not said.get("content-type", "").startswith(EVENTS):
            return Answer(answer.status, said, answer.read(bytes_max + 1))
        data: list[bytes] = []
        size = 0
        while line := answer.readline(bytes_max + 1):
            size += len(line)
            if size > bytes_max:
                raise http.client.HTTPException(f"an event has more than {bytes_max} bytes")
            if (text := line.rstrip(b"\r\n")).startswith(b"data:"):
                data.append(text[5:].removeprefix(b" "))
            elif not text:
                if data and heard(b"\n".join(data)):
                    break
                data, size = [], 0
        return Answer(answer.status, said, b"")

    def end(self) -> None:
        """Close it, and wake up a thread that reads from it; one that connects sends nothing any more."""
        self._ended = True
        if self.sock is not None:
            with suppress(OSError):
                self.sock.shutdown(socket.SHUT_RDWR)
        self.close()


@cache
def _trusted() -> ssl.SSLContext:
    """Return whom we trust: reading the certificates takes as long as a request."""
    return ssl.create_default_context()
