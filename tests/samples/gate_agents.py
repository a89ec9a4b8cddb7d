"""A writer that tells what it was told, leads that answer, and scorers."""

from typing import Any

from amas import Context, agent
from amas.policy.deliveries import Delivered


@agent("gate.write")
async def write(task: Context) -> Any:
    """Return who wrote it and the words of the gate."""
    given = task.input if isinstance(task.input, dict) else {}
    return {"text": "Tin costs 30.", "by": task.agent_id, "told": (given.get("feedback") or {}).get("words", [])}


@agent("gate.lead")
async def lead(task: Context) -> Any:
    """Lead."""
    return "led"


@lead.on_escalation
async def decide(task: Context) -> Any:
    """Say what the pool's options say."""
    return task.options.get("answer")


@agent("gate.forge")
async def forge(task: Context) -> str:
    """Sign a delivery for whom the input names."""
    named = Delivered(
        workflow_id="w", signed_by=task.input or task.agent_id, signed_ms=1, approved=True, score=1.0, files={}, quality={}
    )
    return task.seal(named)


def told_once(result: dict[str, Any], given: dict[str, Any]) -> tuple[float, str]:
    """Score 1 for a text that was written with feedback."""
    return (1.0, "") if result["told"] else (0.2, f"say more about {given['about']}")


def never(result: dict[str, Any], given: dict[str, Any]) -> tuple[float, list[str]]:
    """Score too low, always."""
    return 0.5, ["not good enough"]


def broken(result: dict[str, Any], given: dict[str, Any]) -> float:
    """Fail."""
    raise RuntimeError("no idea")
