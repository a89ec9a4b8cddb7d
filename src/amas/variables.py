"""How one setting is read from the environment and checked: what a group in `settings.py` is made of.

A field's annotation says its variable, unit and bounds; the group's class reads and checks them. Built on msgspec rather than
pydantic-settings, whose import alone takes as long as `amas --help` may. It knows no setting.
"""

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, get_args, get_origin, get_type_hints

import msgspec

from amas.errors import SecretUnreadable, SettingInvalid
from amas.secrets import is_reference, reveal


class Variable(NamedTuple):
    """Stands in a field's annotation: the environment's name for it, its unit, and its bounds."""

    name: str
    unit: str = ""
    at_least: float | None = None
    at_most: float | None = None
    pattern: str = ""
    """A regular expression for the whole text; `meaning` says it in words."""
    secret: bool = False
    """It may be a reference (`amas.secrets`), and its value is never shown."""
    references: bool = False
    """It is a reference, or several, which is all that is kept here."""
    meaning: str = ""


class Field(NamedTuple):
    """One setting as documentation and `amas doctor` show it."""

    name: str
    kind: Any
    default: Any
    variable: Variable

    @property
    def wanted(self) -> str:
        """What its value may be, in words."""
        variable, unit = self.variable, f" ({self.variable.unit})" if self.variable.unit else ""
        if get_origin(self.kind) is Literal:
            return "one of " + ", ".join(get_args(self.kind))
        if variable.at_least is None:
            return variable.meaning or "text"
        noun = "a whole number" if self.kind is int else "a number"
        return f"{noun} from {variable.at_least:.15g} to {variable.at_most:.15g}{unit}"

    def parse(self, text: str) -> Any:
        """Return the environment's text as this setting's value; SettingInvalid when it can't be one."""
        text = text.strip()
        if self.variable.secret:
            return secret_of(self.variable.name, text)
        if get_origin(self.kind) is Literal:
            text = text.upper()
        if self.kind in (Path, Path | None):
            return Path(text).expanduser().absolute()
        try:
            return msgspec.convert(text, self.kind, strict=False)
        except msgspec.ValidationError:
            raise self.refused(text) from None

    def within(self, value: Any) -> bool:
        """Return whether `value` keeps the bounds."""
        low, high = self.variable.at_least, self.variable.at_most
        if low is not None and high is not None:
            return bool(low <= value <= high)
        return not (self.variable.pattern and value) or re.fullmatch(self.variable.pattern, value) is not None

    def refused(self, value: Any) -> SettingInvalid:
        """Return the error that says what `value` is not."""
        shown = (
            "no such thing" if self.variable.secret or self.variable.references else repr(value)
        )  # it may be the secret itself
        return SettingInvalid(f"{self.variable.name} is {shown}, but must be {self.wanted}")


def secret_of(variable: str, text: str) -> str:
    """Return the secret that a variable's text is, or refers to (`amas.secrets`); SettingInvalid when that can't be read."""
    if not is_reference(text):
        return text
    try:
        return reveal(text)
    except SecretUnreadable as error:
        raise SettingInvalid(f"{variable} can't be had: {error}") from None


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """A group of settings; making one checks it, however it is made."""

    def __post_init__(self) -> None:
        for field in self.fields():
            value = getattr(self, field.name)
            if not field.within(value):
                raise field.refused(value)
        self.check()

    def __repr__(self) -> str:
        shown = (f"{each.name}={'...' if each.variable.secret else repr(getattr(self, each.name))}" for each in self.fields())
        return f"{type(self).__name__}({', '.join(shown)})"

    def check(self) -> None:
        """Raise SettingInvalid when two settings of the group are at odds."""

    @classmethod
    def fields(cls) -> Iterator[Field]:
        """Return the group's settings in their order."""
        hints = get_type_hints(cls, include_extras=True)
        for field in msgspec.structs.fields(cls):
            kind, variable = get_args(hints[field.name])
            yield Field(field.name, kind, field.default, variable)

    @classmethod
    def read(cls, environ: Mapping[str, str] | None = None) -> Self:
        """Return the group as the environment sets it; SettingInvalid when a value can't be taken."""
        environ = os.environ if environ is None else environ
        given = ((field, environ.get(field.variable.name, "")) for field in cls.fields())
        return cls(**{field.name: field.parse(text) for field, text in given if text.strip()})
