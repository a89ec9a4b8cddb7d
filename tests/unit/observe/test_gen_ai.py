"""What spans say of models, by the conventions' names."""

import pytest

from amas.model.cost import ModelCall
from amas.observe import gen_ai


def call(provider: str, cached: int = 0) -> ModelCall:
    return ModelCall("m", provider, 10, 5, cached, 0, 20)


@pytest.mark.parametrize(
    ("said", "named"),
    [
        ("openai", "openai"),
        ("google-cloud", "gcp.vertex_ai"),
        ("mistral", "mistral_ai"),
        ("bedrock", "aws.bedrock"),
        ("own", "own"),
    ],
)
def test_providers_have_the_names_of_the_conventions(said: str, named: str) -> None:
    assert gen_ai.asked(call(said))[gen_ai.PROVIDER] == named


def test_tokens_from_a_cache_are_told_where_there_are_any() -> None:
    assert gen_ai.CACHED_TOKENS not in gen_ai.asked(call("openai"))
    assert gen_ai.asked(call("openai", cached=3))[gen_ai.CACHED_TOKENS] == 3


@pytest.mark.parametrize(
    "result", [None, "text", [], {}, {"answer": None}, {"answer": []}, {"answer": ["x"]}, {"answer": [{"model_name": 1}]}]
)
def test_a_step_of_another_kind_is_no_answer(result: object) -> None:
    assert gen_ai.answered(result) == {}
