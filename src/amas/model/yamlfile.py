"""A YAML file checked against a msgspec Struct, whose every mistake is told with file, line, field and the mend.

Fleet files and playbooks are read here and nowhere else: `YamlFile.read(path).decode(type)`. Who has further rules keeps the
`YamlFile`, and raises `file.invalid(message, field)` with a field such as `pools[2].lead`.
Keys are always text (`on:` is no boolean), dates stay text, a key that stands twice is a mistake. Nothing is ever executed.
"""

import re
import types
import typing
from collections.abc import Iterator
from enum import Enum
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import yaml

from amas.errors import FleetFileInvalid
from amas.model.meant import did_you_mean

T = TypeVar("T", bound=msgspec.Struct)

FILE_BYTES_MAX = 1 << 20
"""A declaration of more than 1 MiB is no declaration; it also bounds what the parser may be made to do."""

_KINDS = {yaml.MappingNode: "a mapping", yaml.SequenceNode: "a list", yaml.ScalarNode: "a single value"}
_TYPE_WORDS = {
    "int": "a whole number",
    "float": "a number",
    "str": "text",
    "bool": "true or false",
    "null": "nothing",
    "array": "a list",
    "object": "a mapping",
}

_INSIDE = re.compile(r" - at `\$(?P<path>(?:\[\d+\]|\.\w+)+)`$")
"""How msgspec ends a reason that is about something within the value."""
_STEP = re.compile(r"\[(\d+)\]|\.(\w+)")


class _Loader(yaml.SafeLoader):
    """The safe loader without YAML 1.1's dates: a version such as 2026-01-01 is text."""

    yaml_implicit_resolvers = {  # noqa: RUF012 - the parser's own class attribute
        first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
        for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }


class YamlFile:
    """One parsed file that knows the line of each of its fields."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self._loader, self._root = self._parsed(text)
        self._checked: set[int] = set()
        self._lines = dict(_lines(self._root, ""))

    @classmethod
    def read(cls, path: Path) -> "YamlFile":
        """Return the file at `path`, parsed; FleetFileInvalid when it can't be read or isn't YAML."""
        text = cls.text(path)
        return cls(str(path), text.replace("\t", " ") if path.suffix == ".json" else text)  # JSON is YAML but for its tabs

    @staticmethod
    def text(path: Path) -> str:
        """Return what stands in a declaration; FleetFileInvalid when it can't be read."""
        try:
            if path.stat().st_size > FILE_BYTES_MAX:
                raise FleetFileInvalid(f"is larger than {FILE_BYTES_MAX} bytes", path=str(path), line=0, field="")
            return path.read_text(encoding="utf-8")
        except OSError as error:
            reason = f"can't be read: {error.strerror or error}"
            raise FleetFileInvalid(reason, path=str(path), line=0, field="") from error
        except UnicodeDecodeError as error:
            raise FleetFileInvalid("is not UTF-8 text", path=str(path), line=0, field="") from error

    def line_of(self, field: str) -> int:
        """Return the line, from 1, of a field such as `pools[2].lead`; of the nearest field around it when it isn't there."""
        while field and field not in self._lines:
            field = field[: max(field.rfind("."), field.rfind("["), 0)]
        return self._lines.get(field, 1)

    def invalid(self, message: str, field: str) -> FleetFileInvalid:
        """Return the error that says `message` of `field`, for the caller to raise."""
        return FleetFileInvalid(message, path=self.path, line=self.line_of(field), field=field)

    def decode(self, kind: type[T]) -> T:
        """Return the content as a `kind`; FleetFileInvalid at the first field that isn't as it must be."""
        return typing.cast(T, self._build(self._root, kind, ""))

    def _parsed(self, text: str) -> tuple[_Loader, yaml.Node]:
        try:
            loader = _Loader(text)
            root = loader.get_single_node()
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            reason = " ".join(part for part in (error.context, error.problem) if part)
            line = mark.line + 1 if mark else 1
            raise FleetFileInvalid(f"is not YAML: {reason}", path=self.path, line=line, field="") from error
        except yaml.YAMLError as error:
            raise FleetFileInvalid(f"is not YAML: {error}", path=self.path, line=1, field="") from error
        if root is None:
            raise FleetFileInvalid("is empty", path=self.path, line=1, field="")
        return loader, root

    def _build(self, node: yaml.Node, hint: Any, field: str) -> Any:
        hint = _without_none(hint, node)
        origin, arguments = typing.get_origin(hint), typing.get_args(hint)
        if isinstance(hint, type) and issubclass(hint, msgspec.Struct):
            return self._struct(node, hint, field)
        if origin in (list, tuple, set, frozenset):
            self._expect(node, yaml.SequenceNode, field)
            return origin(self._build(item, arguments[0], f"{field}[{i}]") for i, item in enumerate(node.value))
        if origin is dict:
            return {key: self._build(value, arguments[1], _join(field, key)) for key, value in self._pairs(node, field)}
        return self._leaf(node, hint, field)

    def _struct(self, node: yaml.Node, kind: type[msgspec.Struct], field: str) -> msgspec.Struct:
        hints = typing.get_type_hints(kind, include_extras=True)
        fields = {each.encode_name: each for each in msgspec.structs.fields(kind)}
        given: dict[str, Any] = {}
        for key, value in self._pairs(node, field):
            if key not in fields:
                known = did_you_mean(key, fields) or f"; fields here: {', '.join(fields)}"
                raise self.invalid(f"is not a field here{known}", _join(field, key))
            given[fields[key].name] = self._build(value, hints[fields[key].name], _join(field, key))
        for name, each in fields.items():
            if each.required and each.name not in given:
                raise self.invalid(f"the field {name!r} is missing: add it", field)
        try:
            return kind(**given)
        except (TypeError, ValueError) as error:  # a Struct's own __post_init__
            raise self.invalid(str(error), field) from error

    def _pairs(self, node: yaml.Node, field: str) -> Iterator[tuple[str, yaml.Node]]:
        self._expect(node, yaml.MappingNode, field)
        assert isinstance(node, yaml.MappingNode)
        self._no_duplicates(node, field)
        self._loader.flatten_mapping(node)  # applies `<<: *shared`; the pairs written here come last and win
        return iter({str(key.value): value for key, value in node.value}.items())

    def _no_duplicates(self, node: yaml.MappingNode, field: str) -> None:
        if id(node) in self._checked:  # an aliased mapping comes here again, flattened
            return
        seen: set[str] = set()
        for key, _ in node.value:
            if key.value in seen:
                raise FleetFileInvalid(
                    "stands here twice: keep one", path=self.path, line=key.start_mark.line + 1, field=_join(field, key.value)
                )
            seen.add(key.value)
        self._checked.add(id(node))

    def _expect(self, node: yaml.Node, kind: type[yaml.Node], field: str) -> None:
        if isinstance(node, kind):
            return
        mend = f": write [{node.value}]" if kind is yaml.SequenceNode and isinstance(node, yaml.ScalarNode) else ""
        raise self.invalid(f"must be {_KINDS[kind]}, not {_KINDS[type(node)]}{mend}", field)

    def _leaf(self, node: yaml.Node, hint: Any, field: str) -> Any:
        try:
            value = self._loader.construct_object(node, deep=True)
        except yaml.MarkedYAMLError as error:
            raise self.invalid(f"{error.problem}", field) from error
        try:
            return msgspec.convert(value, hint)
        except msgspec.ValidationError as error:
            reason, place, inside = str(error), field, value
            if found := _INSIDE.search(reason):
                reason, place = reason[: found.start()], field + found["path"]
                inside = _at(value, found["path"])
            raise self.invalid(_mend(reason, inside, hint) + _own_mend(hint), place) from error


def shipped_folder(name: str) -> Path:
    """Return the folder of declarations that ship with the product (`playbooks`, `fleets`): in the wheel, or in a checkout."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "_data" / name
    return installed if installed.is_dir() else package.parent.parent / name


def _join(field: str, key: str) -> str:
    return f"{field}.{key}" if field else key


def _lines(node: yaml.Node, field: str) -> Iterator[tuple[str, int]]:
    """Yield each field below `node` with the line of its key; a node that stands in itself is not followed."""
    open_nodes: list[tuple[yaml.Node, str, int, frozenset[int]]] = [(node, field, node.start_mark.line + 1, frozenset())]
    while open_nodes:
        each, path, line, above = open_nodes.pop()
        yield path, line
        if id(each) in above:
            continue
        inside = above | {id(each)}
        if isinstance(each, yaml.MappingNode):
            open_nodes += [(v, _join(path, str(k.value)), k.start_mark.line + 1, inside) for k, v in each.value]
        elif isinstance(each, yaml.SequenceNode):
            open_nodes += [(v, f"{path}[{i}]", v.start_mark.line + 1, inside) for i, v in enumerate(each.value)]


def _without_none(hint: Any, node: yaml.Node) -> Any:
    """Return X for `X | None` where a value stands, so that its parts are looked at one by one."""
    if typing.get_origin(hint) not in (typing.Union, types.UnionType) or node.tag == "tag:yaml.org,2002:null":
        return hint
    others = [each for each in typing.get_args(hint) if each is not type(None)]
    return others[0] if len(others) == 1 else hint


def _mend(reason: str, value: Any, hint: Any) -> str:
    """Return msgspec's reason in words for people who write YAML."""
    choices = _choices(hint)
    if choices:
        return f"{value!r} is none of {', '.join(choices)}{did_you_mean(str(value), choices)}"
    if reason.startswith("Expected `") and "`, got `" in reason:
        wanted = reason.removeprefix("Expected `").partition("`, got `")[0]
        words = " or ".join(_TYPE_WORDS.get(each.strip(), each.strip()) for each in wanted.split("|"))
        return f"must be {words}, not {value!r}"
    return f"{reason[:1].lower()}{reason[1:]}, not {value!r}"


def _at(value: Any, path: str) -> Any:
    """Return what stands in a value at msgspec's path, `[0]` or `[0].name`."""
    for index, key in _STEP.findall(path):
        value = value[int(index) if index else key]
    return value


def _own_mend(hint: Any) -> str:
    """Return what a field says itself about a value that isn't as it must be: `Meta(extra={"mend": ...})`."""
    metas = (each for each in getattr(hint, "__metadata__", ()) if isinstance(each, msgspec.Meta))
    return next((f": {each.extra['mend']}" for each in metas if each.extra and "mend" in each.extra), "")


def _choices(hint: Any) -> list[str]:
    if typing.get_origin(hint) is typing.Literal:
        return [str(each) for each in typing.get_args(hint)]
    if isinstance(hint, type) and issubclass(hint, Enum):
        return [str(each.value) for each in hint]
    return []
