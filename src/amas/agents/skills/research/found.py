"""What earlier specialists of a research part left in the artifact store, read back by those that build on them."""

from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec

from amas.agents.context import Context
from amas.agents.skills.research.passages import Passage, Table
from amas.artifacts.store import ArtifactStore
from amas.model.task import Json

T = TypeVar("T")


def stored(results: Mapping[str, Json], name: str, kind: type[T], artifacts: ArtifactStore) -> list[T]:
    """Return the values listed under `<name>_ref` of every result, in the order of the results' keys."""
    found: list[T] = []
    for _, result in sorted(results.items()):
        reference = result.get(f"{name}_ref") if isinstance(result, dict) else None
        if isinstance(reference, str):
            found += [msgspec.convert(each, kind) for each in artifacts.get_json(reference)]
    return found


def results_of(ctx: Context) -> dict[str, Json]:
    """Return the results that this task builds on, with those of an earlier plan for its part."""
    given = ctx.input.get("earlier") if isinstance(ctx.input, dict) else None
    earlier = {f"{each.get('capability')}/{each.get('group')}": each for each in given or [] if isinstance(each, dict)}
    return {**earlier, **ctx.results}


def passages_of(ctx: Context) -> list[Passage]:
    """Return every passage that was read for this task."""
    return stored(results_of(ctx), "passages", Passage, ctx.artifacts)


def tables_of(ctx: Context) -> list[Table]:
    """Return every table that was read for this task."""
    return stored(results_of(ctx), "tables", Table, ctx.artifacts)


def goal_of(options: Mapping[str, Any]) -> str:
    """Return the goal that a specialist's input carries."""
    return str(options.get("goal") or "")
