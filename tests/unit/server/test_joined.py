"""What is written in one turn of the loop goes out together, in its order, and nothing is kept back for longer."""

import asyncio

import pytest

from amas.server import joined
from amas.server.joined import Joined


class Wire(asyncio.Transport):
    """Takes down what is sent, write by write."""

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[bytes] = []
        self.closed = False

    def write(self, data) -> None:
        assert not self.closed
        self.sent.append(bytes(data))

    def close(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


@pytest.fixture
async def wire() -> Wire:
    return Wire()


async def test_a_head_goes_out_with_its_body(wire: Wire) -> None:
    transport = Joined(wire, asyncio.get_running_loop())
    for number in (b"1", b"2"):
        transport.write(b"head" + number)
        transport.write(memoryview(b"body" + number))
        assert wire.sent[-1] == b"head" + number + b"body" + number
    await asyncio.sleep(0)
    assert len(wire.sent) == 2


async def test_what_is_alone_goes_out_in_the_next_turn(wire: Wire) -> None:
    transport = Joined(wire, asyncio.get_running_loop())
    for part in (b"a", b"b", b"c"):
        transport.write(part)
    await asyncio.sleep(0)
    assert wire.sent == [b"ab", b"c"]


async def test_nothing_is_lost_at_the_end_and_large_things_are_not_copied(wire: Wire, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(joined, "JOINED_BYTES_MAX", 4)
    transport = Joined(wire, asyncio.get_running_loop())
    transport.write(b"head")
    transport.write(b"large body")
    transport.write(b"last")
    transport.close()
    await asyncio.sleep(0)
    assert wire.sent == [b"head", b"large body", b"last"] and transport.is_closing()
