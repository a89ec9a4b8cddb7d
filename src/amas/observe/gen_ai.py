"""The names that OpenTelemetry's conventions for generative AI give to what agents do, by our own hand: no package pins them.

https://github.com/open-telemetry/semantic-conventions-genai, in development: names may still change there.
"""

from collections.abc import Mapping
from typing import Any

from amas.model.cost import ModelCall

OPERATION, PROVIDER, MODEL = "gen_ai.operation.name", "gen_ai.provider.name", "gen_ai.request.model"
INPUT_TOKENS, OUTPUT_TOKENS = "gen_ai.usage.input_tokens", "gen_ai.usage.output_tokens"
CACHED_TOKENS = "gen_ai.usage.cache_read.input_tokens"
RESPONSE_MODEL, RESPONSE_ID, FINISH_REASONS = "gen_ai.response.model", "gen_ai.response.id", "gen_ai.response.finish_reasons"
AGENT_ID, AGENT_NAME = "gen_ai.agent.id", "gen_ai.agent.name"
TOOL, TOOL_TYPE, TOOL_CALL = "gen_ai.tool.name", "gen_ai.tool.type", "gen_ai.tool.call.id"
ERROR_TYPE, ERROR_OTHER = "error.type", "_OTHER"

OURS = "amas"
"""The provider of agents, which are the fleet's own whatever they ask."""
PROVIDERS: Mapping[str, str] = {
    "azure": "azure.ai.openai",
    "bedrock": "aws.bedrock",
    "google": "gcp.gemini",
    "google-cloud": "gcp.vertex_ai",
    "google-gla": "gcp.gemini",
    "google-vertex": "gcp.vertex_ai",
    "mistral": "mistral_ai",
    "moonshotai": "moonshot_ai",
    "xai": "x_ai",
}
"""By pydantic-ai's names, where the conventions have another one."""
TOOL_TYPES: Mapping[str, str] = {"python": "function", "shell": "function", "http": "extension", "mcp": "extension"}
"""By our kinds of tools: an extension asks somebody outside."""

Attributes = dict[str, str | int | float | bool | tuple[str, ...]]


def asked(call: ModelCall) -> Attributes:
    """Return what a span says of a request to a model."""
    found: Attributes = {
        OPERATION: "chat",
        PROVIDER: PROVIDERS.get(call.provider, call.provider),
        MODEL: call.model,
        INPUT_TOKENS: call.input_tokens,
        OUTPUT_TOKENS: call.output_tokens,
    }
    return {**found, CACHED_TOKENS: call.cached_tokens} if call.cached_tokens else found


def answered(result: Any) -> Attributes:
    """Return what a span says of the answer that a model agent's step kept (`model_calls`); empty for any other step's result."""
    answers = result.get("answer") if isinstance(result, dict) else None
    answer = answers[0] if isinstance(answers, list) and answers else None
    if not isinstance(answer, dict):
        return {}
    found: Attributes = {}
    for name, said in ((RESPONSE_MODEL, answer.get("model_name")), (RESPONSE_ID, answer.get("provider_response_id"))):
        if isinstance(said, str) and said:
            found[name] = said
    if isinstance(reason := answer.get("finish_reason"), str) and reason:
        found[FINISH_REASONS] = (reason,)
    return found
