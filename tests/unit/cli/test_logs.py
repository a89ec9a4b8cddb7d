"""`amas logs` over what several hosts wrote: which lines it shows, how it is piped, and what it says where there are none."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from command_line import call

from amas.cli import logs as module
from amas.observe.logfiles import Follower


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """Three agents' lines on two hosts, the newest last."""
    (tmp_path / "logs").mkdir()
    now = datetime.now(tz=UTC)
    said = [
        ("host-1", "reviewer-1", "info", "reads a.py", 120),
        ("host-2", "reviewer-2", "warning", "b.py is empty", 90),
        ("host-1", "writer-1", "error", "no paper left", 30),
        ("host-2", "reviewer-2", "debug", "reads c.py", 1),
    ]
    for host, agent, level, message, minutes in said:
        at = (now - timedelta(minutes=minutes)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        line = {"agent_id": agent, "message": message, "trace_id": "4bf9", "level": level, "at": at}
        with (tmp_path / "logs" / f"{host}.jsonl").open("a") as file:
            file.write(json.dumps(line) + "\n")
    return tmp_path


def logs(home: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "amas", "logs", *arguments, "--home", str(home)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env={**os.environ, "COLUMNS": "200"})


def shown(home: Path, *arguments: str) -> list[str]:
    done = logs(home, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    return [json.loads(line)["message"] for line in done.stdout.splitlines()]


def test_lines_are_chosen_by_agent_level_words_and_time(home: Path) -> None:
    assert shown(home) == ["reads a.py", "b.py is empty", "no paper left", "reads c.py"], "in order, whichever host wrote them"
    assert shown(home, "reviewer-*", "--since", "100m") == ["b.py is empty", "reads c.py"]
    assert shown(home, "reviewer-1", "writer-1", "--level", "warning") == ["no paper left"]
    assert shown(home, "--grep", "READS|trace_id=5", "-n", "1") == ["reads c.py"]


@pytest.mark.parametrize(
    "since", ["0s", "99999999999d", "9" * 400 + "d", "1900-01-01", "9999-12-31T23:59:59-23:00", "-5m", "", "١m"]
)
def test_an_odd_time_is_taken_or_refused_in_a_sentence(home: Path, since: str) -> None:
    done = call("logs", f"--since={since}", "--json", "--home", str(home))
    assert done.code == 0 or (done.code == 2 and "neither an age" in done.err), done.err


def test_lines_since_a_date_are_those_after_it_in_utc(home: Path) -> None:
    at = datetime.now(tz=UTC) - timedelta(minutes=45)
    for said in (f"{at:%Y-%m-%dT%H:%M}", at.astimezone(timezone(timedelta(hours=5))).isoformat()):
        told = call("logs", "--since", said, "--json", "--home", str(home)).out.splitlines()
        assert [json.loads(line)["message"] for line in told] == ["no paper left", "reads c.py"]


def test_people_read_plain_lines_in_a_pipe_and_head_ends_it(home: Path) -> None:
    told = logs(home, "--grep", "paper")
    assert told.stdout.endswith(" error   writer-1 no paper left  trace_id=4bf9\n") and "\x1b" not in told.stdout
    (home / "logs" / "host-3.jsonl").write_text('{"message": "many", "at": "2020"}\n' * 20_000)
    piped = f"{sys.executable} -m amas logs -n 20000 --home {home} | head -n 1"
    done = subprocess.run(["bash", "-c", piped], capture_output=True, text=True, timeout=60, check=False)
    assert (done.stdout.count("\n"), done.stderr) == (1, "")


def test_what_is_written_while_the_last_lines_are_read_is_not_lost(tmp_path: Path) -> None:
    """The look that ends the reading has lines, too: nothing but a look that finds none is without."""
    path = tmp_path / "logs" / "host-1.jsonl"
    path.parent.mkdir()

    def write(n: int, at: str) -> None:
        with path.open("a") as file:
            file.write(json.dumps({"agent_id": "a-1", "n": n, "at": at}) + "\n")

    write(1, "2020-01-01T00:00:00.000000Z")

    class Busy(Follower):
        looks = 0

        def new_lines(self) -> Iterator[bytes]:
            yield from list(super().new_lines())
            self.looks += 1
            write(self.looks + 1, "9999-01-01T00:00:00.000000Z")

    follower = Busy(path.parent)
    follower.begin(since="")
    recent, seen = module._recent(follower, lambda _: True, most=50)
    then = [json.loads(line)["n"] for line in follower.new_lines()]
    told = [line["n"] for line in recent] + then
    assert (told, seen) == (list(range(1, len(told) + 1)), {"a-1"})
    assert follower.looks > 2, "one look had old lines, one new ones"


def test_a_follower_hears_that_nothing_runs_and_gets_each_line_once_over_rotation_and_restarts(home: Path) -> None:
    """Two hosts' worth of processes, one after the other, write into a file that is rotated every few lines."""
    command = [sys.executable, "-u", "-m", "amas", "logs", "-f", "w-1", "--json", "-n", "1", "--home", str(home)]
    writer = "import sys; from amas.observe.logfiles import LogFile; from pathlib import Path; import json\n"
    writer += "log = LogFile(Path(sys.argv[1]), bytes_max=300)\n"
    writer += "for n in range(*map(int, sys.argv[2:])):\n"
    writer += (
        "    log.msg(json.dumps({'agent_id': 'w-1', 'n': n, 'message': 'x' * 40, 'at': f'2030-01-01T00:00:{n:06d}Z'}).encode())\n"
    )
    path = str(home / "logs" / "host-1.jsonl")
    subprocess.run([sys.executable, "-c", writer, path, "0", "1"], check=True, timeout=60)
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as following:
        try:
            assert following.stdout is not None and following.stderr is not None
            seen = [json.loads(following.stdout.readline())["n"]]
            assert "no fleet runs in" in following.stderr.readline()
            for first, last in ((1, 150), (150, 300)):
                subprocess.run([sys.executable, "-c", writer, path, str(first), str(last)], check=True, timeout=60)
            seen += [json.loads(following.stdout.readline())["n"] for _ in range(299)]
        finally:
            following.kill()
    assert sorted(seen) == list(range(300)) and len(list((home / "logs").glob("host-1.jsonl.*"))) > 30


def test_what_cannot_be_asked_is_said_with_the_way_out(home: Path) -> None:
    assert "nothing logged by revewer-1 (did you mean 'reviewer-1'?)" in logs(home, "revewer-1").stdout
    for arguments, why in (
        (("--level", "loud"), "'loud' is none: write debug, info, warning"),
        (("--since", "soon"), "'soon' is neither an age, such as 10m"),
        (("--grep", "("), "'(' is no regular expression"),
    ):
        wrong = logs(home, *arguments)
        assert (wrong.returncode, why in wrong.stderr) == (2, True), wrong.stderr
