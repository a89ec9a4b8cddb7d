"""A6's example programs as they stand, on a fleet that they start themselves, over a small code base."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

LIMIT_S = 120
pytestmark = [pytest.mark.requirement("A6"), pytest.mark.xdist_group("programs")]

DECOMPOSE = """
import asyncio
from amas.orchestration import get_task_decomposer

async def main():
    decomposer = get_task_decomposer()
    workflow = await decomposer.decompose_task("Review the code in {project} and count its lines")
    print("complexity", workflow.complexity, len(workflow.tasks))

asyncio.run(main())
"""

EXECUTE = """
import asyncio
from amas.orchestration import get_hierarchy_manager, get_workflow_executor

async def main():
    executor = get_workflow_executor()
    execution_id = await executor.execute_workflow("Review the code in {project}", user_preferences={{"test_timeout_s": 30}})
    while True:
        status = executor.get_execution_status(execution_id)
        if status["status"] not in ("running", "waiting"):
            break
        await asyncio.sleep(0.2)
    print("status", status["status"], status["progress_percentage"], status["completed_tasks"] == status["total_tasks"])
    print("layers", *sorted(status["layers"]))
    print("assigned", *status["assigned"]["review"][:2])
    print("cost", status["cost_usd"])
    print("folder", status["result"]["folder"])

asyncio.run(main())
hierarchy = get_hierarchy_manager().get_hierarchy_status()   # after that event loop has ended
print("hierarchy", *hierarchy["layers"])
print("agents", hierarchy["total_agents"] == sum(hierarchy["agents"].values()) > 11)
print("lead", hierarchy["layers"]["management"]["pools"]["integration-lead"]["lead"])
"""

MESSAGES = """
import asyncio
from amas.orchestration import MessageType, Priority, get_communication_bus

async def main():
    bus = get_communication_bus()
    message_id = await bus.send_message(
        sender_id="research-lead-1",
        recipient_id="task-coordinator-1",
        message_type=MessageType.SHARE_FINDINGS,
        payload={{"findings": ["{project}"]}},
        priority=Priority.NORMAL,
    )
    print("id", message_id)
    told = await bus.broadcast_message(
        sender_id="task-coordinator-1", recipients="layer:management", message_type=MessageType.STATUS, payload="go on"
    )
    print("told", "research-lead-1" in told.ids, told.full)
    shared = await bus.share_context(sender_id="research-lead-1", recipients="team:research-lead", context={{"known": True}})
    print("shared", len(shared.ids) > 0)
    await bus.escalate_to_management(sender_id="research-lead-1", payload="Which market?")
    metrics = await bus.get_communication_metrics()
    print("held", metrics["inboxes"]["task-coordinator-1"]["held"], metrics["state"])
    print("sent", metrics["sent"] == 2 + len(told.ids) + len(shared.ids))

asyncio.run(main())
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "shop"
    folder.mkdir()
    (folder / "prices.py").write_text(
        '"""Prices."""\n\n\ndef total(prices: list[int]) -> int:\n    """Return their sum."""\n    return sum(prices)\n'
    )
    return folder


def run(program: str, project: Path, home: Path) -> dict[str, str]:
    """Run a program with a home of its own and return its lines by their first word."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program.format(project=project)],
        env={**os.environ, "AMAS_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return dict(line.split(" ", 1) for line in done.stdout.splitlines())


def test_a_goal_is_decomposed(project: Path, tmp_path: Path) -> None:
    said = run(DECOMPOSE, project, tmp_path / "home")
    complexity, tasks = said["complexity"].split()
    assert complexity in {"simple", "moderate", "complex"}
    assert int(tasks) > 3


def test_a_goal_is_executed_and_the_hierarchy_shown(project: Path, tmp_path: Path) -> None:
    home = tmp_path / "home"
    said = run(EXECUTE, project, home)
    assert said["status"] == "completed 100.0 True"
    assert said["layers"] == "execution executive management specialist"
    assert said["assigned"] == "technical-lead code-reviewer"
    assert said["cost"] == "0.0"
    assert list(Path(said["folder"]).glob("*.html"))
    assert said["hierarchy"] == "executive management specialist execution"
    assert said["agents"] == "True"
    assert said["lead"] == "task-coordinator"
    down = subprocess.run(
        [sys.executable, "-m", "amas", "down"],
        env={**os.environ, "AMAS_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert "no fleet runs" in down.stderr  # it ended with the program


@pytest.mark.requirement("A3")
def test_agents_are_written_to_in_agents_names(project: Path, tmp_path: Path) -> None:
    said = run(MESSAGES, project, tmp_path / "home")
    assert len(said["id"]) == 36
    assert (said["told"], said["shared"], said["held"], said["sent"]) == ("True {}", "True", "2 ok", "True")
