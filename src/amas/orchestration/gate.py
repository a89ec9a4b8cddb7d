"""The Quality Supervisor's gate: has a part judged, sent back with what was missing, handed to others, and passed on marked.

The rules are `core/quality.py`; this reads what they look at. The rounds are `agents/gating.py`: a part goes back to its lead,
and only what was missing or wrong is done again, first by the same specialists, then by others. It must never mend a part
itself, and never hold one back for ever.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from amas.agents.base import agent
from amas.agents.context import Context
from amas.agents.gating import judged
from amas.artifacts.store import ArtifactStore
from amas.core.gates import Opinion, Quality, fleet_gate, resolved
from amas.core.quality import Material, Redo, Share, Verdict, score_part
from amas.errors import ArtifactLost
from amas.model.fleet import pool_of
from amas.model.goal import SubTask
from amas.model.states import Layer
from amas.model.task import Failure, Json
from amas.orchestration.leads import PartOrder, input_of, order_of, slim, whole
from amas.orchestration.playbooks import Phase
from amas.orchestration.split import Input, Part, Portion, again, merged, part_of, split

SAMPLE_ITEMS = 20
"""Of each list of findings or claims that a model or a person is shown."""


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
    subject = _PartSubject(ctx, order)
    quality = await judged(ctx, subject, resolved(fleet_gate(order.limits), order.gate, order.phase.gate))
    verdict = subject.verdict(quality)
    part = passed_on(subject.part, verdict, accepted=quality.accepted, rounds=len(quality.rounds) - 1)
    by: dict[str, Json] = {"task_id": ctx.id, "agent_id": ctx.agent_id}
    return slim({**part, "judged_by": by, "quality": msgspec.to_builtins(quality)}, ctx.artifacts)


class _PartSubject:
    """A part, as its lead and its specialists made it."""

    def __init__(self, ctx: Context, order: PartOrder) -> None:
        self._ctx, self._order = ctx, order
        self._source = input_of(order, ctx.results, ctx.artifacts)
        self._portions, _ = split(order.phase, self._source, max_subtasks=order.limits.max_subtasks)
        self.name = order.phase.title or order.part
        given = ctx.results.get(order.part)
        if isinstance(given, dict) and isinstance(given.get("specialists"), list):
            self.part: Part = whole(given, ctx.artifacts)
        else:
            self.part = absent_part(order.phase, self._portions, ctx.failures.get(order.part))

    def verdict(self, quality: Quality) -> Verdict:
        """Return the last round's verdict, all judges' together."""
        opinions = quality.rounds[-1].opinions
        checks = tuple(check for each in opinions for check in each.checks)
        return Verdict(quality.score, checks, tuple(redo for each in opinions for redo in each.redo))

    def shown(self) -> dict[str, Json]:
        lists = _lists(self.part["specialists"], self._ctx.artifacts)
        samples = {name: value[:SAMPLE_ITEMS] if isinstance(value, list) else value for name, value in lists.items()}
        kept = ("summary", "figures", "missing", "specialists")
        slimmed = slim_lists({name: self.part[name] for name in kept})
        return {"task": self.name, "goal": self._order.goal, "part": slimmed, "artifacts": samples}

    def scored(self) -> tuple[Json, Json]:
        return self.part, msgspec.to_builtins(self._order)

    async def rules(self) -> Opinion:
        verdict = await self._ctx.in_thread(lambda: judge(self._order, self.part, self._source, self._ctx.artifacts))
        words = tuple(dict.fromkeys(f"{each.capability}: {each.reason}" for each in verdict.redo))
        return Opinion(judge="rules", score=verdict.score, checks=verdict.checks, feedback=words, redo=verdict.redo)

    def redo(self, opinions: Sequence[Opinion]) -> int:
        return len(again(self._portions, self._wanted(opinions)))

    def _wanted(self, opinions: Sequence[Opinion]) -> tuple[Redo, ...]:
        """Return what to do again: what the rules name, and for the words of others the portions that these name, or all."""
        wanted: dict[tuple[str, str], list[Redo]] = {}
        for opinion in opinions:
            for each in opinion.redo or self._meant(opinion.feedback):
                wanted.setdefault((each.capability, each.group), []).append(each)
        return tuple(_joined(each) for each in wanted.values())

    def _meant(self, feedback: Sequence[str]) -> list[Redo]:
        found = []
        for words in feedback:
            shares = [portion.share for portion in self._portions]
            named = [share for share in shares if share.capability in words]
            found += [Redo(share.capability, share.group, share.paths, words) for share in named or shares]
        return found

    async def workers(self) -> dict[str, str]:
        done = {str(each.get("task_id")): f"{each.get('capability')}/{each.get('group')}" for each in self.part["specialists"]}
        found = await self._ctx.who_did(list(done))
        return {done[task_id]: agent_id for task_id, agent_id in found.items()}

    def lead_of(self, workers: Mapping[str, str]) -> str:
        led = self.part.get("led_by")
        return pool_of(str(led["agent_id"])) if isinstance(led, dict) else ""

    async def again(
        self, number: int, opinions: Sequence[Opinion], *, prefer: Mapping[str, str], avoid: Mapping[str, str]
    ) -> str:
        ctx, order = self._ctx, self._order
        context_ref = ctx.artifacts.put_json({key: value for key, value in ctx.results.items() if key != order.part})
        order = msgspec.structs.replace(order, prefer=dict(prefer), avoid=dict(avoid))
        task = rework(order, self._wanted(opinions), number=number, context_ref=context_ref)
        outcome = (await ctx.spawn([task]))[task.key]
        if outcome.failure is None and isinstance(outcome.result, dict):
            self.part = merged(order.phase, self.part, whole(outcome.result, ctx.artifacts))
            return ""
        return (
            f"round {number} failed, so what there was is judged: {outcome.failure.message if outcome.failure else outcome.state}"
        )


def _joined(redo: Sequence[Redo]) -> Redo:
    paths = tuple(dict.fromkeys(path for each in redo for path in each.paths))
    return Redo(redo[0].capability, redo[0].group, paths, "; ".join(dict.fromkeys(each.reason for each in redo)))


def slim_lists(value: Any) -> Any:
    """Return a JSON value whose lists hold no more than a few items, for judges who read."""
    if isinstance(value, dict):
        return {key: slim_lists(each) for key, each in value.items()}
    if isinstance(value, list):
        left = len(value) - SAMPLE_ITEMS
        return [*map(slim_lists, value[:SAMPLE_ITEMS]), *([f"[{left} more]"] if left > 0 else [])]
    return value


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
