"""Expressions in flows: conditions (`when`), and references to values that are known only at run time.

An expression is JMESPath (https://jmespath.org). It sees `input`, the task's input, and `needs`, the results of the tasks that it
needs by key; within a map also `item` and `index`. A key with other characters than letters, digits and `_` stands in double
quotes: `needs."fetch-all".pages`. A reference is an object with the one key `$`, anywhere in a map's input: `{"$": "item.url"}`.
Pure: nothing here reads anything but its arguments.
"""

from collections.abc import Mapping
from functools import lru_cache

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.parser import ParsedResult

from amas.errors import ExpressionInvalid
from amas.model.task import Json

REFERENCE = "$"

Scope = Mapping[str, Json]


@lru_cache(maxsize=1024)
def compiled(expression: str) -> ParsedResult:
    """Return an expression ready to be used; ExpressionInvalid says what is wrong with it."""
    try:
        return jmespath.compile(expression)
    except JMESPathError as error:
        reason = " ".join(str(error).split())
        raise ExpressionInvalid(f"{expression!r} is no JMESPath expression: {reason}") from error


def value_of(expression: str, scope: Scope) -> Json:
    """Return what an expression means within `scope`, None for what isn't there; ExpressionInvalid where there is no telling."""
    try:
        return compiled(expression).search(scope)
    except JMESPathError as error:  # such as a function that got a value of the wrong type
        raise ExpressionInvalid(f"{expression!r} can't be worked out here: {' '.join(str(error).split())}") from error
    except RecursionError:  # an agent's result, for one, may be nested as deeply as it likes
        raise ExpressionInvalid(f"{expression!r} can't be worked out here: what it looks at is nested too deeply") from None


def holds(condition: str, scope: Scope) -> bool:
    """Return whether a condition is true, as JMESPath says it: false are `false`, null, and whatever is empty; 0 is not."""
    value = value_of(condition, scope)
    return not (value is None or value is False or (isinstance(value, str | list | dict) and not value))


def resolved(template: Json, scope: Scope) -> Json:
    """Return `template` with every reference replaced by its value."""
    match template:
        case {"$": str(expression)} if len(template) == 1:
            return value_of(expression, scope)
        case dict():
            return {name: resolved(value, scope) for name, value in template.items()}
        case list() | tuple():
            return [resolved(value, scope) for value in template]
        case _:
            return template


def references(template: Json) -> list[str]:
    """Return the expressions of every reference in `template`."""
    match template:
        case {"$": str(expression)} if len(template) == 1:
            return [expression]
        case dict():
            return [found for value in template.values() for found in references(value)]
        case list() | tuple():
            return [found for value in template for found in references(value)]
        case _:
            return []
