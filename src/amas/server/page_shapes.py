"""What every page of a list says; apart, so that who reads pages needn't load what serves them."""

import msgspec


class Paged(msgspec.Struct, frozen=True, kw_only=True):
    """A page of a list."""

    next: str | None
    """The `cursor` of the next page; null on the last one."""
