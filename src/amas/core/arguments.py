"""What rules may ask of a tool's arguments: texts, folders, hosts and numbers, read so that nothing can pass for what it isn't.

Arguments come from agents, so they are read strictly: what has no plain reading as a path or as a URL has none here, and a rule
that asks for it doesn't hold where it would allow and holds where it would deny (`policy/cedar.py`). Paths are read as they are
written: links are followed by nobody here, who runs tools confines them. Pure.
"""

from collections.abc import Iterable, Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from math import isfinite
from posixpath import normpath
from urllib.parse import urlsplit

from amas.model.task import Json

MILLIONTHS = 1_000_000
"""Numbers are compared in millionths, rounded so that no bound is passed unseen: up for upper ones, down for lower ones."""
LONG_MAX = (1 << 63) - 1
"""The largest whole number that a policy knows, and its negative the least; what is beyond counts as that."""
PLACE_CHARS_MAX = 4096
"""A longer text is neither path nor URL."""
DEPTH_MAX = 32
"""Of lists and mappings within each other; what is deeper isn't told."""
_RESERVED = {"__entity", "__extn", "__expr"}
"""Cedar's JSON takes objects with these for something else than records."""


def folder_of(text: str) -> str | None:
    """Return a path as a folder with a slash at its end, `/` or `./` at its beginning; None where it may mean something else."""
    if not text or len(text) > PLACE_CHARS_MAX or text.startswith("~") or not text.isprintable() or "\\" in text or "$" in text:
        return None
    plain = normpath(text)
    if plain.startswith("/"):
        return f"/{plain.strip('/')}/" if plain.strip("/") else "/"
    return "./" if plain == "." else f"{plain}/" if plain.startswith("..") else f"./{plain}/"


def host_of(text: str) -> str | None:
    """Return the host that a URL is for, in lower case; None where it isn't plain that every reader finds the same one."""
    if len(text) > PLACE_CHARS_MAX or not text.isascii() or not text.isprintable() or any(one in text for one in " \\"):
        return None
    try:
        parts = urlsplit(text)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return None
    if parts.scheme not in {"http", "https", "ws", "wss"} or not host or "@" in parts.netloc or "%" in parts.netloc:
        return None
    return host.rstrip(".")


def millionths(number: float) -> tuple[int, int]:
    """Return a finite number in millionths, rounded down and rounded up."""
    exact = Decimal(str(number)) * MILLIONTHS
    low, high = (int(exact.to_integral_value(rounding)) for rounding in (ROUND_FLOOR, ROUND_CEILING))
    return max(-LONG_MAX, min(low, LONG_MAX)), max(-LONG_MAX, min(high, LONG_MAX))


def facts(arguments: Mapping[str, Json], names: Iterable[str]) -> dict[str, Json]:
    """Return what rules are told of the arguments called `names`; which of them were given stands in `given`."""
    told: dict[str, dict[str, Json]] = {kind: {} for kind in ("texts", "flags", "folders", "hosts", "least", "most")}
    given = [name for name in names if name in arguments]
    for name in given:
        value = arguments[name]
        if isinstance(value, bool):
            told["flags"][name] = value
        elif isinstance(value, int | float) and isfinite(value):
            told["least"][name], told["most"][name] = millionths(value)
        elif isinstance(value, str):
            told["texts"][name] = _utf8(value)
            if (folder := folder_of(value)) is not None:
                told["folders"][name] = folder
            if (host := host_of(value)) is not None:
                told["hosts"][name] = host
    return {**told, "given": list(given)}


def plain(value: Json, depth: int = 0) -> Json:
    """Return a value as a policy language without nothing, fractions and large numbers can have it; None for what can't be.

    Fractions become numbers of four digits behind the point. What can't be is left out of lists and mappings.
    """
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return value if -LONG_MAX <= value <= LONG_MAX else None
    if isinstance(value, float):
        fits = isfinite(value) and abs(value) < LONG_MAX / 10_000
        return {"__extn": {"fn": "decimal", "arg": f"{value:.4f}"}} if fits else None
    if isinstance(value, str):
        return _utf8(value)
    return _plain_parts(value, depth + 1) if depth < DEPTH_MAX else None


def _plain_parts(value: Json, depth: int) -> Json:
    if isinstance(value, list | tuple):
        return [made for each in value if (made := plain(each, depth)) is not None]
    if not isinstance(value, dict) or _RESERVED & value.keys():
        return None
    return {_utf8(name): made for name, each in value.items() if (made := plain(each, depth)) is not None}


def _utf8(text: str) -> str:
    return text.encode("utf-8", "replace").decode()
