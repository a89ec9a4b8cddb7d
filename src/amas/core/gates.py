"""Which gate holds, what becomes of work that was judged, and the record of it.

The most special declaration wins, field by field: task, phase, playbook, fleet. Work below the threshold goes back to those who
did it, then to others, then up, and at last on, marked. Called by whoever loads declarations and by the gates at work. Pure.
"""

import re
from collections.abc import Iterator, Sequence
from enum import StrEnum

import msgspec

from amas.core.quality import Check, Redo
from amas.model.fleet import FleetLimits
from amas.model.gate import RUBRIC, Gate, GateSpec, Judge, PersonSpec
from amas.model.task import Json

ROUNDS_MAX = 10
"""Work that ten rounds didn't mend won't be mended by the eleventh."""
TOKENS_MAX = 16_384
TIMEOUT_MAX_S = 3600.0
EXPIRES_MAX_S = 30 * 86_400.0
"""Seconds; longer than any workflow may take."""

DEFAULTS = FleetLimits()

_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


class Move(StrEnum):
    """What becomes of work that was judged."""

    ACCEPT = "accept"
    SAME = "same"
    """Back to those who did it."""
    ANOTHER = "another"
    """To others who can do it."""
    UP = "up"
    """To those above, who may accept it as it is."""
    PASS_ON = "pass_on"  # noqa: S105  no password
    """Further as it is, marked."""


class Opinion(msgspec.Struct, frozen=True, kw_only=True):
    """What one judge says."""

    judge: str
    score: float | None
    """None: it couldn't answer, and the others decide."""
    by: str = ""
    """The agent, model or person."""
    checks: tuple[Check, ...] = ()
    feedback: tuple[str, ...] = ()
    """What is to be done again, in words."""
    note: str = ""
    usage: dict[str, Json] = msgspec.field(default_factory=dict)
    """What it took of a model: model, calls, tokens, usd."""
    redo: tuple[Redo, ...] = ()
    """The same for parts: which portions."""


class Round(msgspec.Struct, frozen=True, kw_only=True):
    """One look at the work."""

    round: int
    """0 for the first."""
    score: float
    """The lowest of its judges'."""
    move: Move | None = None
    """None: it isn't decided yet."""
    opinions: tuple[Opinion, ...]
    agents: tuple[str, ...] = ()
    """Who had done the work."""
    pieces: dict[str, str] = msgspec.field(default_factory=dict)
    """The same by piece: a part has one for each of its specialists' portions."""
    note: str = ""


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody above said of work that no round mended."""

    who: str
    accepted: bool
    words: str = ""


class Quality(msgspec.Struct, frozen=True, kw_only=True):
    """All that a gate did."""

    name: str
    threshold: float
    score: float
    accepted: bool
    accepted_by: str = ""
    """Who let it through below the threshold."""
    rounds: tuple[Round, ...]
    up: tuple[Asked, ...] = ()
    judged_by: str = ""
    """The gate's agent."""


def over(*specs: GateSpec | None) -> GateSpec:
    """Return what several declarations say together, the most general first; later ones win, field by field."""
    said = {
        name: value
        for spec in specs
        if spec is not None
        for name in GateSpec.__struct_fields__
        if (value := getattr(spec, name)) is not None
    }
    return GateSpec(**said)


def resolved(*specs: GateSpec | None) -> Gate:
    """Return the gate that several declarations mean; without `judges`, those judge for whom something is declared."""
    said = over(*specs)
    person = said.person or (PersonSpec() if "person" in (said.judges or ()) else None)
    declared: dict[Judge, bool] = {"rules": True, "scorer": bool(said.scorer), "model": bool(said.rubric or said.model)}
    return Gate(
        threshold=DEFAULTS.quality_threshold if said.threshold is None else said.threshold,
        rounds=DEFAULTS.quality_rounds if said.rounds is None else said.rounds,
        judges=said.judges or tuple(judge for judge, is_there in declared.items() if is_there),
        rubric=said.rubric or RUBRIC,
        model=said.model or "",
        model_url=said.model_url or "",
        price=said.price,
        tokens_max=said.tokens_max or 1024,
        timeout_s=said.timeout_s or 60.0,
        scorer=said.scorer or "",
        person=person,
    )


def fleet_gate(limits: FleetLimits) -> GateSpec:
    """Return what a fleet says of its gates."""
    return over(GateSpec(threshold=limits.quality_threshold, rounds=limits.quality_rounds), limits.gate)


def mistakes(spec: GateSpec | None) -> Iterator[tuple[str, str]]:
    """Yield field and message of what is wrong with a `gate:` block."""
    if spec is None:
        return
    ranges: tuple[tuple[str, float, float], ...] = (
        ("threshold", 0, 1), ("rounds", 0, ROUNDS_MAX), ("tokens_max", 16, TOKENS_MAX), ("timeout_s", 1, TIMEOUT_MAX_S),
    )  # fmt: skip
    for name, least, most in ranges:
        value = getattr(spec, name)
        if value is not None and not least <= value <= most:
            yield name, f"is {value:g}, but must be from {least:g} to {most:g}"
    if spec.person is not None and not 0 < spec.person.expires_s <= EXPIRES_MAX_S:
        yield "person.expires_s", f"is {spec.person.expires_s:g}, but must be seconds up to {EXPIRES_MAX_S:g}"
    yield from _of_judges(spec)
    if spec.scorer is not None and not _FUNCTION.fullmatch(spec.scorer):
        yield "scorer", f"{spec.scorer!r} must be module:function, such as my_rules:score"
    if spec.rubric is not None and not spec.rubric:
        yield "rubric", "is empty: name what counts, such as {sourced: every figure has a source}"
    if spec.model_url is not None and not spec.model:
        yield "model_url", "is said without a model: add model: its name on that server"


def _of_judges(spec: GateSpec) -> Iterator[tuple[str, str]]:
    judges = spec.judges
    if judges is None:
        return
    if not judges:
        yield "judges", "is empty: name at least one, such as [rules]"
    for index, judge in enumerate(judges):
        if judge in judges[:index]:
            yield f"judges[{index}]", f"{judge!r} stands here twice: keep one"


def next_move(score: float, gate: Gate, *, round_number: int, redo: int, can_go_up: bool = True) -> Move:
    """Return what becomes of work in its round `round_number`, of which `redo` pieces can be done again."""
    if score >= gate.threshold:
        return Move.ACCEPT
    if redo and round_number < gate.rounds:
        return Move.ANOTHER if round_number else Move.SAME
    return Move.UP if can_go_up else Move.PASS_ON


def score_of(opinions: Sequence[Opinion]) -> float:
    """Return the lowest score of those that could answer; 0 where nobody could."""
    return min((opinion.score for opinion in opinions if opinion.score is not None), default=0.0)
