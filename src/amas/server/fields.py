"""A request's header fields by name, read once for all that stand before its route. Pure.

A list is searched anew for each name that is asked for, and most of what is asked for isn't there.
"""

from collections.abc import Mapping

from starlette.types import Scope

Fields = Mapping[str, str]
"""By names in lower case; of one that comes several times the first counts. A framework's own headers are such a mapping, too."""


def fields_of(scope: Scope) -> Fields:
    """Return the header fields of a request."""
    state = scope.setdefault("state", {})
    found: Fields | None = state.get("fields")
    if found is None:
        pairs = reversed(scope["headers"])
        found = state["fields"] = {name.decode("latin-1"): value.decode("latin-1") for name, value in pairs}
    return found
