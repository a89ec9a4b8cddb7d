"""What shells offer when the user presses tab: in bash, zsh and fish themselves where this machine has them."""

import json
import os
import pty
import select
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from http_served import Whole, bound, running

AMAS = Path(sys.executable).with_name("amas")
LIMIT_S = 60
HOSTILE = "$(touch made) `touch made` \\$(touch made) 'x\" :) (y;touch made"
LISTS = {
    "/api/workflows": [{"id": "0199-wf", "goal": {"text": HOSTILE}}, {"id": "$(touch made)", "goal": None}],
    "/api/pools": [
        {"pool": "coder", "agents": {"total": 2}, "capabilities": ["code.write", "text.write"]},
        {"pool": "code-reviewer", "agents": {"total": 1}, "capabilities": ["code.review"]},
    ],
    "/api/agents": [{"agent_id": "coder-1", "status": "idle"}, {"agent_id": "coder-2", "status": "working"}],
    "/api/tasks": [],
}


class Lists(Whole):
    """As much of a fleet's API as completion asks."""

    def do_GET(self) -> None:
        self.say(200, json.dumps({"items": LISTS[self.path.partition("?")[0]], "next": None}).encode())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Where shells run: with `amas` on their path, and a fleet elsewhere."""
    folder = tmp_path_factory.mktemp("home")
    with running(bound(Lists)) as url:
        yield {
            "PATH": f"{AMAS.parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "AMAS_HOME": str(folder / "amas"),
            "AMAS_URL": url,
            "TERM": "dumb",
            "LANG": "C.UTF-8",
        }


def offered(place: dict[str, str], *words: str) -> list[str]:
    """Return what bash is offered for the last of these words."""
    asked = {"_AMAS_COMPLETE": "complete_bash", "COMP_WORDS": " ".join(("amas", *words)), "COMP_CWORD": str(len(words))}
    done = subprocess.run([AMAS], env={**place, **asked}, capture_output=True, text=True, timeout=LIMIT_S, check=True)
    assert done.stderr == ""
    return done.stdout.split()


@pytest.mark.parametrize(
    ("words", "wanted"),
    [
        (("to",), ["top", "tools"]),
        (("tasks", "--st"), ["--state"]),
        (("tasks", "--state", "s"), ["succeeded"]),
        (("workflows", ""), ["show", "start", "pause", "resume", "rerun", "signal", "0199-wf"]),
        (("workflows", "pause", ""), ["0199-wf"]),
        (("ps", "code"), ["coder", "code-reviewer"]),
        (("agents", "coder-"), ["coder-1", "coder-2"]),
        (("submit", "code"), ["code.write", "code.review"]),
        (("up", "--fleet", "blackr"), ["blackroad"]),
    ],
)
def test_commands_options_and_names_are_offered(place: dict[str, str], words: tuple[str, ...], wanted: list[str]) -> None:
    assert offered(place, *words) == wanted


def test_no_fleet_offers_no_names_and_says_nothing(place: dict[str, str]) -> None:
    assert offered({**place, "AMAS_URL": ""}, "agents", "c") == []
    assert offered({**place, "AMAS_URL": "http://127.0.0.1:1"}, "agents", "c") == []


def missing(shell: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(shell) is None, reason=f"{shell} isn't installed here")


@pytest.mark.parametrize(
    ("shell", "options"),
    [
        pytest.param("bash", ["--norc", "-i"], marks=missing("bash")),
        pytest.param("zsh", ["-f", "-i"], marks=missing("zsh")),
        pytest.param("fish", ["--no-config", "-i"], marks=missing("fish")),
    ],
)
def test_tab_completes_in_a_shell_that_obeys_nothing_it_is_offered(
    shell: str, options: list[str], place: dict[str, str], tmp_path: Path
) -> None:
    script = tmp_path / "script"
    made = subprocess.run(
        [AMAS], env={**place, "_AMAS_COMPLETE": f"source_{shell}"}, stdout=subprocess.PIPE, timeout=LIMIT_S, check=True
    )
    script.write_bytes(made.stdout)
    begin = {"zsh": "autoload -Uz compinit; compinit -u -D; "}.get(shell, "")
    environment = {**place, "TERM": "xterm"} if shell == "fish" else place
    with Typing([shell, *options], tmp_path, environment) as typing:
        typing.write(f"{begin}source {shlex.quote(str(script))}; echo rea''dy\n")
        typing.until("ready")
        typing.write("amas diag\t")
        typing.until("nose")
        typing.write(" --prof\t")
        typing.until("ile")
        typing.write("\x15")  # the line anew
        typing.write("amas workflows pause 01\t")
        typing.until("99-wf")
    assert not (tmp_path / "made").exists()


class Typing:
    """A shell on a terminal, typed into."""

    def __init__(self, command: list[str], folder: Path, environment: dict[str, str]) -> None:
        self._said, (self._terminal, theirs) = "", pty.openpty()
        self._shell = subprocess.Popen(
            ["setsid", "-c", *command], cwd=folder, env=environment, stdin=theirs, stdout=theirs, stderr=theirs
        )
        os.close(theirs)

    def write(self, keys: str) -> None:
        os.write(self._terminal, keys.encode())

    def until(self, word: str) -> None:
        """Wait until the terminal shows a word after what was waited for last."""
        give_up_at = time.monotonic() + LIMIT_S
        while word not in self._said:
            assert time.monotonic() < give_up_at, f"no {word!r} in {self._said!r}"
            if select.select([self._terminal], [], [], 1.0)[0]:
                self._said += os.read(self._terminal, 65536).decode(errors="replace")
        self._said = self._said.partition(word)[2]

    def __enter__(self) -> "Typing":
        return self

    def __exit__(self, *_: object) -> None:
        self._shell.kill()
        self._shell.wait()
        os.close(self._terminal)
