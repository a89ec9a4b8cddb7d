"""A goal for a fleet that runs elsewhere: files go there, the work is shown, the deliverable comes here."""

import json
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from command import Command

FINE = 'def double(x):\n    """Return twice x."""\n    return 2 * x\n'


def place(running: Command, tmp_path: Path) -> dict[str, str]:
    """Return the surroundings of somebody who has no fleet here."""
    url = json.loads(running("status", "--json").stdout)["fleet"]["api_url"]
    return {"AMAS_URL": url, "AMAS_HOME": str(tmp_path / "nothing")}


@pytest.mark.timeout(240)
def test_files_go_there_and_the_deliverable_comes_here(running: Command, project: Callable[..., Path], tmp_path: Path) -> None:
    afar, output = place(running, tmp_path), tmp_path / "out"
    folder = project(
        **{"a.py": FINE, ".gitignore": "secret.txt\n", ".git/HEAD": "ref: refs/heads/main\n", "secret.txt": "s3cret"}
    )
    asked = ("run", "Review the code", "--input", str(folder), "--output")
    ran = running(*asked, str(output), **afar)
    assert ran.returncode == 0, ran.stderr
    assert f"deliverable: {output}" in ran.stdout and "Code review" in ran.stdout
    assert (output / "report.html").read_bytes().startswith(b"<!") and json.loads((output / "findings.json").read_text())
    sent = [path.name for path in (running.folder / "home" / "inputs").rglob("*") if path.is_file()]
    assert "a.py" in sent and "secret.txt" not in sent
    assert not (tmp_path / "nothing").exists(), "nothing was started here"
    again = json.loads(
        running("run", "Review the code", "--input", str(folder), "--output", str(output), "--json", **afar).stdout
    )
    assert again["deliverable"]["folder"] == str(output), "its own files are written anew"
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "report.md").write_text("mine")
    kept = running(*asked, str(tmp_path / "mine"), **afar)
    assert (kept.returncode, (tmp_path / "mine" / "report.md").read_text()) == (2, "mine"), kept.stderr
    assert "the fleet's machine" in kept.stderr


@pytest.mark.timeout(240)
def test_ctrl_c_says_what_goes_on(running: Command, project: Callable[..., Path], tmp_path: Path) -> None:
    folder = project(**{"a.py": FINE, "test_a.py": "import time\n\n\ndef test_hangs():\n    time.sleep(600)\n"})
    process = running.start("run", "Only run the tests", "--input", str(folder), **place(running, tmp_path))
    until = time.monotonic() + 100
    while not any(flow["state"] == "running" for flow in json.loads(running("workflows", "--json").stdout)["items"]):
        assert process.poll() is None and time.monotonic() < until
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130 and "is cancelled" in err, err


def test_what_cannot_be_done_is_said_before_anything_is_sent(
    running: Command, project: Callable[..., Path], tmp_path: Path
) -> None:
    afar, folder = place(running, tmp_path), project(**{f"{n}.py": "x = 1\n" for n in range(1001)})
    many = running("run", "Review the code", "--input", str(folder), **afar)
    assert many.returncode == 2 and "holds 1,001 files" in many.stderr and "1,000 files" in many.stderr
    detached = running("run", "Review the code", "--detach", "--output", str(tmp_path / "out"), **afar)
    assert detached.returncode == 2 and "without --detach" in detached.stderr
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    gone = running("run", "Review the code", **{**afar, "AMAS_URL": f"http://127.0.0.1:{port}"})
    assert gone.returncode == 3 and "doesn't answer" in gone.stderr
    status = running("status", **afar)
    assert status.returncode == 0 and "workflows open" in status.stdout and afar["AMAS_URL"] in status.stdout
