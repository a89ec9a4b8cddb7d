"""The slide deck as a PowerPoint file by python-pptx: findings, tables with native charts, and sources. No text of its own.

Each slide's notes hold the quotes behind it, so that whoever presents can answer "says who?".
"""

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from amas.agents.skills.research.compose import Research, Shown, Statement
from amas.agents.skills.safe_text import plain

if TYPE_CHECKING:
    from pptx.presentation import Presentation

POINTS_PER_SLIDE = 4
SOURCES_PER_SLIDE = 8
ROWS_PER_SLIDE = 8
COLUMNS_MAX = 6
POINT_CHARS_MAX = 260


def to_pptx(report: Research) -> bytes:
    """Return the deck as the bytes of a .pptx file."""
    import pptx
    from pptx.util import Inches

    deck = pptx.Presentation()
    deck.slide_width, deck.slide_height = Inches(13.333), Inches(7.5)
    _title(deck, report)
    for heading, points in (("What the documents say", report.statements), ("What the figures say", report.figures)):
        for start in range(0, len(points), POINTS_PER_SLIDE):
            _points(deck, heading, points[start : start + POINTS_PER_SLIDE], report)
    for table in report.tables:
        _table(deck, table)
    listed = [f"[{one.number}] {one.path}, {one.place}" for one in report.sources]
    for start in range(0, len(listed), SOURCES_PER_SLIDE):
        _bullets(deck, "Sources", listed[start : start + SOURCES_PER_SLIDE], size=16)
    if report.unread:
        _bullets(deck, "What is missing", [f"{path}: {reason}" for path, reason in report.unread[:SOURCES_PER_SLIDE]], size=16)
    file = io.BytesIO()
    deck.save(file)
    return file.getvalue()


def _title(deck: "Presentation", report: Research) -> None:
    slide = deck.slides.add_slide(deck.slide_layouts[6])
    _write(slide, 2.2, report.title, size=40, bold=True, height=1.8)
    _write(slide, 4.2, report.headline, size=20, height=1.4)


def _points(deck: "Presentation", heading: str, points: Sequence[Statement], report: Research) -> None:
    texts = [f"{point.text} {numbers(point.sources)}" for point in points]
    slide = _bullets(deck, heading, texts, size=20)
    used = {number for point in points for number in point.sources}
    quotes = [f"[{one.number}] {one.path}, {one.place}: “{one.quote}”" for one in report.sources if one.number in used]
    slide.notes_slide.notes_text_frame.text = "\n".join(plain(quote, chars_max=2000) for quote in quotes)


def numbers(sources: Sequence[int]) -> str:
    """Return the marks that lead to sources: `[1][4]`."""
    return "".join(f"[{number}]" for number in sources)


def _bullets(deck: "Presentation", heading: str, texts: Sequence[str], *, size: int) -> Any:
    from pptx.util import Pt

    slide = deck.slides.add_slide(deck.slide_layouts[6])
    _write(slide, 0.4, heading, size=30, bold=True, height=0.9)
    frame = _write(slide, 1.5, "", size=size, height=5.5)
    for number, text in enumerate(texts):
        paragraph = frame.paragraphs[0] if number == 0 else frame.add_paragraph()
        run = paragraph.add_run()
        run.text, run.font.size = f"• {_cut(text)}", Pt(size)
        paragraph.space_after = Pt(12)
    return slide


def _cut(text: str) -> str:
    """Return a text short enough for a slide, its source marks kept."""
    body, mark, tail = text.rpartition(" [")
    return plain(body, chars_max=POINT_CHARS_MAX) + mark + tail if mark else plain(text, chars_max=POINT_CHARS_MAX)


def _table(deck: "Presentation", table: Shown) -> None:
    from pptx.util import Inches, Pt

    slide = deck.slides.add_slide(deck.slide_layouts[6])
    _write(slide, 0.4, table.title, size=30, bold=True, height=0.9)
    rows, columns = table.rows[:ROWS_PER_SLIDE], table.columns[:COLUMNS_MAX]
    width = 6.2 if table.charts else 12.1
    grid = slide.shapes.add_table(
        len(rows) + 1, len(columns), Inches(0.6), Inches(1.5), Inches(width), Inches(0.4 * (len(rows) + 1))
    ).table
    for number, row in enumerate([columns, *rows]):
        for column, cell in enumerate(row[: len(columns)]):
            frame = grid.cell(number, column).text_frame
            frame.text = plain(cell, chars_max=80)
            frame.paragraphs[0].font.size = Pt(14)
    if table.charts:
        _chart(slide, table)
    left = len(table.rows) - len(rows) + table.left_out
    _write(slide, 6.7, f"Source: {table.where}" + (f"; {left} more rows there" if left else ""), size=12, height=0.5)


def _chart(slide: Any, table: Shown) -> None:
    from pptx.chart.data import CategoryChartData
    from pptx.enum.chart import XL_CHART_TYPE
    from pptx.util import Inches

    chart = table.charts[0]
    data: Any = CategoryChartData()  # type: ignore[no-untyped-call]
    data.categories = [plain(label, chars_max=40) for label, _, _ in chart.bars]
    data.add_series(plain(chart.name, chars_max=80), [value for _, value, _ in chart.bars])
    slide.shapes.add_chart(XL_CHART_TYPE.BAR_CLUSTERED, Inches(7.0), Inches(1.4), Inches(5.8), Inches(5.0), data)


def _write(slide: Any, top: float, text: str, *, size: int, height: float, bold: bool = False) -> Any:
    from pptx.util import Inches, Pt

    frame = slide.shapes.add_textbox(Inches(0.6), Inches(top), Inches(12.1), Inches(height)).text_frame
    frame.word_wrap = True
    if text:
        run = frame.paragraphs[0].add_run()
        run.text, run.font.size, run.font.bold = plain(text), Pt(size), bold
    return frame
