"""Whether a new version goes on, is promoted or goes back: what its tasks tell beside those of the version that runs.

Every figure has a bound (`RolloutSpec`), and two tests look at it after each sweep: one that it is beyond the bound, one that
it is within. Both may be looked at as often as one likes, for as long as one likes (Ville's inequality), so a canary ends as
soon as there is proof and no false alarm comes from looking again.

- Success: a binomial mixture martingale with Jeffreys' prior for each version (Robbins, "Statistical methods related to the law
  of the iterated logarithm", 1970); their product, at the pair of rates within the hypothesis that explains the outcomes best.
- Time, cost, score: the mixture sequential probability ratio test of two means (Johari, Pekelis, Walsh, "Always valid
  inference", 2015), one-sided, with estimated variances; it holds for large samples, so it waits for `MEANS_MIN` of each.

Pure: sums in, one `Decision` out. Called by `controllers/rollouts.py`, which applies it.
"""

import math
from collections.abc import Iterator
from enum import StrEnum
from typing import NamedTuple

import msgspec

from amas.core.routing import Belief
from amas.model.rollout import Phase, Rollout
from amas.model.rollout_spec import RolloutSpec

MEANS_MIN = 30
"""Values of each version before their means are compared: below, an estimated variance is too little to go by."""
LOG_SPREAD_MIN = 0.05
"""Standard deviation of log durations at least: the engine counts whole milliseconds, so quick tasks may all look alike."""
SCORE_SPREAD_MIN = 0.02
COST_SPREAD_MIN = 0.05
"""Of the stable version's mean."""
EFFECT_LOG, EFFECT_SCORE, EFFECT_COST = 0.4, 0.1, 0.4
"""Differences that the tests of means find soonest: the spread of their mixture, in a figure's own unit."""
FIGURES = 4
"""Figures that may each roll a version back; they share alpha."""
BISECTIONS = 50
RATE_MIN = 1e-9
"""Success rates are looked for between this and one less this."""


class Scores(msgspec.Struct, frozen=True, array_like=True):
    """What gates thought of a version's work: sums since ever."""

    count: float = 0.0
    total: float = 0.0
    squares: float = 0.0

    def minus(self, seen: "Scores") -> "Scores":
        """Return what is new since `seen`; of sums that began anew, all of it."""
        if self.count < seen.count:
            return self
        return Scores(self.count - seen.count, self.total - seen.total, self.squares - seen.squares)


class Side(msgspec.Struct, frozen=True, kw_only=True):
    """One version's outcomes since the roll-out began, and its agents."""

    outcomes: Belief = Belief()
    scores: Scores = Scores()
    slots: int = 1
    """Tasks that its live agents do at a time."""


class Standing(StrEnum):
    """What is proven of a figure."""

    WORSE = "worse"
    """Beyond its bound."""
    FINE = "fine"
    """Within it."""
    OPEN = "open"


class Figure(msgspec.Struct, frozen=True, kw_only=True):
    """One figure of both versions, and what is proven of it."""

    name: str
    stable: float
    canary: float
    standing: Standing
    bound: str
    """For people: `0.05 lower at most`."""
    beyond: bool = False
    """Whether what was seen lies beyond the bound, proven or not."""
    needed: bool = True
    """Whether a promotion waits for it."""

    @property
    def words(self) -> str:
        """Both values, for people."""
        shown = "{:.1%}" if self.name == "success" else "{:.3g}"
        unit = {"time": " s", "cost": " USD"}.get(self.name, "")
        return f"{self.name} {shown.format(self.canary)}{unit} against {shown.format(self.stable)}{unit}"


class Move(StrEnum):
    """What to do with a roll-out now."""

    CONTINUE = "continue"
    STEP_UP = "step_up"
    PROMOTE = "promote"
    ROLL_BACK = "roll_back"


class Decision(NamedTuple):
    """A move, why in one sentence, and the figures that it follows from."""

    move: Move
    reason: str
    figures: tuple[Figure, ...]


def decide(rollout: Rollout, stable: Side, canary: Side, *, now_ms: int, silent_s: float = 0.0) -> Decision:
    """Return what to do with a roll-out whose variant has a share, or is in staging.

    `silent_s`: for how long the new version has had no live agent.
    """
    spec, version = rollout.spec, rollout.to.version
    figures = tuple(compared(spec, stable, canary))
    trials = canary.outcomes.trials
    worse = [figure for figure in figures if figure.standing is Standing.WORSE]
    if worse:
        said = "; ".join(f"{figure.words} ({figure.bound})" for figure in worse)
        return Decision(Move.ROLL_BACK, f"version {version} is worse after {trials:.0f} tasks: {said}", figures)
    if silent_s > spec.start_limit_s:
        why = f"no agent of version {version} has been alive for {silent_s:.0f} s, of {spec.start_limit_s:.0f} s allowed"
        return Decision(Move.ROLL_BACK, why, figures)
    if rollout.phase is Phase.STAGING:
        return Decision(Move.CONTINUE, f"version {version} waits for approval, with {trials:.0f} tasks done in staging", figures)
    open_ = [figure for figure in figures if figure.needed and figure.standing is not Standing.FINE]
    if now_ms - rollout.started_ms > spec.max_duration_s * 1000:
        left = ", ".join(figure.words for figure in open_) or "too few tasks"
        why = f"nothing was decided of version {version} within {spec.max_duration_s:.0f} s, with {trials:.0f} tasks: {left}"
        return Decision(Move.ROLL_BACK, why, figures)
    return _onward(rollout, open_, figures, trials=trials, now_ms=now_ms)


def _onward(rollout: Rollout, open_: list[Figure], figures: tuple[Figure, ...], *, trials: float, now_ms: int) -> Decision:
    spec, version, step_s = rollout.spec, rollout.to.version, (now_ms - rollout.phase_ms) / 1000
    new, last = trials - rollout.step_trials, rollout.step + 1 == len(spec.steps)
    if new < spec.min_tasks or step_s < spec.min_time_s:
        done = f"{new:.0f} of {spec.min_tasks} tasks and {step_s:.0f} of {spec.min_time_s:.0f} s"
        why = f"at {rollout.share:.0%}: {done} of this step"
        return Decision(Move.CONTINUE, why, figures)
    told = ", ".join(figure.words for figure in figures)
    doubtful = [figure for figure in open_ if figure.beyond]
    if doubtful and not last:
        left = ", ".join(f"{figure.words} ({figure.bound})" for figure in doubtful)
        return Decision(Move.CONTINUE, f"at {rollout.share:.0%}: no more before it is sure of {left}", figures)
    if not last:
        share = spec.steps[rollout.step + 1]
        return Decision(
            Move.STEP_UP, f"version {version} gets {share:.0%}: nothing is worse after {trials:.0f} tasks: {told}", figures
        )
    if open_:
        left = ", ".join(f"{figure.words} ({figure.bound})" for figure in open_)
        return Decision(Move.CONTINUE, f"at {rollout.share:.0%}: not yet sure of {left}, after {trials:.0f} tasks", figures)
    return Decision(Move.PROMOTE, f"version {version} is as good after {trials:.0f} tasks: {told}", figures)


def compared(spec: RolloutSpec, stable: Side, canary: Side) -> Iterator[Figure]:
    """Yield each figure that there is: success always, the others where both versions have values."""
    alpha, ours, theirs = spec.alpha / FIGURES, stable.outcomes, canary.outcomes
    yield Figure(
        name="success",
        stable=_ratio(ours.successes, ours.trials),
        canary=_ratio(theirs.successes, theirs.trials),
        standing=rates(ours, theirs, drop=spec.success_drop, alpha=alpha, beta=spec.beta),
        bound=f"at most {spec.success_drop:g} lower",
        beyond=_ratio(ours.successes, ours.trials) - _ratio(theirs.successes, theirs.trials) > spec.success_drop,
    )
    if ours.timed and theirs.timed:
        stable_log, canary_log = _of_logs(ours), _of_logs(theirs)
        yield Figure(
            name="time",
            stable=math.exp(stable_log.mean),
            canary=math.exp(canary_log.mean),
            standing=means(
                stable_log, canary_log, bound=math.log(spec.latency_ratio), effect=EFFECT_LOG, alpha=alpha, beta=spec.beta
            ),
            bound=f"at most {spec.latency_ratio:g} times as long",
            beyond=canary_log.mean - stable_log.mean > math.log(spec.latency_ratio),
        )
    if ours.usd > 0 and theirs.trials:
        stable_usd, canary_usd = _of_costs(ours), _of_costs(theirs)
        unit = stable_usd.mean
        scaled = Mean(stable_usd.values, spec.cost_ratio, spec.cost_ratio**2 * stable_usd.variance / unit**2)
        other = Mean(canary_usd.values, canary_usd.mean / unit, canary_usd.variance / unit**2)
        yield Figure(
            name="cost",
            stable=unit,
            canary=canary_usd.mean,
            standing=means(scaled, other, bound=0.0, effect=EFFECT_COST, alpha=alpha, beta=spec.beta),
            bound=f"at most {spec.cost_ratio:g} times as much",
            beyond=canary_usd.mean > spec.cost_ratio * unit,
        )
    if stable.scores.count and canary.scores.count:
        stable_score, canary_score = _of_scores(stable.scores), _of_scores(canary.scores)
        yield Figure(
            name="quality",
            stable=stable_score.mean,
            canary=canary_score.mean,
            standing=means(canary_score, stable_score, bound=spec.quality_drop, effect=EFFECT_SCORE, alpha=alpha, beta=spec.beta),
            bound=f"at most {spec.quality_drop:g} lower",
            beyond=stable_score.mean - canary_score.mean > spec.quality_drop,
            needed=min(stable.scores.count, canary.scores.count) >= MEANS_MIN,
        )


class Mean(NamedTuple):
    """A sample: how many values, their mean and variance."""

    values: float
    mean: float
    variance: float


def _of_sums(count: float, total: float, squares: float, *, spread_min: float) -> Mean:
    mean = total / count
    variance = (squares - count * mean * mean) / (count - 1) if count > 1 else 0.0
    return Mean(count, mean, max(variance, spread_min**2))


def _of_logs(outcomes: Belief) -> Mean:
    return _of_sums(outcomes.timed, outcomes.log_s, outcomes.log_s_squared, spread_min=LOG_SPREAD_MIN)


def _of_costs(outcomes: Belief) -> Mean:
    mean = outcomes.usd / outcomes.trials
    return _of_sums(outcomes.trials, outcomes.usd, outcomes.usd_squared, spread_min=COST_SPREAD_MIN * mean)


def _of_scores(scores: Scores) -> Mean:
    return _of_sums(scores.count, scores.total, scores.squares, spread_min=SCORE_SPREAD_MIN)


def _ratio(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0


# -- the tests


def means(low: Mean, high: Mean, *, bound: float, effect: float, alpha: float, beta: float) -> Standing:
    """Return what is proven of `high.mean - low.mean`: beyond `bound` at alpha, within it at beta."""
    if min(low.values, high.values) < MEANS_MIN:
        return Standing.OPEN
    apart = high.mean - low.mean - bound
    variance = low.variance / low.values + high.variance / high.values
    limit = math.log(1 / (alpha if apart > 0 else beta))
    if log_mixture(apart, variance, effect) < limit:
        return Standing.OPEN
    return Standing.WORSE if apart > 0 else Standing.FINE


def log_mixture(apart: float, variance: float, effect: float) -> float:
    """Return the log of the mixture likelihood ratio that a mean of this `variance` isn't 0, over effects of spread `effect`."""
    whole = variance + effect**2
    return 0.5 * math.log(variance / whole) + apart**2 * effect**2 / (2 * variance * whole)


def rates(stable: Belief, canary: Belief, *, drop: float, alpha: float, beta: float) -> Standing:
    """Return what is proven of the canary's rate of success: more than `drop` below the stable one's, or not."""
    if not stable.trials or not canary.trials:
        return Standing.OPEN
    against = log_against(stable, canary, drop=drop)
    if _ratio(stable.successes, stable.trials) - _ratio(canary.successes, canary.trials) > drop:
        return Standing.WORSE if against >= math.log(1 / alpha) else Standing.OPEN
    return Standing.FINE if against >= math.log(1 / beta) else Standing.OPEN


def log_against(stable: Belief, canary: Belief, *, drop: float) -> float:
    """Return the log of the evidence against rates that are exactly `drop` apart, the best explained of them.

    Where the observed rates are on one side of that line, it is the evidence against all pairs on the other side.
    """

    def told(rate: float) -> float:
        return _log_martingale(stable, rate) + _log_martingale(canary, rate - drop)

    low, high = drop + RATE_MIN, 1 - RATE_MIN
    for _ in range(BISECTIONS):  # convex, so its slope tells the side on which the least is
        middle = (low + high) / 2
        if _slope(stable, middle) + _slope(canary, middle - drop) > 0:
            high = middle
        else:
            low = middle
    return told((low + high) / 2)


def _log_martingale(outcomes: Belief, rate: float) -> float:
    won, lost = outcomes.successes, outcomes.failures
    mixed = math.lgamma(won + 0.5) + math.lgamma(lost + 0.5) - math.lgamma(won + lost + 1) - math.log(math.pi)
    return mixed - won * math.log(rate) - lost * math.log1p(-rate)


def _slope(outcomes: Belief, rate: float) -> float:
    return outcomes.failures / (1 - rate) - outcomes.successes / rate
