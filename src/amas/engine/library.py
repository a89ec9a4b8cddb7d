"""The server-side function library: joined from `functions/*.lua`, loaded once, checked at every start.

Functions carry the number of their interface in their names (`amas1_submit`), so a later interface can stand beside this one
while old and new hosts work together. Within a number the text may change, and a newer text serves older callers: arguments are
only ever added at the end. So whoever may load functions replaces what an older release loaded, or another text of its own
release, and leaves a newer release's alone.
"""

import re
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

INTERFACE = 1
LIBRARY = f"amas{INTERFACE}"


def assemble(body: str, *, release: str, name: str) -> str:
    """Return the text of library `name`: its functions, and two that tell the digest of their text and the release it is from."""
    told = {"digest": sha256(body.encode()).hexdigest(), "release": release}
    functions = "\n".join(
        f"redis.register_function{{function_name='{name}_{question}', flags={{'no-writes'}}, "
        f"callback=function() return '{answer}' end}}"
        for question, answer in told.items()
    )
    return f"#!lua name={name}\n{body}\n{functions}\n"


@cache
def body() -> str:
    """Return this program's functions."""
    folder = Path(__file__).with_name("functions")
    return "\n".join(path.read_text() for path in sorted(folder.glob("*.lua")))


@cache
def release() -> str:
    """Return this program's release."""
    return version("amas")


@cache
def source() -> str:
    """Return this program's library."""
    return assemble(body(), release=release(), name=LIBRARY)


@cache
def digest() -> str:
    """Return the digest that a server with this very text answers."""
    return sha256(body().encode()).hexdigest()


def newer(found: str) -> bool:
    """Return whether the release `found` is later than this program's."""
    return _numbers(found) > _numbers(release())


def _numbers(text: str) -> tuple[int, ...]:
    leading = re.match(r"\d+(\.\d+)*", text)
    return tuple(map(int, leading[0].split("."))) if leading else ()
