"""A fleet's report as people read it: `GET /api/report` put into sections, for the terminal and for one HTML file alike.

Uses what goals' deliverables are made of (`agents/skills/report/`), so both look the same; whatever is shown is escaped there.
"""

from collections.abc import Sequence

from amas.agents.skills.charts import Bar, Layer, bar_chart, time_chart
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
    plural,
    text,
)
from amas.cli.output import moment
from amas.model.report import FleetReport

HURRY_S = 30.0
"""A recovery that takes longer is shown in red: work is to go on within half a minute."""
GOOD = 0.98
"""Success that a fleet promises (T)."""
PLOTTED_FAMILIES = 12
DAY_S, MINUTES_S = 86_400, 1200
"""Plots of longer windows name days, of shorter ones seconds."""

Rows = Sequence[Sequence[Cell]]


def page_of(found: FleetReport) -> Report:
    """Return the report in sections, the parts without anything to say left out."""
    sections = (_over_time(found), _families(found), _recoveries(found), _changes(found), _alerts(found), _hosts(found))
    return Report(
        title=found.fleet,
        goal="",
        source="",
        headline=_headline(found),
        summary=f"{moment(found.from_ms)} to {moment(found.to_ms)}. {found.definition}",
        verdict=_verdict(found),
        figures=_figures(found),
        sections=[section for section in sections if section.blocks],
        made_by="",
    )


def rounded(share: float | None, *, digits: int = 2) -> str:
    """Return a share in per cent, rounded down so that only the whole is 100 %; a dash for none."""
    if share is None:
        return "-"
    scale = 10 ** (2 + digits)
    return f"{int(share * scale + 1e-9) / 10**digits:g} %"


def _headline(found: FleetReport) -> str:
    tasks = found.tasks
    if tasks.lost:
        return f"{plural(len(tasks.lost), 'accepted task')} lost"
    ended = tasks.succeeded + tasks.failed + tasks.cancelled
    if not ended and not tasks.accepted:
        return "Nothing was asked of the fleet"
    return (
        f"{plural(ended, 'task')} ended, {rounded(tasks.success_rate)} of them well; "
        f"available {rounded(found.availability.share)} of the time; none lost"
    )


def _verdict(found: FleetReport) -> Tone:
    if found.tasks.lost:
        return "error"
    poor = [share for share in (found.tasks.success_rate, found.availability.share) if share is not None and share < GOOD]
    return "warning" if poor else "good"


def _figures(found: FleetReport) -> list[KeyFigure]:
    tasks, times = found.tasks, found.response
    down_s = found.availability.down_s
    return [
        KeyFigure(label="Availability", value=rounded(found.availability.share), tone=_tone(found.availability.share)),
        KeyFigure(label="Success rate", value=rounded(tasks.success_rate), tone=_tone(tasks.success_rate)),
        KeyFigure(label="Lost", value=figure(len(tasks.lost)), tone="error" if tasks.lost else "good"),
        KeyFigure(label="Accepted", value=figure(tasks.accepted)),
        KeyFigure(label="Succeeded", value=figure(tasks.succeeded)),
        KeyFigure(label="Failed", value=figure(tasks.failed)),
        KeyFigure(label="Cancelled", value=figure(tasks.cancelled)),
        KeyFigure(label="Still open", value=figure(sum(tasks.open.values()))),
        KeyFigure(label="Response p50", value=_seconds(times.p50_s)),
        KeyFigure(label="Response p99", value=_seconds(times.p99_s)),
        KeyFigure(label="Utilisation", value=rounded(found.utilisation, digits=1)),
        KeyFigure(label="Down", value=_seconds(down_s), tone="warning" if down_s else "good"),
        KeyFigure(label="Spent", value=f"${found.usd:,.2f}"),
    ]


def _tone(share: float | None) -> Tone:
    return "" if share is None else "good" if share >= GOOD else "warning"


def _over_time(found: FleetReport) -> Section:
    points, blocks = found.timeline, []
    span_s = (found.to_ms - found.from_ms) / 1000
    shown = slice(5, 16) if span_s > DAY_S else slice(11, 16) if span_s > MINUTES_S else slice(11, 19)
    times = [moment(point.at_ms)[shown] for point in points]
    layers = [
        Layer("succeeded", [point.succeeded for point in points], "good"),
        Layer("failed", [point.failed for point in points], "error"),
    ]
    if points:
        drawn = (
            time_chart("ended", "Tasks that ended", layers, times),
            time_chart("waiting", "Tasks that waited", [Layer("waiting", [p.waiting for p in points], "warning")], times),
            time_chart("down", "Seconds down", [Layer("down", [p.down_s for p in points], "error")], times),
        )
        blocks += [Block(chart=chart) for chart in drawn if chart]
    outages = [
        [
            text(moment(each.from_ms)),
            number((each.to_ms - each.from_ms) / 1000, unit=" s"),
            text("the engine was away" if each.engine_away else "tasks waited and none was worked on"),
        ]
        for each in found.availability.outages
    ]
    blocks += _table("Outages", ("from", "#lasted", "what it was"), outages)
    if found.tasks.lost:
        named = [[code(task_id)] for task_id in found.tasks.lost]
        blocks += _table("Lost tasks", ("task",), named, note="Neither the engine nor the records know an end of these.")
    return Section("time", "Over time", blocks)


def _families(found: FleetReport) -> Section:
    rows = [
        [
            text(each.family),
            number(each.agents),
            number(each.succeeded),
            number(each.failed),
            Cell(rounded(each.success_rate), "number"),
            Cell(_seconds(each.p99_s), "number"),
            number(each.agent_s, digits=1, unit=" s"),
            Cell(rounded(each.utilisation, digits=1), "number"),
            number(each.tokens),
            Cell(f"${each.usd:,.4f}", "number"),
        ]
        for each in found.families
    ]
    columns = (
        "family",
        "#agents",
        "#succeeded",
        "#failed",
        "#success",
        "#p99",
        "#agents' time",
        "#utilisation",
        "#tokens",
        "#USD",
    )
    busiest = sorted(found.families, key=lambda each: -each.agent_s)[:PLOTTED_FAMILIES]
    dearest = sorted(found.families, key=lambda each: -each.usd)[:PLOTTED_FAMILIES]
    charts = (
        bar_chart("busy", "Agents' seconds", [Bar(each.family, round(each.agent_s, 1)) for each in busiest], unit=" s"),
        bar_chart("usd", "Dollars", [Bar(each.family, round(each.usd, 4)) for each in dearest]),
    )
    note = "Utilisation is that of as many agents as there are now."
    return Section(
        "families",
        "Families",
        [*_table("Families", columns, rows, note=note), *(Block(chart=chart) for chart in charts if chart)],
    )


def _recoveries(found: FleetReport) -> Section:
    rows = [
        [
            text(each.cause.replace("_", " ")),
            number(each.count),
            Cell(_seconds(each.p50_s), "number"),
            Cell(_seconds(each.max_s), "badge" if each.max_s > HURRY_S else "number", "error" if each.max_s > HURRY_S else ""),
            number(each.tasks),
        ]
        for each in found.recoveries
    ]
    return Section("recoveries", "Recoveries", _table("Recoveries", ("cause", "#count", "#p50", "#max", "#tasks held up"), rows))


def _changes(found: FleetReport) -> Section:
    rollouts = [
        [
            code(each.pool),
            text(f"{each.was} to {each.version}"),
            Cell(each.phase.replace("_", " "), "badge", "good" if each.phase == "promoted" else "note"),
            text(moment(each.at_ms)),
            number(each.tasks),
            text(each.why),
        ]
        for each in found.rollouts
    ]
    backups = [
        [text(moment(each.at_ms)), code(each.id), text(each.kind), number(each.tasks), number(each.size), number(each.stored)]
        for each in found.backups
    ]
    return Section(
        "changes",
        "Roll-outs and back-ups",
        [
            *_table("Roll-outs", ("pool", "version", "what became of it", "when", "#tasks", "why"), rollouts),
            *_table("Back-ups", ("made", "id", "kind", "#tasks", "#bytes", "#stored"), backups),
        ],
    )


def _alerts(found: FleetReport) -> Section:
    tones: dict[str, Tone] = {"critical": "error", "warning": "warning"}
    alerts = [
        [
            text(moment(each.at_ms)),
            code(each.rule),
            Cell(each.severity, "badge", tones.get(each.severity, "note")),
            text(each.status),
            number(each.times),
            text(each.reason),
        ]
        for each in found.alerts
    ]
    runs = [
        [text(moment(each.at_ms)), code(each.runbook), text(each.what), text(each.by), text(each.step), text(each.outcome)]
        for each in found.runs
    ]
    return Section(
        "alerts",
        "Alerts and run-books",
        [
            *_table("Alerts that fired", ("last", "rule", "severity", "now", "#times", "why"), alerts),
            *_table("What run-books did", ("when", "run-book", "what", "by", "step", "outcome"), runs),
        ],
    )


def _hosts(found: FleetReport) -> Section:
    rows = [
        [
            code(each.id),
            number(each.agents),
            number(each.rss_bytes / 2**20, digits=0, unit=" MiB"),
            number(each.cpu_s, digits=1, unit=" s"),
            text(moment(each.since_ms)),
        ]
        for each in found.hosts
    ]
    return Section("hosts", "Hosts", _table("Live hosts", ("host", "#agents", "#memory", "#CPU", "since"), rows))


def _table(caption: str, columns: tuple[str, ...], rows: Rows, *, note: str = "") -> list[Block]:
    return [Block(table=Table(caption=caption, columns=columns, rows=rows, note=note))] if rows else []


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:,.3g} s" if value < 100 else f"{value:,.0f} s"
