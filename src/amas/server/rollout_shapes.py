"""Roll-outs as the API takes and shows them."""

from typing import Annotated, Any

import msgspec

from amas.model.rollout_spec import RolloutSpec
from amas.orchestration.rollouts import RolloutView
from amas.server.shapes import Given, Line


class NewRollout(Given, frozen=True, omit_defaults=True):
    """A pool's new version, and what changes with it."""

    version: Annotated[str, msgspec.Meta(min_length=1, max_length=40)]
    agent: Line = ""
    """`module:attribute`; empty for the agent that the pool has."""
    options: dict[str, Any] = msgspec.field(default_factory=dict)
    """Merged into the pool's; an option that isn't named stays."""
    rollout: RolloutSpec | None = None
    """How it is brought in; left out: as the pool or the fleet says, or by the defaults."""
    by: Line = "api"
    """Who wants it."""


class RolloutPage(msgspec.Struct, frozen=True, kw_only=True):
    """Each pool's last roll-out, by pool."""

    items: list[RolloutView]
