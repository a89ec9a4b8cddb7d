"""What stands in a query and no route takes: refused, as an unknown field of a body is.

`?status=failed` where the filter is called `state` would list everything, and whoever asked would take it for what failed.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from fastapi.dependencies.models import Dependant
from fastapi.routing import APIRoute

from amas.model.meant import did_you_mean
from amas.server.problems import Fault, Refusal


def check_query(route: Any, given: Mapping[str, str]) -> None:
    """Raise Refusal for what a query says and the route of an operation doesn't take."""
    if not isinstance(route, APIRoute):
        return
    taken = taken_by(route)
    unknown = [name for name in given if name not in taken]
    if unknown:
        words = f"it takes {', '.join(sorted(taken))}" if taken else "it takes no query"
        raise Refusal(
            *(
                Fault(detail=f"there is no {name!r} here{did_you_mean(name, taken)}; {words}", parameter=name)
                for name in unknown[:20]
            )
        )


_known: dict[tuple[str, ...], frozenset[str]] = {}
"""By path and methods: what each route's query may have."""


def taken_by(route: APIRoute) -> frozenset[str]:
    """Return the names that a route's query may have."""
    key = (route.path, *sorted(route.methods or ()))
    if key not in _known:
        _known[key] = frozenset(_taken(route.dependant))
    return _known[key]


def _taken(dependant: Dependant) -> Iterator[str]:
    yield from (each.alias for each in dependant.query_params)
    for below in dependant.dependencies:
        yield from _taken(below)
