"""What a command does when nobody reads what it prints, or there is no room for it: its exit code, and no traceback."""

import os
import subprocess
import sys
from pathlib import Path
from typing import IO, Any

import pytest

LIMIT_S = 60
COMMANDS = (("--version",), ("--help",), ("policy", "show", "--fleet", "amas"), ("policy", "show", "--fleet", "amas", "--json"))


def ended(words: tuple[str, ...], output: int | IO[Any], home: Path) -> "subprocess.CompletedProcess[str]":
    place = {**os.environ, "AMAS_HOME": str(home)}
    command = [sys.executable, "-m", "amas", *words]
    return subprocess.run(command, env=place, stdout=output, stderr=subprocess.PIPE, text=True, timeout=LIMIT_S, check=False)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_closed_pipe_ends_a_command_without_a_word(words: tuple[str, ...], tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = ended(words, writing, tmp_path)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full here")
@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_no_room_for_what_is_printed_is_one_sentence(words: tuple[str, ...], tmp_path: Path) -> None:
    with Path("/dev/full").open("w") as full:
        done = ended(words, full, tmp_path)
    assert (done.returncode, done.stderr) == (3, "amas: what was asked for can't be written: No space left on device\n")


def test_without_any_output_a_command_does_its_work(tmp_path: Path) -> None:
    shell = f"exec {sys.executable} -m amas policy show --fleet amas >&-"
    done = subprocess.run(
        ["sh", "-c", shell],
        env={**os.environ, "AMAS_HOME": str(tmp_path)},
        stderr=subprocess.PIPE,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert "Traceback" not in done.stderr
