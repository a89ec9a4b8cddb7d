"""Log files: rotation under writers, followers across it, and what is removed when."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from amas.cli.output import harmless
from amas.observe.logfiles import DAY_MS, LINES_BYTES_MAX, Closed, Follower, LogFile, closed_files, expired, prune
from amas.settings import LogSettings

NOW = 1_800_000_000_000
WRITER = """
import sys
from pathlib import Path
from amas.observe.logfiles import LogFile
out = LogFile(Path(sys.argv[1]), bytes_max=2000)
for number in range(int(sys.argv[3])):
    out.msg(f'{{"who":"{sys.argv[2]}","n":{number},"pad":"{"x" * 60}"}}'.encode())
"""


def test_nothing_is_lost_or_torn_while_three_processes_write_and_rotate(tmp_path: Path) -> None:
    path, count = tmp_path / "host-1.jsonl", 800
    follower, followed = Follower(tmp_path), list[bytes]()
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), who, str(count)]) for who in "abc"]
    while any(writer.poll() is None for writer in writers):
        followed += follower.new_lines()
    followed += follower.new_lines()
    wanted = sorted((who, number) for who in "abc" for number in range(count))
    files = [path, *(closed.path for closed in closed_files(tmp_path))]
    written = [msgspec.json.decode(line) for file in files for line in file.read_bytes().splitlines()]
    assert sorted((line["who"], line["n"]) for line in written) == wanted
    seen = [msgspec.json.decode(line) for line in followed]
    assert sorted((line["who"], line["n"]) for line in seen) == wanted, "a follower gets each line once"
    assert len(files) > 20 and all(file.stat().st_size <= 2300 for file in files), "a line more for each other writer at most"


def test_a_file_of_yesterday_is_closed(tmp_path: Path) -> None:
    path = tmp_path / "control-plane.jsonl"
    LogFile(path, bytes_max=1000).msg(b'{"n":1}')
    yesterday = path.stat().st_mtime - 86_400
    os.utime(path, (yesterday, yesterday))
    LogFile(path, bytes_max=1000).msg(b'{"n":2}')
    (closed,) = closed_files(tmp_path)
    assert (closed.path.read_bytes(), path.read_bytes()) == (b'{"n":1}\n', b'{"n":2}\n')


def test_a_follower_waits_for_the_rest_of_a_line(tmp_path: Path) -> None:
    path = tmp_path / "host-1.jsonl"
    path.write_bytes(b'{"n":1}\n{"n"')
    follower = Follower(tmp_path)
    assert list(follower.new_lines()) == [b'{"n":1}']
    with path.open("ab") as file:
        file.write(b":2}\n")
    assert list(follower.new_lines()) == [b'{"n":2}']
    follower.skip()
    assert list(follower.new_lines()) == []


def test_a_file_that_is_shorter_than_before_is_another_one(tmp_path: Path) -> None:
    """A new file may get the inode of one that was just removed."""
    path = tmp_path / "host-1.jsonl"
    path.write_bytes(b'{"n":1}\n{"n":2}\n')
    follower = Follower(tmp_path)
    assert len(list(follower.new_lines())) == 2
    os.truncate(path, 0)
    path.write_bytes(b'{"n":3}\n')
    assert list(follower.new_lines()) == [b'{"n":3}']


def closed(name: str, days: float, megabytes: int = 1) -> Closed:
    at = NOW - round(days * DAY_MS)
    return Closed(Path(f"{name}.jsonl.{at}"), at, megabytes << 20)


def test_a_follower_begins_at_the_end_of_a_long_file_or_at_a_time(tmp_path: Path) -> None:
    """Not with a file's first megabytes, which are its oldest."""
    path, count = tmp_path / "host-1.jsonl", 150_000
    path.write_bytes(b"".join(b'{"n":%d,"pad":"%s","at":"%06d"}\n' % (n, b"x" * 60, n) for n in range(count)))
    assert path.stat().st_size > LINES_BYTES_MAX

    def read(since: str) -> list[int]:
        follower = Follower(tmp_path)
        follower.begin(since=since)
        found = list[int]()
        while lines := list(follower.new_lines()):
            found += [msgspec.json.decode(line)["n"] for line in lines]
        return found

    last = read("")
    assert last == list(range(last[0], count)) and 0 < last[0] < count - 1000
    for since in (0, 3, 70_000, count - 1):
        told = read(f"{since:06d}")
        assert told[-1] == count - 1 and since - 2000 < told[0] <= since
    assert read("999999")[-1] == count - 1, "the newest lines, however late it is"


def test_a_line_longer_than_a_look_holds_nobody_up(tmp_path: Path) -> None:
    path = tmp_path / "host-1.jsonl"
    path.write_bytes(b'{"n":1}\n' + b"x" * (2 * LINES_BYTES_MAX) + b'\n{"n":2}\n')
    follower, seen = Follower(tmp_path), list[bytes]()
    for _ in range(4):
        seen += follower.new_lines()
    assert [line for line in seen if line.startswith(b"{")] == [b'{"n":1}', b'{"n":2}']


def test_what_a_full_disk_took_of_a_line_spoils_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, write, room = tmp_path / "host-1.jsonl", os.write, [4, 0, 100]
    log = LogFile(path, bytes_max=1000)

    def full(file: int, what: bytes) -> int:
        if not (left := room.pop(0)):
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, what[:left])

    monkeypatch.setattr(os, "write", full)
    for number in range(3):
        log.msg(b'{"n":%d}' % number)
    assert path.read_bytes() == b'{"n"\n{"n":2}\n'


def test_agents_logs_stay_fourteen_days_and_the_system_s_thirty() -> None:
    files = [closed("host-1", 13.9), closed("host-1", 14.1), closed("control-plane", 29.9), closed("supervisor", 30.1)]
    assert expired(files, LogSettings(), now_ms=NOW) == [files[1].path, files[3].path]


def test_the_oldest_go_first_when_it_is_too_much() -> None:
    files = [closed("host-1", days, megabytes=40) for days in (1, 2, 3)]
    assert expired(files, LogSettings(total_mb=100), now_ms=NOW) == [files[2].path]


def test_only_closed_files_are_removed(tmp_path: Path) -> None:
    for name in ("host-1.jsonl", f"host-1.jsonl.{NOW - 20 * DAY_MS}", f"host-1.jsonl.{NOW}", "host-1.jsonl.backup", "engine.log"):
        (tmp_path / name).write_text("{}\n")
    assert prune(tmp_path, LogSettings(), now_ms=NOW) == 1
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"host-1.jsonl", f"host-1.jsonl.{NOW}", "host-1.jsonl.backup", "engine.log"}


def test_a_terminal_obeys_nothing_that_was_logged() -> None:
    hostile = "ok\x1b]0;owned\x07\x1b[2J\rgone\x9b31m\u202etxt.exe\u2028é ü 漢\n\tend"
    said = harmless(hostile)
    assert said == "ok\\x1b]0;owned\\x07\\x1b[2J\\x0dgone\\x9b31m\\u202etxt.exe\\u2028é ü 漢\n\tend"
