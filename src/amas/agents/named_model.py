"""The model that the settings name, and its price, for planners and gates; imported with pydantic-ai, so on first use."""

from genai_prices import calc_price
from pydantic_ai.models import Model, infer_model
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider
from pydantic_ai.usage import RequestUsage

from amas.agents.model_calls import Price, Priced, Streams
from amas.settings import ModelSettings


def model_of(settings: ModelSettings) -> Priced:
    """Return the model that the settings name; UserError or ImportError when it can't be had."""
    model = _model(settings)
    return Priced(model, _price(settings, model), Streams(wanted=False))


def _model(settings: ModelSettings) -> Model:
    if not settings.url:
        return infer_model(settings.model)
    provider = OpenAIProvider(base_url=settings.url, api_key=settings.key or "none")  # never the environment's OPENAI_API_KEY
    return OpenAIChatModel(settings.model, provider=provider)


def _price(settings: ModelSettings, model: Model) -> Price | None:
    """Return the price that the settings say; None where genai-prices says it, or has to."""
    if settings.price:
        asked, answered = settings.price.split("/")
        return Price(float(asked), float(answered))
    if not settings.url:
        return None
    try:
        calc_price(RequestUsage(input_tokens=1), model.model_name, provider_id=model.system)
    except LookupError:
        return Price(0.0, 0.0)
    return None
