"""How work is judged, sent back, handed to others and taken up, whatever it is: the rounds of a gate.

`judged` asks a gate's judges about a `Subject` and has it done again until it passes or nothing more is to be tried. Every
opinion is a journaled step and every wait a sub-task, so that an attempt that dies loses none and pays for none twice. Called by
the gate of a playbook's parts (`orchestration/gate.py`) and by that of any task (`gate_agent.py`). It never changes the work.
"""

import importlib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import msgspec

from amas.agents.context import PERSON, Context
from amas.core.gates import Asked, Move, Opinion, Quality, Round, next_move, score_of
from amas.core.quality import Check
from amas.model.authority import Right
from amas.model.flow import APPROVAL_CAPABILITY, ESCALATION_CAPABILITY, RESERVED_PREFIX
from amas.model.gate import Gate, Judge, PersonSpec
from amas.model.goal import CHOICE_S, SubTask
from amas.model.states import TaskState
from amas.model.task import Json, RetryPolicy

LEAD_S = 120.0
"""Seconds for a lead to say whether work is good enough as it is; its agents answer by code or by a model."""
WORDS_CHARS_MAX = 2000
TITLE_CHARS_MAX = 120


class Subject(Protocol):
    """What a gate judges."""

    name: str

    def shown(self) -> dict[str, Json]:
        """Return what a model or a person is shown of it."""
        ...

    async def rules(self) -> Opinion:
        """Return what the rules say."""
        ...

    def scored(self) -> tuple[Json, Json]:
        """Return the result and the input that an author's own scorer gets."""
        ...

    def redo(self, opinions: Sequence[Opinion]) -> int:
        """Return how many pieces can be done again for what was said."""
        ...

    async def workers(self) -> dict[str, str]:
        """Return who did each piece, as far as that is known."""
        ...

    async def again(
        self, number: int, opinions: Sequence[Opinion], *, prefer: Mapping[str, str], avoid: Mapping[str, str]
    ) -> str:
        """Have it done again with the judges' words; return what went wrong with that, if anything."""
        ...

    def lead_of(self, workers: Mapping[str, str]) -> str:
        """Return the pool whose leads decide about it; "" for nobody."""
        ...


async def judged(ctx: Context, subject: Subject, gate: Gate) -> Quality:
    """Return the record of all rounds; afterwards the subject holds the work as it goes on."""
    ctx.report_usage()  # nothing so far: an attempt that says nothing is charged what others like it took
    rounds: list[Round] = []
    note = ""
    while True:
        number = len(rounds)
        opinions = await _opinions(ctx, subject, gate, number)
        score = score_of(opinions)
        workers = await _kept_workers(ctx, subject, number)
        refused = any(each.judge == "person" and each.score is not None for each in opinions)
        move = next_move(score, gate, round_number=number, redo=subject.redo(opinions), can_go_up=not refused)
        agents = tuple(sorted(set(workers.values())))
        await ctx.scored(number, score, agents)
        if number and rounds[-1].move is Move.ANOTHER and agents and workers == rounds[-1].pieces:
            note = f"no other agent came for it within {CHOICE_S:g} s, so the same one did it" + (f"; {note}" if note else "")
        rounds.append(Round(round=number, score=score, move=move, opinions=opinions, agents=agents, pieces=workers, note=note))
        ctx.progress((number + 1) / (gate.rounds + 2), f"scored {score:.2f} of {gate.threshold:.2f}: {move}")
        if move is Move.SAME:
            note = await subject.again(number + 1, opinions, prefer=workers, avoid={})
        elif move is Move.ANOTHER:
            note = await subject.again(number + 1, opinions, prefer={}, avoid=workers)
        else:
            return await _ended(ctx, subject, gate, rounds)


async def _ended(ctx: Context, subject: Subject, gate: Gate, rounds: list[Round]) -> Quality:
    last = rounds[-1]
    up: list[Asked] = []
    if last.move is Move.UP:
        up = await _leads(ctx, subject, gate, rounds)
        if gate.person is not None and not any(each.accepted for each in up):
            up.append(await _last_person(ctx, subject, gate, gate.person, rounds))
    accepted_by = next((each.who for each in up if each.accepted), "")
    return Quality(
        name=subject.name,
        threshold=gate.threshold,
        score=last.score,
        accepted=last.move is Move.ACCEPT or bool(accepted_by),
        accepted_by=accepted_by,
        rounds=tuple(rounds),
        up=tuple(up),
        judged_by=ctx.agent_id,
    )


async def _kept_workers(ctx: Context, subject: Subject, number: int) -> dict[str, str]:
    """Return who did the work, as it was known first: an attempt must spawn what the one before it did."""

    async def look() -> Json:
        return dict(await subject.workers())

    found: dict[str, str] = await ctx.step(f"workers-{number}", look)
    return found


async def _opinions(ctx: Context, subject: Subject, gate: Gate, number: int) -> tuple[Opinion, ...]:
    """Ask the judges, people last and only about what passes the others; rules step in where nobody else could answer."""
    order: list[Judge] = ["rules", "scorer", "model"]
    found = [await _kept(ctx, subject, gate, judge, number) for judge in order if judge in gate.judges]
    if "person" in gate.judges and gate.person is not None and (not found or score_of(found) >= gate.threshold):
        found.append(await _person(ctx, subject, gate, gate.person, found, number))
    if all(each.score is None for each in found):
        found.append(await _kept(ctx, subject, gate, "rules", number))
    return tuple(found)


async def _kept(ctx: Context, subject: Subject, gate: Gate, judge: Judge, number: int) -> Opinion:
    step = f"judge-{number}/{judge}"

    async def ask() -> Json:
        if judge == "model":
            try:
                judging = await ctx.in_thread(
                    lambda: importlib.import_module("amas.agents.model_judge")
                )  # a second, and an extra
            except ImportError as error:
                why = f"a model judge needs the extra `models`: pip install 'amas[models]' ({error})"
                return msgspec.to_builtins(Opinion(judge="model", score=None, note=why))
            return msgspec.to_builtins(await judging.model_opinion(ctx, gate, subject.shown(), step=step))
        if judge == "scorer":
            return msgspec.to_builtins(await _scorer(ctx, subject, gate))
        return msgspec.to_builtins(await subject.rules())

    return msgspec.convert(await ctx.step(step, ask), Opinion)


async def _scorer(ctx: Context, subject: Subject, gate: Gate) -> Opinion:
    """Ask the author's own function; one that fails leaves the others to decide."""
    if not gate.scorer:
        return Opinion(judge="scorer", score=None, note="no scorer is declared (scorer: module:function), so the others decide")
    module, _, name = gate.scorer.partition(":")
    result, given = subject.scored()
    try:
        function: Any = getattr(importlib.import_module(module), name)
        if inspect.iscoroutinefunction(function):
            said = await function(result, given)
        else:
            said = await ctx.in_thread(lambda: function(result, given))
        score, words = said if isinstance(said, (tuple, list)) else (said, ())
        score = float(score)
        if not 0 <= score <= 1:
            raise ValueError(f"it returned {score:g}, which is not from 0 to 1")  # noqa: TRY301  its author's mistake, told below
        feedback = (str(words),) if isinstance(words, str) and words else tuple(map(str, words))
    except Exception as error:  # noqa: BLE001  foreign code
        note = f"the scorer couldn't judge, so the others decide: {type(error).__name__}: {error}"
        return Opinion(judge="scorer", score=None, by=gate.scorer, note=note[:WORDS_CHARS_MAX])
    check = Check(name, round(score, 4), feedback[0] if feedback else "")
    return Opinion(judge="scorer", score=score, by=gate.scorer, checks=(check,), feedback=feedback)


def _about(subject: Subject, gate: Gate, score: float | None, rounds: Sequence[Round] = ()) -> dict[str, Json]:
    """Return what those are shown who are asked about it."""
    return {
        **subject.shown(),
        "score": score,
        "threshold": gate.threshold,
        "who": gate.person.who if gate.person else "",
        "rounds": [
            {"round": each.round, "score": each.score, "feedback": [words for said in each.opinions for words in said.feedback]}
            for each in rounds
        ],
    }


async def _person(
    ctx: Context, subject: Subject, gate: Gate, person: PersonSpec, found: Sequence[Opinion], number: int
) -> Opinion:
    """Ask a person for a score; their words are feedback."""
    question = f"How good is {subject.name}?"
    about = _about(subject, gate, score_of(found) if found else None)
    answer, why = await _ask_person(ctx, f"gate/{number}/person", question, about, person)
    if answer is not None:
        words, by = str(answer.get("comment") or ""), str(answer.get("by") or PERSON)
        score = answer.get("score")
        given = float(score) if isinstance(score, int | float) and answer.get("approved") else float(bool(answer.get("approved")))
        low = given < gate.threshold
        return Opinion(judge="person", score=given, by=by, feedback=(words,) if words and low else (), note="" if low else words)
    if person.on_expiry == "escalate":
        up = await _leads(ctx, subject, gate, [], f"gate/{number}/expired")
        if up:
            said = up[-1]
            return Opinion(judge="person", score=float(said.accepted), by=said.who, feedback=(said.words,) if said.words else ())
    accepted = person.on_expiry == "accept"
    return Opinion(judge="person", score=float(accepted), note=f"{why}: {'accepted' if accepted else 'rejected'}, as declared")


async def _last_person(ctx: Context, subject: Subject, gate: Gate, person: PersonSpec, rounds: Sequence[Round]) -> Asked:
    """Ask a person whether work that nobody mended is good enough as it is."""
    question = f"{subject.name} scored {rounds[-1].score:.2f}, below {gate.threshold:.2f}. Is it good enough as it is?"
    about = _about(subject, gate, rounds[-1].score, rounds)
    answer, why = await _ask_person(ctx, "gate/up/person", question, about, person)
    if answer is None:
        return Asked(who=person.who or PERSON, accepted=person.on_expiry == "accept", words=why)
    return Asked(
        who=str(answer.get("by") or PERSON), accepted=bool(answer.get("approved")), words=str(answer.get("comment") or "")
    )


async def _ask_person(
    ctx: Context, name: str, question: str, about: Json, person: PersonSpec
) -> tuple[dict[str, Any] | None, str]:
    """Return a person's answer; or None and why there is none."""
    if not ctx.spec.workflow_id:
        return None, "people are asked in workflows alone"
    key = f"{RESERVED_PREFIX}{name}"
    asked = SubTask(
        key=key,
        capability=APPROVAL_CAPABILITY,
        input={"question": question, "about": about},
        title=question[:TITLE_CHARS_MAX],
        kind="signal",
        expires_s=person.expires_s,
    )
    outcome = (await ctx.spawn([asked]))[key]
    if outcome.state is TaskState.SUCCEEDED:
        return (outcome.result if isinstance(outcome.result, dict) else {"approved": True}), ""
    if outcome.failure is not None and outcome.failure.code == "refused":
        by, _, words = outcome.failure.message.partition(" refused")
        return {"approved": False, "by": by if _ else PERSON, "comment": words.removeprefix(": ")}, ""
    return None, f"nobody answered within {person.expires_s:g} s"


async def _leads(ctx: Context, subject: Subject, gate: Gate, rounds: Sequence[Round], name: str = "gate/up") -> list[Asked]:
    """Ask those above whoever did the work, one after the other, until one decides; return what was said."""
    workers = await _kept_workers(ctx, subject, len(rounds) - 1 if rounds else 0)
    score = rounds[-1].score if rounds else None
    may_ask = Right.APPROVE in ctx.member.rights  # those above others, that is
    leads = ctx.leads_of(subject.lead_of(workers)) if may_ask else ()
    for lead in (each for each in leads if each != ctx.member.pool):
        key = f"{RESERVED_PREFIX}{name}/{lead}"
        question = f"{subject.name} is below {gate.threshold:.2f} after all its rounds. Is it good enough as it is?"
        asked = SubTask(
            key=key,
            capability=ESCALATION_CAPABILITY,
            input={
                "question": question,
                "about": _about(subject, gate, score, rounds),
                "from": ctx.member.pool,
                "task_id": ctx.id,
            },
            title=question[:TITLE_CHARS_MAX],
            pool=lead,
            deadline_s=LEAD_S,
            retry=RetryPolicy(retries=0),
        )
        outcome = (await ctx.spawn([asked]))[key]
        if outcome.state is TaskState.SUCCEEDED and outcome.result is not None:
            return [_said(lead, outcome.result)]
    return []


def _said(lead: str, answer: Json) -> Asked:
    """Return a lead's answer: yes, no, or `{"approved", "comment"}`; all else is a no in words."""
    if isinstance(answer, dict):
        return Asked(who=lead, accepted=answer.get("approved") is True, words=str(answer.get("comment") or "")[:WORDS_CHARS_MAX])
    return Asked(who=lead, accepted=answer is True, words="" if isinstance(answer, bool) else str(answer)[:WORDS_CHARS_MAX])
