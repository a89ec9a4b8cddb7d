"""Tools that are commands in a sandbox; where there is none, they are refused."""

import asyncio
from collections.abc import Sequence

from amas.agents.tools import sandbox
from amas.agents.tools.base import Use, bounded
from amas.agents.tools.parameters import of_declared
from amas.errors import ToolFailed, ToolMisused, ToolRefused
from amas.model.task import Json
from amas.model.tools import ToolCard, ToolSpec


class SandboxedTool:
    """One command, filled in. Its result is `{"exit_code", "stdout", "stderr"}`."""

    def __init__(self, name: str, spec: ToolSpec) -> None:
        assert spec.shell is not None, "a shell tool says shell"
        self._name, self._spec, self._shell = name, spec, spec.shell
        self._parameters = of_declared(name, spec.parameters)
        self._missing: asyncio.Future[str] | None = None

    async def cards(self) -> Sequence[ToolCard]:
        """Return what is declared."""
        return (ToolCard(name=self._name, kind="shell", about=self._spec.about, parameters=self._parameters.schema),)

    async def check(self, tool: str, arguments: dict[str, Json]) -> None:
        """Compare them with what is declared, and look once whether this machine has a sandbox."""
        for name, value in self._parameters.typed(arguments).items():
            if "\0" in str(value):
                raise ToolMisused(f"the tool {tool} doesn't take a zero byte in {name}", tool=tool)
        if self._missing is None:
            self._missing = asyncio.ensure_future(sandbox.reason_missing())
        if why := await asyncio.shield(self._missing):
            raise ToolRefused(f"the tool {tool} runs in a sandbox only, and there is none here: {why}", tool=tool)

    async def run(self, use: Use) -> Json:
        """Run it to its end, whatever its exit code; ToolFailed where it took more than it may."""
        values = self._parameters.typed(use.arguments)
        command = [part.format(**values) for part in self._shell.command]
        try:
            ended = await sandbox.run(command, use.workspace, self._shell, output_bytes_max=use.result_bytes_max)
        except sandbox.Over as error:
            raise ToolFailed(f"the tool {self._name} was ended: it {error}", tool=self._name) from error
        except sandbox.SandboxMissing as error:
            raise ToolFailed(f"the sandbox of the tool {self._name} couldn't be made: {error}", tool=self._name) from error
        result = {
            "exit_code": ended.exit_code,
            "stdout": ended.stdout.decode(errors="replace"),
            "stderr": ended.stderr.decode(errors="replace"),
        }
        return bounded(self._name, result, use.result_bytes_max)

    async def close(self) -> None:
        """Nothing is kept between uses."""
