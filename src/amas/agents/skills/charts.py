"""Plots as small static SVG, drawn by pygal and meant to stand inside an HTML page.

What pygal adds for browsers (scripts, styles, tool-tips, its name) is taken out again: colours come from the page by custom
properties (`--ink`, `--line`, `--error`, ...), so that a plot follows light and dark. A chart carries its data as
words too (`alt`).
Called by the report and by the hosts for `reporting.charts`. Must never put a word of the reviewed project into SVG unescaped.
"""

import asyncio
import sys
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any
from xml.etree import ElementTree

import msgspec

from amas.agents.base import agent
from amas.agents.context import Context
from amas.agents.skills.safe_text import plain
from amas.model.task import Json

WIDTH = 480
ROW_HEIGHT = 26
LABEL_CHARS_MAX = 30
ROWS_MAX = 12
_SVG = "http://www.w3.org/2000/svg"
_DROPPED = {"script", "style", "desc", "title", "defs"}
_COLOURS = ("accent", "error", "warning", "note", "good", "muted")


class Bar(msgspec.Struct, frozen=True):
    """One bar: what it is called, how long it is, and its colour's name."""

    label: str
    value: float
    colour: str = "accent"


class Layer(msgspec.Struct, frozen=True):
    """A part of every column of a plot over time."""

    label: str
    values: Sequence[float]
    colour: str = "accent"


class Chart(msgspec.Struct, frozen=True):
    """A drawn plot."""

    name: str
    title: str
    svg: str
    """An `<svg>` element without script, style or address."""
    alt: str
    """The same in words."""


def bar_chart(name: str, title: str, bars: Sequence[Bar], *, unit: str = "") -> Chart | None:
    """Return horizontal bars, the first on top; nothing when there is nothing to compare."""
    shown = [Bar(_shortened(bar.label), bar.value, bar.colour) for bar in bars[:ROWS_MAX]]
    if not any(bar.value > 0 for bar in shown):
        return None
    words = "; ".join(f"{bar.label}: {_number(bar.value)}{unit}" for bar in shown)
    return Chart(name, title, _static(_draw(shown, unit)), f"{title}. {words}.")


def time_chart(name: str, title: str, layers: Sequence[Layer], times: Sequence[str]) -> Chart | None:
    """Return a column for each time, its layers on top of each other; nothing where all are 0."""
    shown = [layer for layer in layers if any(layer.values)]
    if not shown:
        return None
    words = "; ".join(
        f"{layer.label}: {_number(sum(layer.values))} in all, {_number(max(layer.values))} at most" for layer in shown
    )
    return Chart(name, title, _static(_draw_columns(shown, times)), f"{title}, {times[0]} to {times[-1]}. {words}.")


def severity_chart(counts: Mapping[str, int]) -> Chart | None:
    """Return the findings by severity, gravest first."""
    return bar_chart(
        "severity", "Findings by severity", [Bar(key, counts.get(key, 0), key) for key in ("error", "warning", "note")]
    )


def outcome_chart(outcomes: Mapping[str, int]) -> Chart | None:
    """Return the tests by outcome."""
    colours = {"passed": "good", "failed": "error", "error": "error", "xpassed": "warning"}
    bars = [Bar(key, value, colours.get(key, "muted")) for key, value in outcomes.items() if value]
    return bar_chart("outcomes", "Tests by outcome", bars)


def count_chart(name: str, title: str, counts: Mapping[str, float]) -> Chart | None:
    """Return named counts, the largest first."""
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return bar_chart(name, title, [Bar(label, value) for label, value in ordered])


@agent("reporting.charts")
async def charts(ctx: Context) -> Json:
    """Draw the plots of the parts in the task's results and return their references."""
    drawn = await asyncio.to_thread(charts_of, ctx.results)
    return {
        "charts": [
            {"name": chart.name, "title": chart.title, "alt": chart.alt, "svg_ref": ctx.artifacts.put(chart.svg.encode())}
            for chart in drawn
        ]
    }


def charts_of(results: Mapping[str, Json]) -> list[Chart]:
    """Return the plots that the parts' own numbers allow."""
    severities: dict[str, int] = {}
    rules: dict[str, float] = {}
    outcomes: dict[str, int] = {}
    for part in results.values():
        for done in part.get("specialists", []) if isinstance(part, dict) else []:
            for target, source in ((severities, "counts"), (rules, "by_rule"), (outcomes, "outcomes")):
                for key, value in (done.get(source) or {}).items():
                    target[key] = target.get(key, 0) + value
    drawn = [severity_chart(severities), count_chart("rules", "Findings by rule", rules), outcome_chart(outcomes)]
    return [chart for chart in drawn if chart is not None]


@cache
def _pygal() -> Any:
    """Import pygal and undo what it does to imports: its finder for maps makes Python 3.11 warn at every later import."""
    import pygal
    import pygal.style

    sys.meta_path[:] = [finder for finder in sys.meta_path if not isinstance(finder, pygal.PluginImportFixer)]
    return pygal


def _draw(bars: Sequence[Bar], unit: str) -> str:
    pygal = _pygal()
    widest = max(len(bar.label) for bar in bars)

    chart = pygal.HorizontalBar(
        css=(), js=(), disable_xml_declaration=True, no_prefix=True, explicit_size=False,
        width=WIDTH, height=ROW_HEIGHT * len(bars) + 16, margin=4, margin_right=64, spacing=8,
        show_legend=False, show_x_labels=False, show_y_guides=False, show_x_guides=False,
        margin_left=4 + 2 * widest, style=pygal.style.Style(label_font_size=12, major_label_font_size=12),
        print_values=True, print_values_position="top", truncate_label=-1, range=(0, max(bar.value for bar in bars) or 1),
        value_formatter=lambda value: _number(value) + unit,
    )  # fmt: skip
    chart.x_labels = [bar.label for bar in reversed(bars)]
    chart.add("", [{"value": bar.value, "style": f"fill: var(--{_coloured(bar.colour)})"} for bar in reversed(bars)])
    drawn: str = chart.render(is_unicode=True)
    return drawn


def _draw_columns(shown: Sequence[Layer], times: Sequence[str]) -> str:
    pygal = _pygal()
    most = max(map(sum, zip(*(layer.values for layer in shown), strict=True)))
    chart = pygal.StackedBar(
        css=(), js=(), disable_xml_declaration=True, no_prefix=True, explicit_size=False,
        width=WIDTH, height=160, margin=4, margin_left=8, spacing=4, rounded_bars=0, show_legend=False, show_y_guides=False,
        style=pygal.style.Style(label_font_size=12, major_label_font_size=12), range=(0, most),
        truncate_label=-1, value_formatter=_number, y_labels=[0, most],
    )  # fmt: skip
    every = max(1, len(times) // 4)  # as many as stand beside each other
    chart.x_labels = [time if place % every == 0 else "" for place, time in enumerate(times)]
    for layer in shown:
        chart.add("", [{"value": value, "style": f"fill: var(--{_coloured(layer.colour)})"} for value in layer.values])
    drawn: str = chart.render(is_unicode=True)
    return drawn


def _static(svg: str) -> str:
    """Return the drawing alone: no script, style, tool-tip or chance-made id, so that the same numbers give the same bytes."""
    ElementTree.register_namespace("", _SVG)
    root = ElementTree.fromstring(svg)  # noqa: S314 — pygal wrote it a moment ago
    _prune(root)
    root.attrib.pop("id", None)
    root.set("role", "img")
    root.set("aria-hidden", "true")  # the page says the same in words beside it
    return ElementTree.tostring(root, encoding="unicode")


def _prune(element: ElementTree.Element) -> None:
    for child in list(element):
        tag = child.tag.rpartition("}")[2] if isinstance(child.tag, str) else "script"
        if tag in _DROPPED or "tooltip" in child.get("class", "").split():
            element.remove(child)
        else:
            _prune(child)


def _coloured(name: str) -> str:
    return name if name in _COLOURS else "accent"


def _shortened(label: str) -> str:
    text = plain(label)
    return text if len(text) <= LABEL_CHARS_MAX else "…" + text[-(LABEL_CHARS_MAX - 1) :]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value == int(value) else f"{value:,.2f}"
