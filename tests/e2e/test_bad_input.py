"""What isn't as it must be: one clear sentence on stderr, the documented exit code, no traceback, nothing left running."""

import json
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from command import Command, Ended

GOAL = "Review the code, run its tests and write a report"
FINE = '"""A module."""\n'
HANGS = "import time\n\n\ndef test_hang():\n    time.sleep(1000)\n"
WAITS = (
    "import time\nfrom pathlib import Path\n\n\ndef test_wait():\n    while not Path({!r}).exists():\n        time.sleep(0.05)\n"
)


def refused(ended: Ended, code: int, *words: str) -> None:
    """Assert that a command ended with `code` and one sentence that has all these words."""
    assert ended.returncode == code, ended
    assert "Traceback" not in ended.stdout + ended.stderr
    sentences = ended.stderr.strip().splitlines()
    assert len(sentences) == 1, ended.stderr
    assert sentences[0].startswith("amas: ")
    for word in words:
        assert word in sentences[0]


def delivered(ended: Ended) -> dict[str, object]:
    """Return the summary of a goal that was met."""
    assert ended.returncode == 0, ended
    assert ended.stderr == ""
    deliverable = json.loads(ended.stdout)["deliverable"]
    return {**deliverable["summary"], "folder": deliverable["folder"]}


def test_an_input_folder_that_isn_t_there(amas: Command) -> None:
    refused(amas("run", GOAL, "--input", "missing"), 2, "missing", "no such folder")


def test_an_input_folder_that_is_a_file(amas: Command) -> None:
    (amas.folder / "file").write_text("text")
    refused(amas("run", GOAL, "--input", "file"), 2, "is a file", "give the folder")


@pytest.mark.parametrize(("files", "why"), [({}, "is empty"), ({"readme.txt": "text"}, "no Python file")])
def test_an_input_folder_without_python(running: Command, project: Callable[..., Path], files: dict[str, str], why: str) -> None:
    refused(running("run", GOAL, "--input", str(project(**files))), 2, why)


def test_a_goal_that_nobody_covers(running: Command, project: Callable[..., Path]) -> None:
    ended = running("run", "Sing a song", "--input", str(project(**{"a.py": FINE})))
    refused(ended, 2, "no playbook covers this goal", "'Sing a song'", "testing: run", "a planner with a model")


def test_python_that_doesn_t_parse_is_reported_once_and_is_not_fatal(running: Command, project: Callable[..., Path]) -> None:
    folder = project(**{"bad.py": "def f(:\n", "fine.py": FINE, "test_fine.py": "def test_it():\n    pass\n"})
    made = delivered(running("run", GOAL, "--input", str(folder), "--output", str(folder.parent / "out"), "--json"))
    assert made["Tests passed"] == "1 of 1"
    report = json.loads((folder.parent / "out" / "report.json").read_text())
    assert [problem["what"] for problem in report["problems"]].count("bad.py") >= 1
    assert len({(problem["what"], problem["why"]) for problem in report["problems"]}) == len(report["problems"])
    findings = json.loads((folder.parent / "out" / "findings.json").read_text())
    broken = [(found["path"], found["line"], found["message"]) for found in findings if found["rule"] == "invalid-syntax"]
    assert broken
    assert len(set(broken)) == len(broken)


def test_a_suite_that_hangs_is_stopped_and_reported(running: Command, project: Callable[..., Path]) -> None:
    folder = project(**{"a.py": FINE, "test_a.py": HANGS})
    made = delivered(running("run", GOAL, "--input", str(folder), "--test-timeout", "12", "--json"))
    assert "hung" in str(made["headline"])
    assert "during test_a.py::test_hang" in str(made["text"])


def test_a_suite_that_crashes_the_interpreter_is_reported(running: Command, project: Callable[..., Path]) -> None:
    folder = project(**{"a.py": FINE, "test_a.py": "import os\n\n\ndef test_crash():\n    os.abort()\n"})
    made = delivered(running("run", GOAL, "--input", str(folder), "--json"))
    assert "crashed" in str(made["headline"])
    assert "during test_a.py::test_crash" in str(made["text"])


def test_a_fleet_file_that_is_wrong(amas: Command) -> None:
    text = "name: x\npools:\n  - name: a\n    layer: boss\n    agent: a:b\n    capabilities: [a.b]\n"
    (amas.folder / "fleet.yaml").write_text(text)
    refused(amas("up", "--fleet", "./fleet.yaml"), 2, "fleet.yaml:4: pools[0].layer: 'boss' is none of executive, management")


def test_a_port_that_is_taken(amas: Command) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        refused(amas("up", "--port", str(port)), 3, f"port {port} is taken", "choose another with --port")


@pytest.mark.parametrize(
    ("variable", "value", "words"),
    [
        ("AMAS_ENGINE_BINARY", "/bin/false", ("/bin/false calls itself 'false", "Valkey, or Redis >= 7, is needed")),
        ("AMAS_ENGINE_BINARY", "/none", ("AMAS_ENGINE_BINARY is '/none'", "isn't a program that can be run")),
        ("AMAS_ENGINE_URL", "redis://127.0.0.1:1/0", ("redis://127.0.0.1:1/0", "doesn't answer")),
        ("AMAS_HOME", "/dev/null/home", ("/dev/null/home", "set AMAS_HOME to a folder of your own")),
        ("AMAS_PORT", "high", ("AMAS_PORT is 'high', but must be a whole number",)),
    ],
)
def test_a_surrounding_that_can_t_be_used(
    amas: Command, project: Callable[..., Path], variable: str, value: str, words: tuple[str, ...]
) -> None:
    refused(amas("run", GOAL, "--input", str(project(**{"a.py": FINE})), **{variable: value}), 3, *words)


def test_a_disk_that_is_too_small(amas: Command, project: Callable[..., Path]) -> None:
    disk = amas.folder / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    if os.geteuid() or not mount or subprocess.run([mount, "-t", "tmpfs", "-o", "size=1m", "none", disk], check=False).returncode:
        pytest.skip("a disk of 1 MiB needs a user who may mount")
    try:
        ended = amas("run", GOAL, "--input", str(project(**{"a.py": FINE})), AMAS_HOME=str(disk / "home"))
        refused(ended, 3, "the disk under", "is full: free at least")
    finally:
        subprocess.run(["umount", disk], check=True)


def _until_testing(amas: Command, home: Path) -> str:
    """Return the id of the workflow whose project's tests are being run."""
    until = time.monotonic() + 180
    while time.monotonic() < until:
        time.sleep(0.1)  # a command costs a core; a look at the processes doesn't
        if not any("-m pytest" in line for line in amas.left_running()):
            continue
        listed = amas("workflows", "--json", AMAS_HOME=str(home))
        found = json.loads(listed.stdout)["items"] if listed.returncode == 0 else []
        for workflow in found:
            shown = json.loads(amas("workflows", workflow["id"], "--json", AMAS_HOME=str(home)).stdout or "{}")
            if any(t["capability"] == "testing.run" and t["state"] == "running" for t in shown.get("tasks", [])):
                return str(workflow["id"])
    raise AssertionError("the project's tests were never begun")


def test_ctrl_c_cancels_the_workflow_and_leaves_nothing_behind(running: Command, project: Callable[..., Path]) -> None:
    folder = project(**{"a.py": FINE, "test_a.py": HANGS})
    process = running.start("run", "Only run the tests", "--input", str(folder))
    workflow_id = _until_testing(running, running.folder / "home")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    refused(Ended(process.args, process.returncode, out, err), 130, f"interrupted: workflow {workflow_id} is cancelled")
    until = time.monotonic() + 60
    while any("-m pytest" in line for line in running.left_running()):
        assert time.monotonic() < until, running.left_running()
        time.sleep(0.1)
    assert json.loads(running("workflows", workflow_id, "--json").stdout)["state"] == "cancelled"


@pytest.mark.timeout(240)
def test_ctrl_c_stops_the_fleet_that_run_started(amas: Command, project: Callable[..., Path]) -> None:
    folder = project(**{"a.py": FINE, "test_a.py": HANGS})
    process = amas.start("run", "Only run the tests", "--input", str(folder))
    _until_testing(amas, amas.folder / "home")
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    refused(Ended(process.args, process.returncode, out, err), 130, "is cancelled")
    assert amas.left_running() == []


@pytest.mark.timeout(240)
def test_a_goal_goes_on_after_down_and_up(amas: Command, project: Callable[..., Path]) -> None:
    may_end = amas.folder / "may-end"
    folder = project(**{"a.py": FINE, "test_a.py": WAITS.format(str(may_end))})
    assert amas("up", AMAS_DRAIN_S="0").returncode == 0  # what runs is given back at once
    begun = amas("run", GOAL, "--input", str(folder), "--output", str(amas.folder / "out"), "--detach", "--json")
    workflow_id = json.loads(begun.stdout)["workflow_id"]
    assert _until_testing(amas, amas.folder / "home") == workflow_id
    assert amas("down").returncode == 0
    assert amas.left_running() == []
    may_end.touch()
    assert amas("up").returncode == 0
    until = time.monotonic() + 60
    while (shown := json.loads(amas("workflows", workflow_id, "--json").stdout))["state"] == "running":
        assert time.monotonic() < until, shown
        time.sleep(0.5)
    assert shown["state"] == "succeeded"
    assert json.loads((amas.folder / "out" / "tests.json").read_text())[0]["outcome"] == "passed"
