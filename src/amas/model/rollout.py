"""Roll-outs as declared and as they stand: a pool's new version at work beside the one that it is to replace.

While a roll-out lasts the new version is a pool of its own, the *variant* (`coder~2` beside `coder`), with the capabilities and
the place of its base. A `Rollout` is what the desired state holds of it (`rollout:POOL`): all that a controller needs to go on
with one that another began. Decided by `core/rollout.py`, carried out by `controllers/rollouts.py`.
"""

import math
from enum import StrEnum

import msgspec

from amas.model.fleet import VARIANT, PoolSpec
from amas.model.rollout_spec import RolloutSpec

Sums = tuple[float, ...]
"""What the engine had counted of one branch: as `core.routing.Belief` or `core.rollout.Scores`, field by field."""


class Phase(StrEnum):
    """Where a roll-out stands."""

    STAGING = "staging"
    """The new version gets only tasks that name it, until somebody approves."""
    CANARY = "canary"
    """It gets its step's share."""
    SETTLING = "settling"
    """It won: it gets all new tasks, and runs of the old version that are under way go on there to their end."""
    REPLACING = "replacing"
    """The pool itself takes the new version, while the variant does the work."""
    WITHDRAWING = "withdrawing"
    """It lost: it gets no new tasks, and its runs that are under way go on there to their end."""
    PROMOTED = "promoted"
    ROLLED_BACK = "rolled_back"

    @property
    def over(self) -> bool:
        """Whether the variant is gone."""
        return self in {Phase.PROMOTED, Phase.ROLLED_BACK}


class Rollout(msgspec.Struct, frozen=True, kw_only=True):
    """One roll-out of one pool; it stays, over, until the next one of the pool."""

    pool: str
    to: PoolSpec
    """The pool as it is to be, under its own name."""
    was: str
    """The version that it replaces."""
    spec: RolloutSpec
    phase: Phase
    step: int = 0
    started_ms: int = 0
    phase_ms: int = 0
    """When the phase or the step began."""
    by: str = ""
    approved_by: str = ""
    why: str = ""
    """Of the last change of phase or step, in one sentence."""
    counted: dict[str, Sums] = {}
    """What the engine had counted of its branches before it began, by `queue\\nversion`."""
    scored: dict[str, Sums] = {}
    """What gates had thought before it began, by pool."""
    step_trials: float = 0.0
    """Outcomes of the new version before this step."""

    @property
    def variant(self) -> str:
        """The name of the pool that the new version is for now."""
        return f"{self.pool}{VARIANT}{self.to.version}"

    @property
    def share(self) -> float:
        """The new version's share of the pool's new tasks, 0 to 1."""
        return {Phase.CANARY: self.spec.steps[self.step], Phase.SETTLING: 1.0, Phase.REPLACING: 1.0}.get(self.phase, 0.0)

    def variant_pool(self, base: PoolSpec) -> PoolSpec:
        """Return the variant beside its base as that runs now: as many agents as its share asks for, one at least."""
        share = self.share if self.phase is not Phase.WITHDRAWING else self.spec.steps[self.step]
        replicas = max(1, math.ceil(share * base.replicas))
        return msgspec.structs.replace(self.to, name=self.variant, variant_of=self.pool, replicas=replicas)
