"""A report as Markdown and as one HTML file, from the templates beside this file.

Every cell is escaped here by what it is: Markdown through `safe_text`, HTML by Jinja's autoescape. The only markup that passes
unescaped is a chart's SVG, which `charts.py` made and stripped. Called by `write.py`.
"""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from amas.agents.skills.rendering import environment
from amas.agents.skills.report.model import Cell, Report, TaskRef
from amas.agents.skills.safe_text import md, md_code, md_fence, plain, plain_block

if TYPE_CHECKING:
    import jinja2

CELL_CHARS_MAX = 700


def to_markdown(report: Report) -> str:
    """Return the report as Markdown."""
    return _environment(html=False).get_template("report.md.j2").render(report=report)


def to_html(report: Report) -> str:
    """Return the report as one HTML document that needs no network and no script."""
    return _environment(html=True).get_template("report.html.j2").render(report=report)


def md_cell(cell: Cell) -> str:
    """Return a cell's Markdown."""
    if cell.kind == "tasks":
        return md_refs(cell.refs)
    if cell.kind == "link":
        return f"[{md_code(cell.text)}]({md_href(cell.href)})"
    return md_code(cell.text, chars_max=CELL_CHARS_MAX) if cell.kind == "code" else md(cell.text, chars_max=CELL_CHARS_MAX)


def md_refs(refs: tuple[TaskRef, ...]) -> str:
    """Return links to the appendix."""
    return " ".join(f"[{md_code(ref.short)}](#{ref.anchor})" for ref in refs)


def md_href(href: str) -> str:
    """Return a relative address with all but plain characters percent-encoded."""
    from urllib.parse import quote

    return quote(href, safe="/._-")


@cache
def _environment(*, html: bool) -> "jinja2.Environment":
    return environment(
        [Path(__file__).parent / "templates"],
        html=html,
        plain=lambda value: plain(value, chars_max=CELL_CHARS_MAX),
        md=lambda value: md(value, chars_max=2000),
        block=plain_block,
        fence=md_fence,
        href=md_href,
        cell=md_cell,
        refs=md_refs,
    )
