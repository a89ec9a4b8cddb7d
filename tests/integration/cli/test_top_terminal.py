"""`amas top` in a terminal of its own: however it ends, the terminal is as it was before."""

import os
import pty
import re
import signal
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator
from select import select

import pytest

from amas.cli.top_app import TERMINATED
from amas.clock import monotonic_s

LIMIT_S = 60
SHOWN, GONE, CURSOR = b"\x1b[?1049h", b"\x1b[?1049l", b"\x1b[?25h"


class Terminal:
    """A screen of a real pseudo-terminal with `amas top` on it, of a fleet that isn't there."""

    def __init__(self, **environment: str) -> None:
        self.screen, self._end = pty.openpty()
        termios.tcsetwinsize(self._end, (24, 80))
        self.before = termios.tcgetattr(self._end)
        inherited = {name: value for name, value in os.environ.items() if name not in ("NO_COLOR", "FORCE_COLOR")}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "amas", "top"],
            env={**inherited, "TERM": "xterm-256color", "AMAS_URL": "http://127.0.0.1:1", **environment},
            stdin=self._end,
            stdout=self._end,
            stderr=self._end,
            start_new_session=True,
        )
        self.said = b""

    def until(self, told: Callable[[bytes], bool]) -> None:
        """Read what it writes until that is there."""
        give_up_s = monotonic_s() + LIMIT_S
        while not told(self.said):
            assert monotonic_s() < give_up_s, self.said[-2000:]
            if select([self.screen], [], [], 0.1)[0]:
                self.said += os.read(self.screen, 65536)
            elif self.process.poll() is not None:
                assert told(self.said), self.said[-2000:]

    def close(self) -> None:
        """End it, whatever it does."""
        self.process.kill()
        self.process.wait(LIMIT_S)
        os.close(self.screen)
        os.close(self._end)

    @property
    def settings(self) -> list[object]:
        """How the terminal is set."""
        return termios.tcgetattr(self._end)


@pytest.fixture
def open_terminal() -> Iterator[Callable[..., Terminal]]:
    opened: list[Terminal] = []

    def make(**environment: str) -> Terminal:
        opened.append(Terminal(**environment))
        return opened[-1]

    yield make
    for one in opened:
        one.close()


ENDS: dict[str, tuple[Callable[[Terminal], object], int]] = {
    "q": (lambda terminal: os.write(terminal.screen, b"q"), 0),
    "Ctrl-C": (lambda terminal: os.write(terminal.screen, b"\x03"), 0),
    "SIGTERM": (lambda terminal: terminal.process.send_signal(signal.SIGTERM), TERMINATED),
}


@pytest.mark.parametrize("how", ENDS)
def test_the_terminal_is_given_back_as_it_was(open_terminal: Callable[..., Terminal], how: str) -> None:
    terminal = open_terminal()
    terminal.until(lambda said: SHOWN in said and b"Pools" in said and b"answer" in said)
    assert terminal.settings != terminal.before
    end, code = ENDS[how]
    end(terminal)
    terminal.until(lambda said: GONE in said and said.rfind(CURSOR) > said.find(SHOWN))
    assert terminal.process.wait(LIMIT_S) == code
    assert terminal.settings == terminal.before


def test_no_colour_is_used_where_none_is_wanted(open_terminal: Callable[..., Terminal]) -> None:
    terminal = open_terminal(NO_COLOR="1")
    terminal.until(lambda said: b"Pools" in said and b"answer" in said)
    colours = [each for each in re.findall(rb"\x1b\[([0-9;]*)m", terminal.said) if re.search(rb"(^|;)([34]8;2|[349][0-7])", each)]
    assert not [each for each in colours if not _grey(each)]


def _grey(style: bytes) -> bool:
    """Return whether a style's colours are all without a hue."""
    return all(len(set(each.split(b";"))) == 1 for each in re.findall(rb"[34]8;2;(\d+;\d+;\d+)", style)) and b"8;2" in style
