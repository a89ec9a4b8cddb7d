"""The sections on code: findings, hotspots, size and structure.

Each function takes the material and returns a section, or None where nothing is known. Called by `compose.py`.
"""

from collections import Counter
from collections.abc import Sequence

from amas.agents.skills.charts import count_chart, severity_chart
from amas.agents.skills.findings import SEVERITIES
from amas.agents.skills.report.gather import Found, Material, numbers
from amas.agents.skills.report.model import Block, Cell, Section, Table, Tone, code, figure, number, plural, tasks, text
from amas.agents.skills.safe_text import plain

FINDINGS_MAX = 40
"""What a person reads through; the whole list is in findings.json."""
SAME_RULE_MAX = 5
NOTES_MAX = 10
"""Of these at most so many notes: they are matters of taste."""
RULES_MAX, FILES_MAX = 15, 15
_TONES: dict[str, Tone] = {"error": "error", "warning": "warning", "note": "note"}


def severity_counts(material: Material) -> dict[str, int]:
    """Return the findings by severity, each counted once."""
    counted = Counter(found.finding.severity for found in material.findings)
    return {severity: counted[severity] for severity in SEVERITIES}


def findings(material: Material) -> Section | None:
    """Return the findings: by severity, by rule, by file, and the worst of them one by one."""
    looked = [result for result in material.done() if result.get("findings_ref")]
    if not looked:
        return None
    counts = severity_counts(material)
    total = sum(counts.values())
    if not total:
        return Section("findings", "Findings", [Block(text="None of the checks found anything.", refs=material.refs_of(looked))])
    rules = Counter(found.finding.rule for found in material.findings)
    said = ", ".join(plural(counts[severity], severity) for severity in SEVERITIES)
    blocks = [
        Block(text=f"{plural(total, 'finding')}: {said}. The worst come first; the complete list is in findings.json."),
        Block(chart=severity_chart(counts)),
        Block(chart=count_chart("rules", "Most frequent rules", dict(rules.most_common(10)))),
        Block(table=_worst(material)),
        Block(table=_by_rule(material)),
        Block(table=_by_file(material)),
    ]
    return Section("findings", "Findings", blocks)


def hotspots(material: Material) -> Section | None:
    """Return the files where trouble is likeliest."""
    done = [result for result in material.done("analytics.hotspots") if result.get("hotspots")]
    rows = [
        [
            code(spot.get("path", "")),
            number(spot.get("score"), digits=1),
            *(number(spot.get(name)) for name in ("errors", "warnings", "notes", "complexity", "lines")),
        ]
        for result in done
        for spot in result["hotspots"]
        if isinstance(spot, dict)
    ]
    if not rows:
        return None
    table = Table(
        caption="Riskiest files",
        columns=("File", "#Score", "#Errors", "#Warnings", "#Notes", "#Complexity", "#Lines"),
        rows=rows[:10],
    )
    why = "Files that are both complex and much found fault with; 100 would be the worst of the project in both."
    return Section("hotspots", "Hotspots", [Block(text=why, refs=material.refs_of(done)), Block(table=table)])


def structure(material: Material) -> Section | None:
    """Return the sizes and the import structure as the analytics specialists measured them."""
    done = [*material.done("analytics.metrics"), *material.done("analytics.imports")]
    if not done:
        return None
    rows = [
        [text(humanise(name)), number(value), text(result.get("group", "")), tasks(material.refs_of([result]))]
        for result in done
        for name, value in numbers(result.get("figures")).items()
    ]
    cycles = [cycle for result in material.done("analytics.imports") for cycle in result.get("cycles") or []]
    table = Table(caption="Size and structure", columns=("Figure", "#Value", "Of", "Task"), rows=rows)
    blocks = [Block(table=table)]
    if cycles:
        listed = [[code(" → ".join(map(str, cycle)) if isinstance(cycle, list) else cycle)] for cycle in cycles[:20]]
        note = f"{plural(len(cycles) - 20, 'further cycle')} left out." if len(cycles) > 20 else ""
        blocks.append(
            Block(table=Table(caption="Modules that import each other in a circle", columns=("Cycle",), rows=listed, note=note))
        )
    return Section("structure", "Size and structure", blocks)


def humanise(name: str) -> str:
    """Return a figure's name as words: `mi_average` gives `Mi average`."""
    words = name.replace("_", " ").replace(".", " ").strip()
    return words[:1].upper() + words[1:]


def _worst(material: Material) -> Table:
    graver = [found for found in material.findings if found.finding.severity != "note"]
    notes = [found for found in material.findings if found.finding.severity == "note"]
    shown = _few_of_each(graver)[:FINDINGS_MAX]
    shown += _few_of_each(notes)[: min(NOTES_MAX, FINDINGS_MAX - len(shown))]
    left = len(material.findings) - len(shown)
    return Table(
        caption="The worst findings",
        columns=("Severity", "Rule", "Where", "What", "Task"),
        rows=[_finding_row(material, found) for found in shown],
        note=f"At most {SAME_RULE_MAX} of each rule; {plural(left, 'further finding')} in findings.json." if left else "",
    )


def _few_of_each(findings: Sequence[Found]) -> list[Found]:
    """Return the first few of each rule, so that one rule's hundreds don't hide another's one."""
    seen: Counter[str] = Counter()
    kept = []
    for found in findings:
        seen[found.finding.rule] += 1
        if seen[found.finding.rule] <= SAME_RULE_MAX:
            kept.append(found)
    return kept


def _finding_row(material: Material, found: Found) -> list[Cell]:
    finding = found.finding
    place = f"{finding.path}:{finding.line}" if finding.line else finding.path or "project"
    return [
        Cell(finding.severity, "badge", tone=_TONES[finding.severity]),
        code(finding.rule),
        code(place),
        text(plain(finding.message, chars_max=240)),
        tasks(material.refs(*found.task_ids)),
    ]


def _by_rule(material: Material) -> Table:
    groups: dict[str, list[Found]] = {}
    for found in material.findings:
        groups.setdefault(found.finding.rule, []).append(found)
    ordered = sorted(
        groups.values(), key=lambda group: (SEVERITIES.index(group[0].finding.severity), -len(group), group[0].finding.rule)
    )
    rows = [
        [
            code(group[0].finding.rule),
            Cell(group[0].finding.severity, "badge", tone=_TONES[group[0].finding.severity]),
            number(len(group)),
            number(len({found.finding.path for found in group})),
            text(plain(group[0].finding.message, chars_max=120)),
            tasks(material.refs(*(task_id for found in group for task_id in found.task_ids))[:4]),
        ]
        for group in ordered[:RULES_MAX]
    ]
    rest = ordered[RULES_MAX:]
    note = f"{plural(len(rest), 'further rule')} with {plural(sum(map(len, rest)), 'finding')} in findings.json." if rest else ""
    return Table(
        caption="By rule", columns=("Rule", "Severity", "#Findings", "#Files", "For example", "Task"), rows=rows, note=note
    )


def _by_file(material: Material) -> Table:
    counts: dict[str, Counter[str]] = {}
    for found in material.findings:
        counts.setdefault(found.finding.path, Counter())[found.finding.severity] += 1
    ordered = sorted(counts.items(), key=lambda pair: ([-pair[1][severity] for severity in SEVERITIES], pair[0]))
    rows = [[code(path or "project"), *(number(by[severity]) for severity in SEVERITIES)] for path, by in ordered[:FILES_MAX]]
    left = len(ordered) - len(rows)
    note = f"{figure(left)} further files in findings.json." if left else ""
    return Table(caption="By file", columns=("File", "#Errors", "#Warnings", "#Notes"), rows=rows, note=note)
