"""`execution.tools`: which programs and libraries the specialists use on this machine, with their versions."""

import platform
import sys
from importlib import metadata

from amas.agents.base import agent
from amas.agents.context import Context
from amas.model.task import Json

TOOLS = ("ruff", "pytest", "pytest-reportlog", "griffe", "radon", "vulture", "license-expression", "packaging", "pygal")
"""Distributions whose findings or figures stand in reports."""


def version_of(distribution: str) -> str:
    """Return the installed version; empty when it isn't installed."""
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return ""


def list_tools() -> dict[str, Json]:
    """Return `{tools: [{name, version}], python, platform}`; a tool that is missing is left out."""
    versions = {name: version_of(name) for name in TOOLS}
    return {
        "tools": [{"name": name, "version": version} for name, version in versions.items() if version],
        "python": platform.python_version(),
        "interpreter": sys.executable,
        "platform": platform.platform(),
    }


@agent("execution.tools")
async def tools(ctx: Context) -> Json:
    """Return what the specialists work with."""
    return {**await ctx.step("tools", list_tools), "task_id": ctx.id, "agent_id": ctx.agent_id}
