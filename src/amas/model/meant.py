"""What people meant who wrote a name that nobody has."""

import difflib
from collections.abc import Iterable


def did_you_mean(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str:
    """Return ` (did you mean 'x'?)` for the nearest of `known`, or nothing; `cutoff`: how alike it must be, from 0 to 1."""
    near = difflib.get_close_matches(word, sorted(known), n=1, cutoff=cutoff)
    return f" (did you mean {near[0]!r}?)" if near else ""


def meant_or_known(word: str, known: Iterable[str], *, most: int = 20) -> str:
    """Return what follows a name that nobody has: the nearest of `known`, or else up to `most` of them."""
    names = sorted(known)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return did_you_mean(word, names) or f": there are {', '.join(names[:most]) or 'none'}{more}"
