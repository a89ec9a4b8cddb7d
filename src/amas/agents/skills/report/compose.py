"""The whole report from its material: headline, summary, key figures, the gate's scores, sections, problems and the appendix.

Called by `write.py`. Pure but for reading artifacts through the material.
"""

from collections.abc import Mapping
from pathlib import PurePath

from amas.agents.skills.report import section_code, section_project, section_tests
from amas.agents.skills.report.gather import Material, Part, numbers
from amas.agents.skills.report.model import (
    Block,
    Cell,
    KeyFigure,
    Report,
    Section,
    Table,
    Tone,
    code,
    figure,
    number,
    percent,
    plural,
    tasks,
    text,
)
from amas.agents.skills.safe_text import plain

PROBLEMS_MAX = 60


def compose(material: Material) -> Report:
    """Return the report."""
    sections = [
        _scores(material),
        section_code.findings(material),
        section_code.hotspots(material),
        section_tests.tests(material),
        section_project.api(material),
        section_project.compliance(material),
        section_code.structure(material),
        section_project.profile(material),
        section_project.others(material),
        _problems(material),
        _appendix(material),
    ]
    verdict, headline = _headline(material)
    return Report(
        title=_name(material),
        goal=material.goal,
        source=material.source,
        headline=headline,
        summary=_summary(material),
        verdict=verdict,
        figures=key_figures(material),
        sections=[section for section in sections if section is not None],
        made_by=_made_by(material),
    )


def key_figures(material: Material) -> list[KeyFigure]:
    """Return the numbers that a reader should take away; only what somebody measured."""
    found: list[KeyFigure] = []
    ingest = material.by_key("ingest")
    for label, name in (("Files", "files"), ("Python files", "python_files"), ("Lines", "lines")):
        if name in numbers(dict(material.ingest)):
            found.append(KeyFigure(label=label, value=figure(numbers(dict(material.ingest))[name]), refs=ingest))
    counts = section_code.severity_counts(material)
    reviewers = [result for result in material.done() if result.get("findings_ref")]
    if reviewers:
        tones: dict[str, Tone] = {"error": "error", "warning": "warning", "note": ""}
        for severity, value in counts.items():
            # each of the three names the tasks that found such findings, or all that looked
            ids = [task for one in material.findings if one.finding.severity == severity for task in one.task_ids]
            refs = material.refs(*ids) or material.refs_of(reviewers)
            found.append(
                KeyFigure(
                    label=severity.title() + "s found", value=figure(value), tone=tones[severity] if value else "", refs=refs
                )
            )
    return [*found, *_test_figures(material), *_api_figures(material)]


def _test_figures(material: Material) -> list[KeyFigure]:
    runs = list(material.done("testing.run"))
    counted = section_tests.outcomes(material)
    if not runs:
        return []
    if not counted or not sum(counted.values()):
        ended = ", ".join(dict.fromkeys(section_tests.in_short(run) for run in runs if section_tests.ending(run)))
        return [KeyFigure(label="Tests", value=ended or "none", tone="warning", refs=material.refs_of(runs))]
    bad = counted.get("failed", 0) + counted.get("error", 0)
    halted = any(section_tests.ending(run) for run in runs)
    tone: Tone = "error" if bad or halted else "good"
    refs = material.refs_of(runs)
    return [
        KeyFigure(
            label="Tests passed",
            value=f"{figure(counted.get('passed', 0))} of {figure(sum(counted.values()))}",
            tone=tone,
            refs=refs,
        ),
        KeyFigure(
            label="Tests failed", value=figure(counted.get("failed", 0)), tone="error" if counted.get("failed") else "", refs=refs
        ),
        *(
            [KeyFigure(label="Test errors", value=figure(counted["error"]), tone="error", refs=refs)]
            if counted.get("error")
            else []
        ),
        *([KeyFigure(label="Tests skipped", value=figure(counted["skipped"]), refs=refs)] if counted.get("skipped") else []),
    ]


def _api_figures(material: Material) -> list[KeyFigure]:
    found = []
    done = list(material.done("documentation.api_docs"))
    totals = section_project.api_totals(material)
    if done:
        found.append(KeyFigure(label="Public API objects", value=figure(totals["public"]), refs=material.refs_of(done)))
    share = section_project.docstring_share(material)
    if share is not None:
        refs = material.refs_of(list(material.done("documentation.coverage")))
        found.append(KeyFigure(label="Docstring coverage", value=percent(share), refs=refs))
    for result in material.done("compliance.licences"):
        said = result.get("licence") or {}
        classifiers = [str(name).rpartition(" :: ")[2] for name in said.get("classifiers") or []]
        value = said.get("expression") or ", ".join(classifiers) or "none declared"
        found.append(KeyFigure(label="Licence", value=plain(value, chars_max=60), refs=material.refs_of([result])))
    for result in material.done("compliance.dependencies"):
        value = figure(numbers(result.get("figures")).get("declared_runtime", 0))
        found.append(KeyFigure(label="Runtime dependencies", value=value, refs=material.refs_of([result])))
    return found


def _name(material: Material) -> str:
    for result in material.done("research.project_profile"):
        facts = result.get("profile") or {}
        if facts.get("name"):
            return plain(f"{facts['name']} {facts.get('version') or ''}")
    project = material.ingest.get("project") or {}
    if isinstance(project, dict) and project.get("name"):
        return plain(f"{project['name']} {project.get('version') or ''}")
    return plain(PurePath(material.source).name or "The project")


def _headline(material: Material) -> tuple[Tone, str]:
    """Return how it went on the whole, and the sentence that says it."""
    refused = [part for part in material.parts if part.accepted is False]
    counts = section_code.severity_counts(material)
    outcomes = section_tests.outcomes(material)
    halted = [run for run in material.done("testing.run") if section_tests.ending(run)]
    said = [
        *_findings_said(material, counts),
        *_tests_said(outcomes, halted=bool(halted)),
        *dict.fromkeys(section_tests.in_short(run) for run in halted),
        *([f"{plural(len(refused), 'part')} below the quality threshold"] if refused else []),
    ]
    bad = counts["error"] or outcomes.get("failed") or outcomes.get("error") or halted
    tone: Tone = "error" if bad else "warning" if counts["warning"] or refused else "good"
    joined = "; ".join(said) or "nothing was measured"
    return tone, joined[:1].upper() + joined[1:]


def _findings_said(material: Material, counts: Mapping[str, int]) -> list[str]:
    if not (material.findings or any(result.get("findings_ref") for result in material.done())):
        return []
    if counts["error"] or counts["warning"]:
        return [f"{plural(counts['error'], 'error')} and {plural(counts['warning'], 'warning')}"]
    return ["no error or warning"]


def _tests_said(outcomes: Mapping[str, int], *, halted: bool) -> list[str]:
    """Return what is said of tests that ran; of runs that came to no end something else is said."""
    total, failed, errors, passed = sum(outcomes.values()), *(outcomes.get(name, 0) for name in ("failed", "error", "passed"))
    if failed:
        return [f"{plural(failed, 'failing test')} of {figure(total)}"]
    if errors and not halted:
        return [f"{plural(errors, 'error')} in the tests"]
    if passed and not halted:
        return [f"all {figure(passed)} tests{' that ran to their end' if total > passed else ''} passed"]
    return []


def _summary(material: Material) -> str:
    ingest = numbers(dict(material.ingest))
    sentences = []
    if "python_files" in ingest:
        sentences.append(
            f"{_name(material)} has {plural(ingest['python_files'], 'Python file')}; "
            f"all its files have {plural(ingest.get('lines', 0), 'line')}."
        )
    counts = section_code.severity_counts(material)
    if material.findings:
        worst = material.findings[0].finding
        place = f"{worst.path}:{worst.line}" if worst.line else worst.path or "the project"
        sentences.append(
            f"The checks found {plural(counts['error'], 'error')}, "
            f"{plural(counts['warning'], 'warning')} and {plural(counts['note'], 'note')}; "
            f"first on the list is {worst.rule} in {place}."
        )
    sentences += _test_sentences(material)
    share = section_project.docstring_share(material)
    if share is not None:
        sentences.append(f"{percent(share)} of its public API has a docstring.")
    refused = [part.title for part in material.parts if part.accepted is False]
    if refused:
        sentences.append(f"The quality gate didn't accept: {', '.join(refused)}; read those parts with care.")
    elif any(part.accepted for part in material.parts):
        sentences.append("The quality gate accepted every part that it scored.")
    if material.problems:
        sentences.append(f"{plural(len(material.problems), 'thing')} couldn't be done; the reasons are listed near the end.")
    return plain(" ".join(sentences), chars_max=1500)


def _test_sentences(material: Material) -> list[str]:
    outcomes = section_tests.outcomes(material)
    total = sum(outcomes.values())
    sentences = [sentence for run in material.done("testing.run") if (sentence := section_tests.ending(run))]
    if total and total == outcomes.get("passed"):
        sentences.append(f"All {plural(total, 'test')} passed." if total > 1 else "Its one test passed.")
    elif total > outcomes.get("error", 0):
        said = ", ".join(f"{figure(value)} {section_tests.WORDS[name]}" for name, value in outcomes.items() if value)
        sentences.append(f"Of {plural(total, 'test')}: {said}.")
    return sentences


def _scores(material: Material) -> Section | None:
    if not material.parts:
        return Section("parts", "Quality of the parts", [Block(text="No part was handed on, so there is nothing to report on.")])
    rows = [_score_row(material, part) for part in material.parts]
    blocks = [
        Block(
            text="Each part was scored by the quality gate; one below the threshold was sent back to its lead with the reasons."
        ),
        Block(
            table=Table(
                caption="Parts", columns=("Part", "Verdict", "#Score", "#Sent back", "Lead", "#Specialists", "Tasks"), rows=rows
            )
        ),
    ]
    if table := _check_table(material):
        blocks.append(Block(table=table, folded="The gate's checks"))
    blocks += [Block(text=f"The plan: {note}.") for note in material.notes]
    return Section("parts", "Quality of the parts", blocks)


def _check_table(material: Material) -> Table | None:
    """Return one row for each part and one column for each check, with the reasons for what isn't whole."""
    names = list(dict.fromkeys(str(check.get("name", "")) for part in material.parts for check in part.checks))
    if not names:
        return None
    rows = []
    for part in material.parts:
        found = {str(check.get("name", "")): check for check in part.checks}
        notes = "; ".join(str(check["note"]) for check in part.checks if check.get("note"))
        scores = [number(_number(found.get(name, {}).get("score"))) for name in names]
        rows.append([text(part.title), *scores, text(notes)])
    return Table(
        caption="The gate's checks", columns=("Part", *(f"#{section_code.humanise(name)}" for name in names), "Notes"), rows=rows
    )


def _score_row(material: Material, part: Part) -> list[Cell]:
    verdicts: dict[bool | None, Cell] = {
        True: Cell("accepted", "badge", tone="good"),
        False: Cell("not accepted", "badge", tone="error"),
        None: Cell("not scored", "badge", tone="muted"),
    }
    own = material.refs(*(str(by["task_id"]) for by in (part.led_by, part.judged_by) if by.get("task_id")))
    done = material.refs_of(part.specialists)
    return [
        text(part.title),
        verdicts[part.accepted],
        number(part.score),
        number(part.rounds),
        code(part.lead),
        number(len(part.specialists)),
        tasks(own or done[:6]),
    ]


def _problems(material: Material) -> Section | None:
    rows = [
        [code(problem.what), text(plain(problem.why, chars_max=300)), tasks(material.refs(*problem.task_ids))]
        for problem in material.problems[:PROBLEMS_MAX]
    ]
    rows += [
        [
            text(f"Part: {part.title}"),
            text("its score stayed below the threshold after the last round"),
            tasks(()),
        ]
        for part in material.parts
        if part.accepted is False
    ]
    rows += [
        [text("Tests"), text(section_tests.ending(run)), tasks(material.refs_of([run]))]
        for run in material.done("testing.run")
        if section_tests.ending(run)
    ]
    if not rows:
        return Section(
            "problems", "What couldn't be done", [Block(text="Nothing: every file was read and every check ran to its end.")]
        )
    left = len(material.problems) - PROBLEMS_MAX
    note = f"{figure(left)} further ones in report.json." if left > 0 else ""
    return Section(
        "problems",
        "What couldn't be done",
        [Block(table=Table(caption="Left undone", columns=("What", "Why", "Task"), rows=rows, note=note))],
    )


def _appendix(material: Material) -> Section | None:
    if not material.tasks:
        return None
    rows = [
        [
            tasks(material.refs(row.id)),
            text(row.key),
            code(row.capability),
            code(row.agent_id),
            text(row.state),
            number(row.seconds),
            code(plain(row.command, chars_max=600)),
        ]
        for row in material.tasks.values()
    ]
    words = f"{plural(len(rows), 'task')}. The command is what to type, in the project's folder, to get a task's figures by hand."
    table = Table(caption="Tasks", columns=("Task", "Key", "Capability", "Agent", "State", "#Seconds", "By hand"), rows=rows)
    return Section("appendix", "Appendix: who did what", [Block(text=words), Block(table=table)])


def _made_by(material: Material) -> str:
    listed = [f"{tool.get('name')} {tool.get('version')}" for tool in material.tools.get("tools") or [] if isinstance(tool, dict)]
    python = f"Python {material.tools['python']}" if material.tools.get("python") else ""
    return ", ".join(filter(None, [*listed, python]))


def _number(value: object) -> float | None:
    return float(value) if isinstance(value, int | float) else None
