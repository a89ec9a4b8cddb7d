"""What the typed client makes of a call, without anybody to send it to."""

import inspect
from collections.abc import Iterator
from typing import Any

import msgspec
import pytest

from amas.rest import operations
from amas.rest.calls import Operation


def declared() -> Iterator[tuple[str, Operation[Any, Any]]]:
    for part in vars(operations).values():
        if inspect.isclass(part) and part.__module__ == operations.__name__:
            yield from ((f"{part.__name__}.{name}", each) for name, each in vars(part).items() if isinstance(each, Operation))


def test_a_signal_s_own_name_is_not_taken_for_the_task_s() -> None:
    call = operations.Tasks.signal.make("t1", name="go", value={"paid": 12})
    assert (call.path, msgspec.json.decode(call.body)) == ("/api/tasks/t1/signal", {"name": "go", "value": {"paid": 12}})


@pytest.mark.parametrize(("named", "operation"), list(declared()), ids=lambda each: each if isinstance(each, str) else "")
def test_no_field_of_a_body_or_query_stands_in_the_way_of_what_the_path_names(named: str, operation: Operation[Any, Any]) -> None:
    own = set(inspect.signature(operation.given).parameters)
    by_name = {
        name for name, each in inspect.signature(operation.make).parameters.items() if each.kind is each.POSITIONAL_OR_KEYWORD
    }
    assert "{" not in operation.path or own & by_name == set(), named
