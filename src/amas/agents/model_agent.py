"""Agents that are a language model, declared in pydantic-ai's own agent spec (docs/model-agents.md).

A pool's `model_agent: writer.yaml` is `agent: amas.agents.model_agent:ModelAgent` with `options: {spec: <path>}`. What the spec
can't say stands under its `metadata.amas`: tools, fallback models, addresses and prices. Tools are the fleet's (docs/tools.md)
and Python functions, and only those are there that the pool names too, in its `tools` or its `options.tools`: a spec says what a
model may want, the fleet file what it gets. The policy is asked before each use.

pydantic-ai is the extra `models`; it is imported when the first such agent is checked or works, and nowhere else before.
"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from amas.agents.base import BaseAgent
from amas.agents.context import Context
from amas.agents.tools.functions import load_function
from amas.errors import FleetError, GiveUp, ModelUnavailable, RateLimited
from amas.model.fleet import PoolSpec
from amas.model.task import Json
from amas.model.tools import granted
from amas.secrets import Secret

if TYPE_CHECKING:
    from pydantic_ai import Agent, AgentSpec
    from pydantic_ai.exceptions import ModelAPIError
    from pydantic_ai.models import Model
    from pydantic_ai.providers import Provider

    from amas.agents.model_calls import Priced

RETRY_AFTER_S = 10.0
"""Seconds, when a provider is busy and doesn't say for how long."""


class TokenPrice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Dollars for a million tokens."""

    input: float
    output: float


class ModelChoice(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A model, and where it is reached."""

    model: str
    """As pydantic-ai names it: `openai:gpt-5-mini`, `openai-chat:my-model`."""
    base_url: str = ""
    """Of an OpenAI-compatible server; by default the provider's own address."""
    price: TokenPrice | None = None
    """By default what genai-prices says."""


class ModelExtras(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A spec's `metadata.amas`."""

    tools: tuple[str, ...] = ()
    """Python functions, `module:function`, and names of the fleet's tools."""
    base_url: str = ""
    price: TokenPrice | None = None
    fallback: tuple[ModelChoice | str, ...] = ()
    """Asked one after the other when the model before doesn't answer."""
    stream: bool = True
    """Whether watchers see answers while they are written."""


class ModelOptions(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A pool's `options`."""

    spec: str
    """The spec's path."""
    tools: tuple[str, ...] = ()
    """What the model may call, of what the spec names."""
    api_key: Secret | None = None
    """For the provider of the spec's own model, in place of what that reads from its usual variable."""


class ModelAgent(BaseAgent):
    """Has a model do each task; the result is `{"output": ..., "usage": {model, calls, tokens, usd}}`."""

    def __init__(self, agent_id: str, pool: PoolSpec) -> None:
        super().__init__(agent_id, pool)
        self._made: _Made | None = None
        self._grants = pool.grants

    @classmethod
    def check(cls, pool: PoolSpec) -> None:
        """Raise FleetError when the spec is wrong or wants a tool that the pool doesn't allow."""
        _Made(pool.options, pool.grants, key="not yet read")

    async def process_task(self, task: Context) -> Json:
        """Run the model until it has an output; BudgetExhausted before a request that a budget has no room for."""
        try:
            made = self._made = await task.in_thread(self._current)  # the import takes a second
        except FleetError as error:
            raise GiveUp(str(error), code="model_agent_invalid") from error
        return await made.run(task)

    def _current(self) -> "_Made":
        """Return the model with its key as it is now."""
        key = msgspec.convert(self.options.get("api_key"), Secret | None)
        if self._made is None or (key and key.reveal() != self._made.key):
            self._made = _Made(self.options, self._grants, key=key.reveal() if key else "")
        return self._made


class _Made:
    """A spec that was read and checked, with its models and tools."""

    def __init__(self, options: dict[str, Json], grants: tuple[str, ...], *, key: str) -> None:
        """`grants`: the tools that the pool names; `key`: what `options.api_key` stands for."""
        said = _convert(options, ModelOptions, "options")
        self._path = Path(said.spec)
        spec = _read(self._path)
        extras = _convert((spec.metadata or {}).get("amas", {}), ModelExtras, f"{self._path}: metadata.amas")
        if spec.capabilities:
            raise FleetError(
                f"{self._path}: capabilities bring tools that can't be journaled: name functions in metadata.amas.tools"
            )
        if not spec.model:
            raise FleetError(f"{self._path}: model is missing: name one, such as openai:gpt-5-mini")
        first = ModelChoice(model=spec.model, base_url=extras.base_url, price=extras.price)
        choices = [first, *(ModelChoice(model=each) if isinstance(each, str) else each for each in extras.fallback)]
        for name in extras.tools:
            _allow(name, grants, self._path)
        functions = {name: _function(name, self._path) for name in extras.tools if ":" in name}
        named = [name for name in extras.tools if ":" not in name]
        self.key = key if said.api_key else ""
        keys = (self.key, *("" for _ in extras.fallback))
        self._models = [
            _priced(choice, self._path, stream=extras.stream, key=own) for choice, own in zip(choices, keys, strict=True)
        ]
        self._agent = _agent(spec, functions, named, self._path)

    async def run(self, task: Context) -> Json:
        """Return the output and what it took."""
        from pydantic_ai.exceptions import FallbackExceptionGroup, ModelAPIError, UnexpectedModelBehavior, UsageLimitExceeded
        from pydantic_core import to_jsonable_python

        from amas.agents.model_calls import JournaledModel

        model = JournaledModel(self._models, task)
        try:
            result = await self._agent.run(_prompt(task), model=model, deps=task)
        except FallbackExceptionGroup as group:
            raise _unanswered([error for error in group.exceptions if isinstance(error, ModelAPIError)]) from group
        except ModelAPIError as error:
            raise _unanswered([error]) from error
        # The answers are journaled: another attempt would get the same ones and end here again.
        except UsageLimitExceeded as error:
            raise GiveUp(f"the model came to no end: {error}", code="model_calls_max") from error
        except UnexpectedModelBehavior as error:
            raise GiveUp(f"the model's answers are no use: {error}", code="model_output_invalid") from error
        return {"output": to_jsonable_python(result.output), "usage": model.used.json()}


def _convert(value: Any, kind: type[Any], where: str) -> Any:
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as error:
        raise FleetError(f"{where}: {error}") from error


def _read(path: Path) -> "AgentSpec":
    try:
        from pydantic_ai import AgentSpec

        import amas.agents.model_calls  # noqa: F401  the extra's other half
    except ImportError as error:
        raise FleetError(f"a model agent needs the extra `models`: pip install 'amas[models]' ({error})") from error
    try:
        return AgentSpec.from_file(path)
    except Exception as error:  # the parsers' own kinds: of files, of YAML, of the schema
        raise FleetError(f"the model agent's spec {path} can't be read: {error}") from error


def _allow(name: str, grants: tuple[str, ...], path: Path) -> None:
    if not granted(name, grants):
        where = "options.tools" if ":" in name else "tools"
        raise FleetError(
            f"{path} wants the tool {name!r}, which its pool doesn't allow: add it to the pool's {where}, or remove it"
        )


def _function(name: str, path: Path) -> Callable[..., Any]:
    """Return a function that a spec names."""
    try:
        return load_function(name)
    except FleetError as error:
        raise FleetError(f"{path}: the tool {error}") from error


def _priced(choice: ModelChoice, path: Path, *, stream: bool, key: str) -> "Priced":
    from amas.agents.model_calls import Price, Priced, Streams

    try:
        model = _model(choice, key)
    except Exception as error:  # a provider's own kinds: an unknown name, a missing key or package
        raise FleetError(f"{path}: the model {choice.model!r} can't be used: {error}") from error
    price = Price(choice.price.input, choice.price.output) if choice.price else None
    return Priced(model, price, Streams(wanted=stream))


def _model(choice: ModelChoice, key: str) -> "Model":
    from pydantic_ai.models import infer_model

    if not choice.base_url:
        return infer_model(choice.model, partial(_provider, key)) if key else infer_model(choice.model)
    if not choice.model.startswith("openai"):
        raise FleetError("only an openai: or openai-chat: model can have a base_url")
    from pydantic_ai.providers.openai import OpenAIProvider

    key = key or os.environ.get("OPENAI_API_KEY") or "none"  # servers of one's own seldom want one, but the client does
    return infer_model(choice.model, lambda _: OpenAIProvider(base_url=choice.base_url, api_key=key))


def _provider(key: str, name: str) -> "Provider[Any]":
    """Return a provider that is shown this key."""
    from pydantic_ai.providers import infer_provider_class

    make: Any = infer_provider_class(name)  # those that take no key say so
    provider: Provider[Any] = make(api_key=key)
    return provider


def _agent(spec: "AgentSpec", functions: dict[str, Callable[..., Any]], named: list[str], path: Path) -> "Agent[Context, Any]":
    from pydantic_ai import Agent
    from pydantic_ai.settings import ModelSettings

    from amas.agents.model_calls import TOKENS_MAX
    from amas.agents.model_tools import toolsets

    said = spec.model_settings or {}
    # A client that tries again by itself would send requests that nobody announced; the task's retries do that.
    settings = ModelSettings(max_tokens=said.get("max_tokens") or TOKENS_MAX, max_retries=0)
    try:
        agent: Agent[Context, Any] = Agent.from_spec(
            spec,
            deps_type=Context,  # type: ignore[type-abstract] # what tools get is one of its subclasses
            toolsets=toolsets(functions, named),
            model_settings=settings,
            defer_model_check=True,
        )
    except Exception as error:  # pydantic's kinds: of schemas, signatures, templates
        raise FleetError(f"{path}: {error}") from error
    return agent


def _prompt(task: Context) -> str:
    """Return what the model is asked: a text as it is, all else as JSON."""
    if isinstance(task.input, str) and not task.results:
        return task.input
    return msgspec.json.encode({"input": task.input, "results": task.results} if task.results else task.input).decode()


def _unanswered(errors: "list[ModelAPIError]") -> Exception:
    """Return what it means to the task that no model answered."""
    from pydantic_ai.exceptions import ModelRateLimitError, ModelRequestRejectedError

    from amas.agents.model_calls import ProviderDown

    why = "; ".join(str(error) for error in errors)
    down = [error.down for error in errors if isinstance(error, ProviderDown)]
    if down and len(down) == len(errors):
        return min(down, key=lambda each: each.retry_after_s)
    busy = [error.retry_after or RETRY_AFTER_S for error in errors if isinstance(error, ModelRateLimitError)]
    if busy:
        return RateLimited(min(busy))
    if all(isinstance(error, ModelRequestRejectedError) for error in errors):
        return GiveUp(f"the model's provider refuses the request: {why}", code="model_refused")
    return ModelUnavailable(f"no model answered: {why}")
