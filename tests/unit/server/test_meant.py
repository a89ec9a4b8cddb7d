"""A word that isn't taken is answered with those that are, wherever in a body it stands."""

import msgspec
import pytest

from amas.server.access_shapes import NewKey
from amas.server.hook_shapes import NewWebhook
from amas.server.problems import fault_of
from amas.server.shapes import NewTask


@pytest.mark.parametrize(
    ("shape", "body", "pointer", "sentence"),
    [
        (NewKey, {"name": "a", "role": "oprator"}, "#/role", "'oprator' is none of system-admin, operator, viewer, agent (did"),
        (NewWebhook, {"url": "https://a.example", "events": ["gaol.*"]}, "#/events/0", "(did you mean 'goal.*'?)"),
        (NewKey, {"name": "ann smith"}, "#/name", "must be letters, digits and any of _ @ . + - without spaces, such as ann@"),
        (NewTask, {"capability": 1}, "#/capability", "Expected `str`, got `int`"),
    ],
)
def test_what_may_stand_there_is_said(shape: type, body: object, pointer: str, sentence: str) -> None:
    with pytest.raises(msgspec.ValidationError) as refused:
        msgspec.json.decode(msgspec.json.encode(body), type=shape)
    fault = fault_of(refused.value, shape)
    assert fault.pointer == pointer
    assert sentence in fault.detail
