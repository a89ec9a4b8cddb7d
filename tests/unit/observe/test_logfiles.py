"""Log files: rotation under writers, followers across it, and what is removed when."""

import subprocess
import sys
from pathlib import Path

import msgspec

from amas.cli.output import harmless
from amas.observe.logfiles import DAY_MS, Closed, Follower, LogFile, closed_files, expired, prune
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
    import os

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


def closed(name: str, days: float, megabytes: int = 1) -> Closed:
    at = NOW - round(days * DAY_MS)
    return Closed(Path(f"{name}.jsonl.{at}"), at, megabytes << 20)


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
