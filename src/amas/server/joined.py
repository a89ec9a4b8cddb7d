"""An answer's head and body in one write: the server writes the two one after the other, and the event loop sends each at once.

That is a packet and a turn of the kernel for each answer, here and where it is read. What is alone, as the parts of a stream are,
goes out in the loop's next turn.
"""

import asyncio
from typing import Any

JOINED_BYTES_MAX = 1 << 16
"""More is sent as it is: to copy it costs more than a packet."""


class Joined:
    """A connection's transport that sends two writes of one turn together."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport, self._loop = transport, loop
        self._held = b""
        self._sending: asyncio.Handle | None = None

    def write(self, data: bytes) -> None:
        """Send what is held with this, or hold this."""
        if len(data) > JOINED_BYTES_MAX:
            self._send()
            self._transport.write(data)
        elif self._sending is None:
            self._held = data
            self._sending = self._loop.call_soon(self._send)
        else:
            self._held = b"".join((self._held, data))
            self._send()

    def close(self) -> None:
        """Send what is held, and close."""
        self._send()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        """Return whatever else a transport does."""
        return getattr(self._transport, name)

    def _send(self) -> None:
        if self._sending is not None:
            self._sending.cancel()
            self._sending = None
            held, self._held = self._held, b""
            self._transport.write(held)
