"""The Quality Supervisor's gate: scores a part by rules, sends it back with what was missing, passes it on marked.

The rules are `core/quality.py`; this reads what they look at. A part goes back to the same lead at most `quality_rounds` times,
and only what was missing or wrong is done again. It must never mend a part itself, and never hold one back for ever.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from amas.agents.base import agent
from amas.agents.context import Context
from amas.artifacts.store import ArtifactStore
from amas.core.quality import Material, Redo, Share, Verdict, next_step, score_part
from amas.errors import ArtifactLost
from amas.model.goal import SubTask
from amas.model.states import Layer
from amas.model.task import Failure, Json
from amas.orchestration.leads import PartOrder, input_of, order_of, slim, whole
from amas.orchestration.playbooks import Phase
from amas.orchestration.split import Input, Part, Portion, again, merged, part_of, split


def judge(order: PartOrder, part: Part, source: Input, artifacts: ArtifactStore) -> Verdict:
    """Return the part's verdict; reads every list that its results point at."""
    portions, left_out = split(order.phase, source, max_subtasks=order.limits.max_subtasks)
    material = Material(
        shares=[*(portion.share for portion in portions), *(Share(each.capability, each.group) for each in left_out)],
        results=part["specialists"],
        file_lines={file.path: file.lines for file in source.files},
        broken=source.broken,
        artifacts=_lists(part["specialists"], artifacts),
    )
    return score_part(material)


def passed_on(part: Part, verdict: Verdict, *, accepted: bool, rounds: int) -> Part:
    """Return the part with its verdict, as those who need it get it."""
    missing = {(each["capability"], each["group"]): each for each in [*msgspec.to_builtins(verdict.redo), *part["missing"]]}
    return {
        **part,
        "accepted": accepted,
        "score": verdict.score,
        "rounds": rounds,
        "checks": msgspec.to_builtins(verdict.checks),
        "missing": list(missing.values()),
    }


def absent_part(phase: Phase, portions: Sequence[Portion], failure: Failure | None) -> Part:
    """Return the part of a lead that failed: nothing in it, and why."""
    reason = f"its lead failed: {failure.message if failure else 'there is no result'}"
    missing = [Redo(portion.share.capability, portion.share.group, portion.paths, reason) for portion in portions]
    return part_of(phase, [], [msgspec.to_builtins(each) for each in missing])


def rework(order: PartOrder, redo: tuple[Redo, ...], *, number: int, context_ref: str) -> SubTask:
    """Return the task that sends a part back to its lead with the gate's feedback."""
    further = msgspec.structs.replace(order, feedback=redo, context_ref=context_ref)
    return SubTask(
        key=f"rework-{number}/{order.part}",
        capability=order.phase.lead,
        input=msgspec.to_builtins(further),
        priority=order.priority,
        title=f"{order.phase.title}: round {number + 1}",
        layer=Layer.MANAGEMENT,
        on_failure="skip",
    )


@agent("executive.quality")
async def gate(ctx: Context) -> Json:
    """Return the part, judged, after as many rounds as it took or as there may be."""
    order = order_of(ctx)
    source = input_of(order, ctx.results, ctx.artifacts)
    portions, _ = split(order.phase, source, max_subtasks=order.limits.max_subtasks)
    given = ctx.results.get(order.part)
    if isinstance(given, dict) and isinstance(given.get("specialists"), list):
        part: Part = whole(given, ctx.artifacts)
    else:
        part = absent_part(order.phase, portions, ctx.failures.get(order.part))
    number = 0
    while True:
        verdict = msgspec.convert(await ctx.step(f"score-{number}", _scoring(order, part, source, ctx.artifacts)), Verdict)
        limits = order.limits
        step = next_step(
            verdict.score,
            threshold=limits.quality_threshold,
            round_number=number,
            rounds_max=limits.quality_rounds,
            redo=len(again(portions, verdict.redo)),
        )
        if step != "rework":
            judged = passed_on(part, verdict, accepted=step == "accept", rounds=number)
            return slim({**judged, "judged_by": {"task_id": ctx.id, "agent_id": ctx.agent_id}}, ctx.artifacts)
        number += 1
        ctx.progress(number / (limits.quality_rounds + 1), f"scored {verdict.score:.2f}: sent back")
        context_ref = ctx.artifacts.put_json({key: value for key, value in ctx.results.items() if key != order.part})
        task = rework(order, verdict.redo, number=number, context_ref=context_ref)
        outcome = (await ctx.spawn([task]))[task.key]
        if outcome.failure is None and isinstance(outcome.result, dict):
            part = merged(order.phase, part, whole(outcome.result, ctx.artifacts))


def _scoring(order: PartOrder, part: Part, source: Input, artifacts: ArtifactStore) -> Any:
    def score() -> Json:
        return msgspec.to_builtins(judge(order, part, source, artifacts))

    return score


def _lists(specialists: list[Mapping[str, Any]], artifacts: ArtifactStore) -> dict[str, Json]:
    found: dict[str, Json] = {}
    for result in specialists:
        for name in ("findings_ref", "tests_ref", "claims_ref", "passages_ref"):
            reference = result.get(name)
            if isinstance(reference, str) and reference not in found:
                try:
                    found[reference] = artifacts.get_json(reference)
                except (ArtifactLost, msgspec.DecodeError):
                    continue  # the rules score what isn't there
    return found
