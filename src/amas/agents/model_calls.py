"""A model's requests as journaled, paid steps of one attempt; `model_agent.py` uses it, and imports it on first use.

The layers, outermost first: `JournaledModel` numbers the requests and answers those that an earlier attempt got an answer to from
the journal; the fallback tries one model after the other; `MeteredModel` announces what a request may cost at most before it is
sent, and corrects that by what the answer says. So no budget is overspent, and a crash pays for no answer twice that was kept.

What must never happen: a request that nothing was announced for, or one to a model without a known price.
"""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, NamedTuple, NoReturn
from urllib.parse import urlsplit

from genai_prices import calc_price
from pydantic_ai.exceptions import ModelAPIError, ModelHTTPError, UnexpectedModelBehavior
from pydantic_ai.messages import ModelMessage, ModelMessagesTypeAdapter, ModelResponse
from pydantic_ai.models import Model, ModelRequestParameters
from pydantic_ai.models.fallback import FallbackModel
from pydantic_ai.models.wrapper import WrapperModel
from pydantic_ai.settings import ModelSettings
from pydantic_ai.usage import RequestUsage

from amas.agents.context import Context
from amas.agents.dependency import Dependency
from amas.agents.model_stream import Teller
from amas.clock import monotonic_s
from amas.core.breaker import Outcome, outcome_of
from amas.errors import DependencyDown, GiveUp
from amas.model.cost import ModelCall
from amas.model.limits import MICRO
from amas.model.task import Json

TOKENS_MAX = 4096
"""Of an answer, where the spec's `model_settings` set no `max_tokens`: without a bound no budget could be kept."""

BYTES_PER_TOKEN = 3
"""Fewer than tokenizers need for most text (about 4), so that an announcement is rather too high."""

STREAM_REFUSALS = frozenset({400, 404, 405, 406, 415, 422, 501})
"""HTTP statuses with which a server may refuse to stream; the request is made once more without. None of them is charged."""

HTTP_SERVER_ERROR = 500

_MILLION = 1_000_000


class NotStreamed(Exception):
    """A server was asked for a stream and sent something else."""


class ProviderDown(ModelAPIError):
    """Not asked: the breaker of the model's provider is open, for all agents of the fleet."""

    def __init__(self, model: str, down: DependencyDown) -> None:
        super().__init__(model, str(down))
        self.down = down


class Price(NamedTuple):
    """Dollars for a million tokens."""

    input: float
    output: float


class Streams:
    """Whether to have a model's answers streamed: not any more once its server has shown that it can't."""

    def __init__(self, *, wanted: bool) -> None:
        self.wanted = wanted


class Priced(NamedTuple):
    """A model and what it costs."""

    model: Model
    price: Price | None
    """None: what genai-prices says."""
    streams: Streams

    def usd(self, usage: RequestUsage) -> float:
        """Return what `usage` costs in dollars, to the millionth, so that budgets and records agree; GiveUp when nobody knows."""
        if self.price is not None:
            return round((usage.input_tokens * self.price.input + usage.output_tokens * self.price.output) / _MILLION, 6)
        try:
            return round(float(calc_price(usage, self.model.model_name, provider_id=self.model.system).total_price), 6)
        except LookupError:
            raise GiveUp(
                f"nobody knows the price of the model {self.model.model_id!r}: say metadata.amas.price in its spec, "
                "dollars for a million tokens, such as {input: 0, output: 0} for a model of your own; of the one that plans, "
                "AMAS_MODEL_PRICE",
                code="model_price_unknown",
            ) from None


class Tally:
    """What one attempt's task has used of models, earlier attempts included."""

    def __init__(self) -> None:
        self.made: list[ModelCall] = []
        """The requests that were sent for one step, for the records."""
        self.model = ""
        """That answered last."""
        self.calls = self.tokens = 0
        self.usd = 0.0

    def add(self, *, model: str, calls: int, tokens: int, usd: float) -> None:
        """Count some more."""
        self.model = model or self.model
        self.calls, self.tokens, self.usd = self.calls + calls, self.tokens + tokens, self.usd + usd

    def json(self) -> dict[str, Json]:
        """Return it for a result or the journal: dollars to the millionth."""
        return {"model": self.model, "calls": self.calls, "tokens": self.tokens, "usd": round(self.usd, 6)}


class MeteredModel(WrapperModel):
    """One model, whose requests are announced before they are sent and corrected after."""

    def __init__(self, priced: Priced, task: Context, tally: Callable[[], Tally], tell: Callable[[str], None]) -> None:
        """`tell`: hears, now and then, the end of the text so far."""
        super().__init__(priced.model)
        self._priced, self._task, self._tally, self._tell = priced, task, tally, tell

    async def request(
        self, messages: list[ModelMessage], model_settings: ModelSettings | None, model_request_parameters: ModelRequestParameters
    ) -> ModelResponse:
        """Send a request that every budget has room for; BudgetExhausted before it is sent when one has not.

        The answer is streamed, so that watchers see it grow. From a server that can't it is asked for whole, then and ever after.
        """
        most = RequestUsage(
            input_tokens=_input_tokens(messages, model_request_parameters),
            output_tokens=(model_settings or {}).get("max_tokens", TOKENS_MAX),
        )
        streams = self._priced.streams
        if streams.wanted and type(self.wrapped).request_stream is not Model.request_stream:
            try:
                return await self._paid(most, self._streamed(messages, model_settings, model_request_parameters))
            except (ModelHTTPError, NotStreamed) as error:
                if isinstance(error, ModelHTTPError) and error.status_code not in STREAM_REFUSALS:
                    raise
            response = await self._paid(most, super().request(messages, model_settings, model_request_parameters))
            streams.wanted = False
            return response
        return await self._paid(most, super().request(messages, model_settings, model_request_parameters))

    async def _paid(self, most: RequestUsage, asking: Coroutine[Any, Any, ModelResponse]) -> ModelResponse:
        """Announce what a request may cost, send it, and correct the announcement by what its answer says."""
        provider = Dependency(self._task, dependency_of(self.wrapped), judge=_outcome_of)
        try:
            await provider.__aenter__()
        except DependencyDown as down:
            asking.close()
            raise ProviderDown(self.model_name, down) from down
        except BaseException:
            asking.close()
            raise
        try:
            response = await self._announced(most, asking)
        except BaseException as error:
            await provider.__aexit__(type(error), error, None)
            raise
        await provider.__aexit__(None, None, None)
        return response

    async def _announced(self, most: RequestUsage, asking: Coroutine[Any, Any, ModelResponse]) -> ModelResponse:
        try:
            announced_usd = self._priced.usd(most)
            await self._task.spend(usd=announced_usd, tokens=most.total_tokens, calls=1)
        except BaseException:
            asking.close()
            raise
        began_s = monotonic_s()
        try:
            response = await asking
        except ModelHTTPError:  # refused, so nothing is charged; after a lost connection nobody knows
            self._task.report_usage(usd=-announced_usd, tokens=-most.total_tokens)
            self._count(RequestUsage(), 0.0, began_s, answered=False)
            raise
        except (ModelAPIError, NotStreamed):
            self._count(most, announced_usd, began_s, answered=False)
            raise
        told = response.usage.has_values()
        used = response.usage if told else most  # a server that doesn't tell is charged for what was announced
        usd, tokens = self._priced.usd(used), used.total_tokens
        self._task.report_usage(usd=usd - announced_usd, tokens=tokens - most.total_tokens)
        self._count(used, usd, began_s, answered=True)
        return response

    async def _streamed(
        self, messages: list[ModelMessage], model_settings: ModelSettings | None, model_request_parameters: ModelRequestParameters
    ) -> ModelResponse:
        """Return an answer that was streamed; NotStreamed when nothing came that is a stream."""
        teller, begun = Teller(self._tell), False
        try:
            async with self.wrapped.request_stream(messages, model_settings, model_request_parameters) as stream:
                async for event in stream:
                    begun = True
                    teller.hear(event)
        except UnexpectedModelBehavior as error:
            if begun:
                raise
            raise NotStreamed(str(error)) from error
        response = stream.get()
        if response.finish_reason is None and not response.usage.has_values():
            raise ModelAPIError(self.model_name, "the stream broke off before the answer's end")
        return response

    def _count(self, used: RequestUsage, usd: float, began_s: float, *, answered: bool) -> None:
        tally = self._tally()
        tally.add(model=self.model_name if answered else "", calls=1, tokens=used.total_tokens, usd=usd)
        tally.made.append(
            ModelCall(
                model=self.model_name,
                provider=self.system,
                input_tokens=used.input_tokens,
                output_tokens=used.output_tokens,
                cached_tokens=used.cache_read_tokens,
                usd_micro=round(usd * MICRO),
                duration_ms=round((monotonic_s() - began_s) * 1000),
            )
        )


class JournaledModel(WrapperModel):
    """The models of one attempt, first choice first; each request is a step of the task."""

    def __init__(self, models: Sequence[Priced], task: Context, *, steps: str = "model") -> None:
        """`steps`: what the names of its steps begin with, in a task that talks to models more than once."""
        metered = [MeteredModel(each, task, lambda: self._step, self._tell) for each in models]
        super().__init__(FallbackModel(metered[0], *metered[1:]) if len(metered) > 1 else metered[0])
        self._task, self._number, self._steps = task, 0, steps
        self._step = Tally()
        self.used = Tally()

    async def request(
        self, messages: list[ModelMessage], model_settings: ModelSettings | None, model_request_parameters: ModelRequestParameters
    ) -> ModelResponse:
        """Return the journal's answer to the request of this number, else ask and keep the answer."""
        self._number += 1
        step = f"{self._steps}/{self._number}"
        known, kept = await self._task.recall(step)
        if not known:
            self._step = Tally()
            response = await super().request(messages, model_settings, model_request_parameters)
            answer = ModelMessagesTypeAdapter.dump_python([response], mode="json")
            kept = await self._task.keep(step, {"answer": answer, "used": self._step.json()}, calls=self._step.made)
        self.used.add(**kept["used"])
        note = f"call {self._number}: {self.used.model}, {self.used.tokens} tokens, {self.used.usd:.6f} USD so far"
        self._task.progress(self._number / (self._number + 1), note)  # nobody knows how many there will be
        (message,) = ModelMessagesTypeAdapter.validate_python(kept["answer"])
        assert isinstance(message, ModelResponse), "an answer was kept"
        return message

    def _tell(self, text: str) -> None:
        self._task.progress((self._number - 1) / self._number, f"call {self._number}: {text}")

    def request_stream(self, *_: Any, **__: Any) -> NoReturn:
        """Refuse: whoever gets a stream gets it past the journal; below it, `MeteredModel` streams by itself."""
        raise GiveUp(
            "a model agent's answers are journaled whole; its code can't have them as streams", code="model_agent_invalid"
        )


def dependency_of(model: Model) -> str:
    """Return what the breaker of a model's provider is called: `model/openai`, or `model/host:port` for a server of one's own."""
    url = urlsplit(model.base_url or "")
    return f"model/{url.netloc or model.system}"[:100]


def _outcome_of(error: BaseException | None) -> Outcome:
    """Say that a provider works which answers at all: also when it refuses a request, is busy, or can't stream."""
    match error:
        case ModelHTTPError():
            return "ok" if error.status_code < HTTP_SERVER_ERROR or error.status_code in STREAM_REFUSALS else "error"
        case NotStreamed():
            return "ok"
        case _:
            return outcome_of(error)


def _input_tokens(messages: list[ModelMessage], parameters: ModelRequestParameters) -> int:
    """Return the most tokens that a request is expected to take, rather too many."""
    tools = [
        (tool.name, tool.description, tool.parameters_json_schema)
        for tool in (*parameters.function_tools, *parameters.output_tools)
    ]
    size = len(ModelMessagesTypeAdapter.dump_json(messages)) + len(str(tools).encode())
    return -(-size // BYTES_PER_TOKEN)
