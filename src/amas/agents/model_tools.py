"""What a model may call, as steps of one attempt; `model_agent.py` uses it, and imports it on first use.

There are two kinds: functions that the model's spec names, which run where the agent does, and the fleet's tools, which the
host runs (`agents/tools/`). Neither runs before the policy was asked. What the model is told of a call, a refusal and a failure
too, is kept, so an attempt that goes on tells it the same.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic_ai import FunctionToolset, ModelRetry, RunContext
from pydantic_ai.tools import ToolDefinition
from pydantic_ai.toolsets import AbstractToolset, ToolsetTool, WrapperToolset
from pydantic_core import SchemaValidator, core_schema, to_jsonable_python

from amas.agents.context import Context
from amas.errors import ToolFailed, ToolMisused, ToolRefused, ToolUnsure
from amas.model.task import Json
from amas.model.tools import granted

RETRIES_MAX = 2
"""How often a model may mend the arguments of one call."""
_ANY = SchemaValidator(core_schema.dict_schema())


class JournaledTools(WrapperToolset[Context]):
    """Tools whose calls are steps of the task, by the request that asked for them and the call's id."""

    async def call_tool(self, name: str, tool_args: dict[str, Any], ctx: RunContext[Context], tool: ToolsetTool[Context]) -> Any:
        """Return what an earlier attempt's call returned, else call the tool; a `ModelRetry` is kept, too."""
        step = f"tool/{_call(ctx)}"
        known, kept = await ctx.deps.recall(step)
        if not known:
            try:
                outcome = {"result": to_jsonable_python(await super().call_tool(name, tool_args, ctx, tool))}
            except ModelRetry as error:
                outcome = {"retry": error.message}
            kept = await ctx.deps.keep(step, {"tool": name, **outcome})  # its name is for who reads the journal or the trace
        if "retry" in kept:
            raise ModelRetry(kept["retry"])
        return kept["result"]


@dataclass
class GuardedFunctions(WrapperToolset[Context]):
    """Functions that are asked about before they run."""

    names: Mapping[str, str]
    """As the spec names them, `module:function`, by what the model knows them as."""

    async def call_tool(self, name: str, tool_args: dict[str, Any], ctx: RunContext[Context], tool: ToolsetTool[Context]) -> Any:
        """Call it, or return why not."""
        decision = await ctx.deps.permit(self.names[name], to_jsonable_python(tool_args))
        if not decision.allowed:
            return f"refused: {decision.why}"
        return await super().call_tool(name, tool_args, ctx, tool)


class FleetTools(AbstractToolset[Context]):
    """Those of the fleet's tools that a spec names and the pool has."""

    def __init__(self, named: Sequence[str]) -> None:
        self._named = named

    @property
    def id(self) -> str | None:
        """It needs none."""
        return None

    async def get_tools(self, ctx: RunContext[Context]) -> dict[str, ToolsetTool[Context]]:
        """Return them by the names that models may say; what they take is checked when they are used."""
        cards = [card for card in await ctx.deps.tools() if granted(card.name, self._named) and not card.missing]
        return {
            _said(card.name): ToolsetTool(
                toolset=self,
                tool_def=ToolDefinition(
                    name=_said(card.name),
                    description=card.about,
                    parameters_json_schema=card.parameters,
                    metadata={"tool": card.name},
                ),
                max_retries=RETRIES_MAX,
                args_validator=_ANY,
            )
            for card in cards
        }

    async def call_tool(self, name: str, tool_args: dict[str, Any], ctx: RunContext[Context], tool: ToolsetTool[Context]) -> Json:
        """Have the host use it; the model hears why it wasn't, or what went wrong."""
        used = (tool.tool_def.metadata or {})["tool"]
        try:
            return await ctx.deps.use_tool(used, tool_args, _call(ctx))
        except ToolMisused as error:
            raise ModelRetry(str(error)) from error
        except ToolRefused as error:
            return f"refused: {error}"
        except (ToolFailed, ToolUnsure) as error:
            return f"failed: {error}"


def toolsets(functions: Mapping[str, Callable[..., Any]], named: Sequence[str]) -> list[AbstractToolset[Context]]:
    """Return what a model may call: functions, by how the spec names them, and the fleet's tools that it names."""
    found: list[AbstractToolset[Context]] = []
    if functions:
        names = {function.__name__: path for path, function in functions.items()}
        found.append(JournaledTools(GuardedFunctions(FunctionToolset[Context](list(functions.values())), names)))
    if named:
        found.append(JournaledTools(FleetTools(named)))
    return found


def _call(ctx: RunContext[Context]) -> str:
    return f"{ctx.run_step}/{ctx.tool_call_id}/{ctx.retry}"


def _said(tool: str) -> str:
    """Return a tool's name in the letters that providers take."""
    return tool.replace("/", "__").replace(".", "_")
