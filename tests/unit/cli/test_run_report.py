"""What `amas run` says at the end."""

from typing import Any

import pytest

from amas.cli.exit import ExitCode
from amas.cli.run import _report

LARGE = {"artifact": "sha256:5f7a", "bytes": 76059, "media_type": "application/msgpack"}
"""What the root task shows in the place of a large result, which the workflow has whole."""


def workflow(state: str, **more: Any) -> dict[str, Any]:
    return {"id": "w1", "root_id": "t1", "state": state, "result": None, "failure": None, "tasks": [{"result": LARGE}], **more}


def test_a_deliverable_is_shown_however_large_it_is(capsys: pytest.CaptureFixture[str]) -> None:
    made = {
        "folder": "/tmp/amas-out/demo",
        "table": [["files", "2,000"]],
        "files": [{"name": f"api/{n}.md"} for n in range(2000)],
    }
    assert _report(workflow("succeeded", result=made), as_json=False) is ExitCode.OK
    said = capsys.readouterr().out
    assert "deliverable: /tmp/amas-out/demo" in said and "2,000" in said and "artifact" not in said


@pytest.mark.parametrize(("code", "exit_code"), [("no_playbook", ExitCode.WRONG_INPUT), ("gave_up", ExitCode.FAILED)])
def test_why_it_failed_is_said(code: str, exit_code: ExitCode, capsys: pytest.CaptureFixture[str]) -> None:
    assert _report(workflow("failed", failure={"code": code, "message": "nobody can"}), as_json=False) is exit_code
    assert "nobody can" in capsys.readouterr().err
