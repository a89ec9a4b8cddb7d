"""Hostile words in Markdown and in plots."""

import pytest
from markdown_it import MarkdownIt

from amas.agents.skills.charts import Bar, bar_chart, charts_of
from amas.agents.skills.safe_text import md, md_code, md_fence, plain

HOSTILE = [
    "<script>alert(1)</script>",
    "a|b`c``d",
    "![x](http://evil.example/x.png)",
    "[x](javascript:alert(1))",
    "`",
    "\\`<b>",
    "line\nbreak | # h",
    "</code></td><img src=x onerror=alert(1)>",
]


@pytest.mark.parametrize("word", HOSTILE)
@pytest.mark.parametrize("escape", [md, md_code])
def test_a_word_stays_one_cell_of_text(word: str, escape) -> None:
    page = MarkdownIt("gfm-like", {"linkify": False, "html": True}).render(f"| a | b |\n|---|---|\n| {escape(word)} | end |\n")
    assert page.count("<td") == 2
    assert "end</td>" in page
    for tag in ("<script", "<img", "<a ", "<b>"):
        assert tag not in page


def test_a_fence_cannot_be_closed_from_inside() -> None:
    page = MarkdownIt("commonmark", {"html": True}).render(md_fence("```\n<script>x</script>\n````"))
    assert "<script" not in page
    assert page.count("<pre>") == 1


def test_control_characters_direction_marks_and_surrogates_are_shown() -> None:
    assert plain("a\x1b[31m\u202eb\ud800") == "a\\u001b[31m\\u202eb\\ud800"


def test_plots_hold_no_script_and_escape_their_labels() -> None:
    chart = bar_chart("x", "X", [Bar("</svg><script>1</script>", 3, "error"), Bar("b", 1, "url(http://x)")])
    assert chart is not None
    assert "<script" not in chart.svg
    assert "http" not in chart.svg.replace("http://www.w3.org/2000/svg", "")
    assert chart.svg.count('class="rect') == 2
    assert chart == bar_chart("x", "X", [Bar("</svg><script>1</script>", 3, "error"), Bar("b", 1, "url(http://x)")])


def test_nothing_to_compare_draws_nothing() -> None:
    assert bar_chart("x", "X", [Bar("a", 0)]) is None
    assert charts_of({"review": {"specialists": [{"counts": {"error": 0}}]}}) == []
