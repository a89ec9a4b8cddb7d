"""What work costs, as the journal carries it: single requests to models, and what whole attempts used.

A journaled step brings along the requests that were made for its result, so whoever replays the step pays nothing and counts
nothing. `records/costs.py` adds it all up.
"""

import msgspec


class ModelCall(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """One request to a model, answered or charged without an answer."""

    model: str
    provider: str
    """As genai-prices and pydantic-ai name it: `openai`, `anthropic`, ..."""
    input_tokens: int
    """Those that the provider had cached included."""
    output_tokens: int
    cached_tokens: int
    """Of the input, those that the provider read from its cache."""
    usd_micro: int
    duration_ms: int
