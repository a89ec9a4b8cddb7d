"""The root of all errors; `amas.errors` has the tree."""

from typing import ClassVar, Literal

Actor = Literal["author", "operator", "nobody"]


class AmasError(Exception):
    """The root: catch it to catch everything that amas raises on purpose."""

    code: ClassVar[str] = "amas_error"
    act: ClassVar[Actor] = "nobody"
