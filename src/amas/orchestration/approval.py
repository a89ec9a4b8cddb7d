"""The last look before delivery: is the report there, is every part in it, and does it say what the parts say?

`checks_of` is pure over the report's own files, already read; the agent reads them and signs (`policy/deliveries.py`). A delivery
that falls short is still delivered, marked, for people to see; only one without a report is refused.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from amas.agents.base import agent
from amas.agents.context import Context
from amas.artifacts.store import ArtifactStore
from amas.clock import now_ms
from amas.core.quality import Check, passage_texts, unsourced
from amas.errors import ArtifactLost, GiveUp
from amas.model.authority import Right
from amas.model.task import Json
from amas.orchestration.leads import whole
from amas.policy.deliveries import FILE, Delivered, digests, sign

_JUDGED = ("accepted", "score", "rounds")


class Delivery(msgspec.Struct, frozen=True, kw_only=True):
    """What the checks look at."""

    parts: Mapping[str, Mapping[str, Any]]
    """The parts as their gates passed them on."""
    named: tuple[str, ...]
    """Files that the report says it has."""
    present: frozenset[str]
    """Those of them that are there and not empty."""
    report: Mapping[str, Any]
    """`report.json`."""
    findings: int
    """How many `findings.json` lists; -1 where it can't be read."""
    places: int
    """How many different findings the parts' own lists have."""
    tests: int
    """How many tests `tests.json` lists."""
    sources: Mapping[int, Mapping[str, Any]] | None = None
    """`citations.json` by number; None where the deliverable has none."""
    passages: Mapping[str, str] = msgspec.field(default_factory=dict)
    """The text of each passage that was read, by its id."""


def checks_of(delivery: Delivery) -> list[Check]:
    """Return the verdict of each rule on a delivery."""
    lost = [name for name in delivery.named if name not in delivery.present]
    listed = {str(each.get("part")): each for each in delivery.report.get("parts") or []}
    absent = [name for name in delivery.parts if name not in listed]
    differing = [
        name
        for name, part in delivery.parts.items()
        if name in listed and any(listed[name].get(field) != part.get(field) for field in _JUDGED)
    ]
    tests = sum(_tests(part) for part in delivery.parts.values())
    cited = [] if delivery.sources is None else [_citations(delivery, delivery.sources)]
    return [
        *cited,
        _share("files", delivery.named, lost, "missing or empty"),
        _share("parts", delivery.parts, absent, "not in the report"),
        _share("verdicts", delivery.parts, differing, "reported otherwise than the gate judged"),
        _same("findings", delivery.findings, delivery.places),
        _same("tests", delivery.tests, tests),
    ]


@agent("executive.approve")
async def approve(ctx: Context) -> Json:
    """Check the report against the parts and return it, signed."""
    ctx.require(Right.APPROVE)
    report = ctx.results.get("report")
    if not isinstance(report, dict) or not report.get("files"):
        raise GiveUp("there is no report to approve", code="no_report")
    parts = {
        str(value["part"]): whole(value, ctx.artifacts)
        for key, value in ctx.results.items()
        if key != "report" and isinstance(value, dict) and "specialists" in value
    }

    def check() -> Json:
        return msgspec.to_builtins(checks_of(_read(report, parts, ctx.artifacts)))

    checks = msgspec.convert(await ctx.step("check", check), list[Check])
    delivery = signed(report, parts, checks, signed_by=ctx.agent_id)
    sealed = await ctx.step("sign", lambda: _sealed(ctx, delivery, parts))
    return {**delivery, **sealed}


def signed(
    report: Mapping[str, Any], parts: Mapping[str, Mapping[str, Any]], checks: list[Check], *, signed_by: str
) -> dict[str, Json]:
    """Return the delivery as it goes out: the report, its score, and how each part was judged."""
    score = min([*(check.score for check in checks), *(float(part["score"]) for part in parts.values())])
    sound = all(check.score >= 1.0 for check in checks)
    return {
        "approved": sound and all(part["accepted"] for part in parts.values()),
        "score": score,
        "checks": msgspec.to_builtins(checks),
        "signed_by": signed_by,
        "parts": {name: {field: part[field] for field in (*_JUDGED, "summary", "figures")} for name, part in parts.items()},
        "missing": [each for part in parts.values() for each in part["missing"]],
        "report": dict(report),
        **{name: report.get(name) for name in ("folder", "files", "summary", "table")},
    }


def _sealed(ctx: Context, delivery: Mapping[str, Any], parts: Mapping[str, Mapping[str, Any]]) -> dict[str, Json]:
    """Write who answers for the delivery beside its files; return what this adds to it."""
    folder, names = Path(str(delivery["folder"])), [str(name) for name in delivery["files"]]
    record = Delivered(
        workflow_id=ctx.spec.workflow_id,
        signed_by=str(delivery["signed_by"]),
        signed_ms=now_ms(),
        approved=bool(delivery["approved"]),
        score=float(delivery["score"]),
        files=digests(folder, (name for name in names if name != FILE)),
        quality={
            name: part.get("quality") or {field: part[field] for field in (*_JUDGED, "checks")} for name, part in parts.items()
        },
    )
    signature = ctx.seal(record)
    (folder / FILE).write_bytes(sign(record, signature))
    return {"files": [*(name for name in names if name != FILE), FILE], "signature": "HMAC-SHA256" if signature else ""}


def _read(report: Mapping[str, Any], parts: Mapping[str, Mapping[str, Any]], artifacts: ArtifactStore) -> Delivery:
    folder, named = Path(str(report.get("folder", ""))), tuple(map(str, report["files"]))
    present = frozenset(name for name in named if (folder / name).is_file() and (folder / name).stat().st_size)
    document, findings, tests, citations = (
        _json(folder / name) for name in ("report.json", "findings.json", "tests.json", "citations.json")
    )
    return Delivery(
        parts=parts,
        named=named,
        present=present,
        report=document if isinstance(document, dict) else {},
        findings=len(findings) if isinstance(findings, list) else -1,
        places=_places(parts, artifacts),
        tests=len(tests) if isinstance(tests, list) else 0,
        sources={int(each["number"]): each for each in citations} if isinstance(citations, list) else None,
        passages=_passages(parts, artifacts),
    )


def _json(path: Path) -> Json:
    try:
        return msgspec.json.decode(path.read_bytes())
    except (OSError, msgspec.DecodeError):
        return None


def _places(parts: Mapping[str, Mapping[str, Any]], artifacts: ArtifactStore) -> int:
    """Return how many findings differ in rule, place or message: what two specialists both found is one."""
    fields = ("rule", "path", "line", "column", "message")
    places: set[tuple[Any, ...]] = set()
    for result in (result for part in parts.values() for result in part["specialists"]):
        try:
            listed = artifacts.get_json(str(result.get("findings_ref", "")))
        except (ArtifactLost, msgspec.DecodeError):
            continue
        places |= {tuple(each.get(field) for field in fields) for each in listed}
    return len(places)


def _tests(part: Mapping[str, Any]) -> int:
    return sum(sum((result.get("outcomes") or {}).values()) for result in part["specialists"])


def _citations(delivery: Delivery, sources: Mapping[int, Mapping[str, Any]]) -> Check:
    """Score the share of the report's claims that their sources, as the report numbers them, bear out."""
    claims = [
        {"text": claim.get("text"), "citations": [sources.get(number, {}) for number in claim.get("sources") or []]}
        for claim in delivery.report.get("claims") or []
    ]
    return _share("citations", claims, unsourced(claims, delivery.passages), "not what its source says")


def _passages(parts: Mapping[str, Mapping[str, Any]], artifacts: ArtifactStore) -> dict[str, str]:
    found: dict[str, str] = {}
    for result in (result for part in parts.values() for result in part["specialists"] if "passages_ref" in result):
        try:
            found |= passage_texts(artifacts.get_json(str(result["passages_ref"])))
        except (ArtifactLost, msgspec.DecodeError):
            continue  # what cites it can't be checked, and so doesn't pass
    return found


def _share(name: str, of: Any, bad: list[str], what: str) -> Check:
    score = 1.0 - len(bad) / len(of) if of else 1.0
    return Check(name, round(score, 4), f"{', '.join(bad[:5])}: {what}" if bad else "")


def _same(name: str, reported: int, found: int) -> Check:
    same = reported == found
    return Check(name, 1.0 if same else 0.0, "" if same else f"the report lists {reported}, the parts have {found}")
