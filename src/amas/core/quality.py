"""What a part of a deliverable is worth: rules that score it from 0 to 1 and say what must be done again.

`score_part` gets what was expected (`Share`: one specialist's portion), the specialists' results as plain JSON, and the artifacts
that they point at, already read. A part is worth as much as its weakest check, so a fault in one can't hide behind the others.
Called by the quality gate. Pure: it must never read a file or an artifact.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from amas.model.task import Json

Result = Mapping[str, Json]
"""A specialist's result."""

_SHAPE: dict[str, type | tuple[type, ...]] = {
    "capability": str, "group": str, "task_id": str, "covered": list, "failed": list, "findings_ref": str,
    "counts": dict, "figures": dict, "tool": dict,
}  # fmt: skip
_SEVERITIES = ("error", "warning", "note")


class Share(msgspec.Struct, frozen=True):
    """One specialist's portion of a part."""

    capability: str
    group: str
    paths: tuple[str, ...] = ()
    """Files that must be covered, or named as broken; empty where the work isn't counted by files."""


class Check(msgspec.Struct, frozen=True):
    """One rule's verdict."""

    name: str
    score: float
    note: str = ""


class Redo(msgspec.Struct, frozen=True):
    """What is missing or wrong, for the lead to have done again."""

    capability: str
    group: str
    paths: tuple[str, ...]
    reason: str


class Verdict(msgspec.Struct, frozen=True):
    """A part's worth."""

    score: float
    checks: tuple[Check, ...]
    redo: tuple[Redo, ...]


class Material(msgspec.Struct, frozen=True, kw_only=True):
    """All that the rules look at."""

    shares: Sequence[Share]
    results: Sequence[Result]
    file_lines: Mapping[str, int]
    """How long each file of the input is."""
    broken: frozenset[str] = frozenset()
    """Files that don't parse: a specialist that names one as failed has dealt with it."""
    artifacts: Mapping[str, Json] = msgspec.field(default_factory=dict)
    """The lists behind `findings_ref`, `tests_ref`, `claims_ref` and `passages_ref`; one that can't be read is missing here."""


def score_part(material: Material) -> Verdict:
    """Return the part's score, each check's, and what must be done again."""
    by_share = {_of(result): result for result in material.results}
    redo: dict[tuple[str, str], Redo] = {}
    checks = [_capabilities(material, by_share, redo), _completeness(material, by_share, redo)]
    rules: tuple[tuple[str, Callable[[Result, Material], str]], ...] = (
        ("shape", _shape_fault),
        ("evidence", _evidence_fault),
        ("counts", _counts_fault),
        ("test outcomes", _tests_fault),
    )
    if any("claims_ref" in result for result in material.results):
        rules = (*rules, ("citations", _citations_fault))
    for name, fault_of in rules:
        faults = {_of(result): fault for result in material.results if (fault := fault_of(result, material))}
        checks.append(_check(name, len(material.results) - len(faults), len(material.results), faults.values()))
        for share in material.shares:
            key = (share.capability, share.group)
            if key in faults:
                redo.setdefault(key, _redo(share, share.paths, faults[key]))
    return Verdict(min(check.score for check in checks), tuple(checks), tuple(redo.values()))


def _of(result: Result) -> tuple[str, str]:
    return str(result.get("capability", "")), str(result.get("group", ""))


def _redo(share: Share, paths: Iterable[str], reason: str) -> Redo:
    return Redo(share.capability, share.group, tuple(paths), reason)


def _check(name: str, good: int, of: int, notes: Iterable[str]) -> Check:
    return Check(name, round(good / of, 4) if of else 1.0, "; ".join(list(notes)[:3]))


def _capabilities(material: Material, found: Mapping[tuple[str, str], Result], redo: dict[tuple[str, str], Redo]) -> Check:
    """Score the share of portions for which a specialist answered at all."""
    absent = [share for share in material.shares if (share.capability, share.group) not in found]
    for share in absent:
        redo[(share.capability, share.group)] = _redo(share, share.paths, "there is no result")
    notes = [f"no result of {name}" for name in dict.fromkeys(share.capability for share in absent)]
    return _check("capabilities", len(material.shares) - len(absent), len(material.shares), notes)


def _completeness(material: Material, found: Mapping[tuple[str, str], Result], redo: dict[tuple[str, str], Redo]) -> Check:
    """Score the share of files that were covered, counted once for each capability that had to."""
    expected = left_out = 0
    for share in material.shares:
        expected += len(share.paths)
        absent = _uncovered(share, found.get((share.capability, share.group)), material.broken)
        left_out += len(absent)
        if absent:
            redo.setdefault((share.capability, share.group), _redo(share, absent, f"{len(absent)} files were not covered"))
    note = f"{left_out} of {expected} files were not covered" if left_out else ""
    return _check("completeness", expected - left_out, expected, [note] if note else [])


def _uncovered(share: Share, result: Result | None, broken: frozenset[str]) -> list[str]:
    if result is None:
        return list(share.paths)
    covered = set(_list(result, "covered"))
    named = {str(each.get("path")) for each in _list(result, "failed") if isinstance(each, dict)} & broken
    return [path for path in share.paths if path not in covered and path not in named]


def _shape_fault(result: Result, _: Material) -> str:
    wrong = [name for name, kind in _SHAPE.items() if not isinstance(result.get(name), kind)]
    return f"{_of(result)[0]} lacks {', '.join(wrong)}" if wrong else ""


def _evidence_fault(result: Result, material: Material) -> str:
    """Say which finding points at a file or a line that isn't there; line 0 means the whole file, no path the whole input."""
    for finding in _artifact(result, "findings_ref", material) or []:
        path, line = str(finding.get("path", "")), finding.get("line", 0)
        if not path and line == 0:  # about the input as a whole, such as what it lacks
            continue
        if path not in material.file_lines:
            return f"{_of(result)[0]} reports on {path!r}, which is not in the input"
        # A tool may point one line past the end: at what is missing there.
        if not isinstance(line, int) or not 0 <= line <= material.file_lines[path] + 1:
            return f"{_of(result)[0]} reports on {path}:{line}, which has {material.file_lines[path]} lines"
    return ""


def _counts_fault(result: Result, material: Material) -> str:
    findings = _artifact(result, "findings_ref", material)
    if findings is None:
        return f"the findings of {_of(result)[0]} can't be read"
    counted = Counter(str(finding.get("severity")) for finding in findings)
    said = result.get("counts")
    said = said if isinstance(said, dict) else {}
    if any(said.get(severity, 0) != counted[severity] for severity in _SEVERITIES):
        return f"{_of(result)[0]} counts {said} but lists {dict(counted)}"
    return ""


def _tests_fault(result: Result, material: Material) -> str:
    outcomes = result.get("outcomes")
    if not isinstance(outcomes, dict):
        return ""
    tests = _artifact(result, "tests_ref", material)
    if tests is None:
        return "the list of tests can't be read"
    total = sum(value for value in outcomes.values() if isinstance(value, int))
    if total != len(tests):
        return f"the outcomes add up to {total} but {len(tests)} tests are listed"
    return "" if result.get("ended") else "it is not said how the test run ended"


def unsourced(claims: Iterable[Mapping[str, Any]], passages: Mapping[str, str]) -> list[str]:
    """Return the claims that no citation bears out: each must have one, and each quote must stand in its passage."""
    return [str(claim.get("text", "")) for claim in claims if not _is_sourced(claim, passages)]


def passage_texts(listed: Iterable[Mapping[str, Any]]) -> dict[str, str]:
    """Return the text of each passage by its id."""
    return {str(each.get("id", "")): str(each.get("text", "")) for each in listed}


def _is_sourced(claim: Mapping[str, Any], passages: Mapping[str, str]) -> bool:
    citations = claim.get("citations") or []
    return bool(citations) and all(
        " ".join(str(each.get("quote", "")).split()) in " ".join(passages.get(str(each.get("id")), "").split())
        and bool(str(each.get("quote", "")).strip())
        for each in citations
    )


def _citations_fault(result: Result, material: Material) -> str:
    if "claims_ref" not in result:
        return ""
    claims = _artifact(result, "claims_ref", material)
    if claims is None:
        return f"the claims of {_of(result)[0]} can't be read"
    passages = passage_texts(each for other in material.results for each in _artifact(other, "passages_ref", material) or [])
    false = unsourced(claims, passages)
    return f"{_of(result)[0]} says what its sources don't: {false[0][:100]!r}" if false else ""


def _artifact(result: Result, name: str, material: Material) -> list[dict[str, Json]] | None:
    value = material.artifacts.get(str(result.get(name, "")))
    return [each for each in value if isinstance(each, dict)] if isinstance(value, list) else None


def _list(result: Result, name: str) -> list[Json]:
    value = result.get(name)
    return value if isinstance(value, list) else []
