"""What people write on a command line: JSON, or a text."""

import pytest

from amas.cli.output import value_of
from amas.errors import InputUnusable


@pytest.mark.parametrize(
    ("said", "meant"),
    [("", None), ("tea", "tea"), ("12", 12), ('"12"', "12"), ('{"a": [1]}', {"a": [1]}), ("a {b}", "a {b}"), ("null", None)],
)
def test_json_is_taken_as_such_and_the_rest_as_text(said: str, meant: object) -> None:
    assert value_of(said, "the input") == meant


@pytest.mark.parametrize("said", ['{"name": ', "{name: ada}", " [1, 2", '"ada'])
def test_what_begins_as_json_and_is_none_is_a_slip(said: str) -> None:
    with pytest.raises(InputUnusable, match="the input begins as JSON does, but isn't any: "):
        value_of(said, "the input")
