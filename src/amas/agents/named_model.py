"""The model that the settings name, for planners and gates; imported with pydantic-ai, so on first use."""

from pydantic_ai.models import Model, infer_model
from pydantic_ai.models.openai import OpenAIChatModel
from pydantic_ai.providers.openai import OpenAIProvider

from amas.settings import ModelSettings


def model_of(settings: ModelSettings) -> Model:
    """Return the model that the settings name; UserError or ImportError when it can't be had."""
    if not settings.url:
        return infer_model(settings.model)
    provider = OpenAIProvider(base_url=settings.url, api_key=settings.key or "none")  # never the environment's OPENAI_API_KEY
    return OpenAIChatModel(settings.model, provider=provider)
