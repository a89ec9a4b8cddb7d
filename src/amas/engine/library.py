"""The server-side function library: joined from `functions/*.lua`, loaded once, checked at every start.

Functions carry the number of their interface in their names (`amas1_submit`), so a later interface can stand beside this one
while old and new hosts work together. Within a number the text may change: whoever may load functions loads its own.
"""

from functools import cache
from hashlib import sha256
from pathlib import Path

INTERFACE = 1
LIBRARY = f"amas{INTERFACE}"


@cache
def source() -> str:
    """Return the library's text, with a function that tells its digest."""
    folder = Path(__file__).with_name("functions")
    body = "\n".join(path.read_text() for path in sorted(folder.glob("*.lua")))
    digest = sha256(body.encode()).hexdigest()
    answer = f"flags={{'no-writes'}}, callback=function() return '{digest}' end"
    tell = f"redis.register_function{{function_name='{LIBRARY}_digest', {answer}}}"
    return f"#!lua name={LIBRARY}\n{body}\n{tell}\n"


@cache
def digest() -> str:
    """Return the digest that a server with this very text answers."""
    return source().rpartition("return '")[2].partition("'")[0]
