"""Jinja for the deliverables' pages: what isn't named fails, HTML is escaped; Markdown's templates escape by their filters."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import jinja2


def environment(folders: Sequence[Path], *, html: bool, **filters: Callable[..., Any]) -> "jinja2.Environment":
    """Return what renders the templates in some folders, the first one's before the others'; keep it."""
    import jinja2

    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folders),
        autoescape=html,  # noqa: S701 — Markdown is escaped by the filters
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters.update(filters)
    return made
