"""What a tool's arguments must be, as a type that checks them and as the JSON schema that models get to see."""

import inspect
from collections.abc import Callable, Mapping
from typing import Annotated, Any, get_type_hints

import msgspec

from amas.errors import FleetError, ToolMisused
from amas.model.task import Json
from amas.model.tools import Parameter

_TYPES: dict[str, Any] = {"string": str, "integer": int, "number": float, "boolean": bool}
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_STRUCT = "Arguments"

_Field = tuple[str, Any] | tuple[str, Any, Any]


class Parameters:
    """Checks arguments by a Struct."""

    def __init__(self, tool: str, fields: list[_Field]) -> None:
        """`fields`: a name, a type and, where it needn't be given, a default each. TypeError where a type can't be checked."""
        self._tool = tool
        self._kind = msgspec.defstruct(_STRUCT, fields, kw_only=True, forbid_unknown_fields=True)
        others = msgspec.json.schema(self._kind)["$defs"]
        self.schema: dict[str, Json] = {**others.pop(_STRUCT), "title": tool, **({"$defs": others} if others else {})}

    def typed(self, arguments: Mapping[str, Json]) -> dict[str, Any]:
        """Return the arguments as their types say, without those that weren't given; ToolMisused says what is wrong."""
        try:
            made = msgspec.convert(dict(arguments), self._kind)
        except msgspec.ValidationError as error:
            raise ToolMisused(f"the tool {self._tool} doesn't take these arguments: {error}", tool=self._tool) from error
        given = {name: getattr(made, name) for name in self._kind.__struct_fields__}
        return {name: value for name, value in given.items() if value is not msgspec.UNSET}


def of_function(tool: str, function: Callable[..., Any]) -> Parameters:
    """Return what a function's signature says; FleetError where nobody could call it by name, or a type can't be checked."""
    try:
        signature, hints = inspect.signature(function), get_type_hints(function, include_extras=True)
    except (TypeError, ValueError, NameError) as error:
        raise FleetError(f"its signature can't be read: {error}") from error
    fields: list[_Field] = []
    for name, each in signature.parameters.items():
        if each.kind not in _BY_NAME:
            raise FleetError(f"its parameter {each} can't be given by name: write ordinary parameters")
        hint = hints.get(name, Any)
        fields.append((name, hint) if each.default is each.empty else (name, hint | msgspec.UnsetType, msgspec.UNSET))
    try:
        return Parameters(tool, fields)
    except TypeError as error:
        raise FleetError(f"the types of its parameters can't be checked: {error}") from error


def of_declared(tool: str, declared: Mapping[str, Parameter]) -> Parameters:
    """Return what a fleet file's `parameters` say."""
    fields: list[_Field] = []
    for name, each in declared.items():
        kind = _TYPES[each.type]
        hint = Annotated[kind, msgspec.Meta(description=each.about)] if each.about else kind
        fields.append((name, hint) if each.default is None else (name, hint, each.default))
    return Parameters(tool, fields)
