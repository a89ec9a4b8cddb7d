"""What a command says and ends with where its words are wrong, nobody reads what it prints, or there is no room for it."""

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


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("run", " "), 2, "say what you want in plain words"),
        (("keys", "create", "ann", "--expires", "1y"), 2, "--expires is '1y', but must be a number of days or hours"),
        (("audit", "verify", "/nowhere/audit.jsonl"), 3, "there is no log /nowhere/audit.jsonl"),
        (("certs", "/proc/nowhere"), 3, "certificates can't be made in /proc/nowhere: No such file or directory"),
    ],
    ids=lambda each: " ".join(each) if isinstance(each, tuple) else "",
)
def test_what_is_typed_wrongly_is_one_sentence_without_numbers_of_errors(
    words: tuple[str, ...], code: int, said: str, tmp_path: Path
) -> None:
    done = ended(words, subprocess.PIPE, tmp_path)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (code, "", 1)
    assert done.stderr.startswith(f"amas: {said}")
