"""Readers on small real files, the search's order, and claims that are true to their sources."""

import io
import zipfile
from pathlib import Path

import msgspec
import pptx
import pytest
from documents import pdf, sheet, slides, word

from amas.agents.skills.research import extract, read, tables
from amas.agents.skills.research.compose import Found, compose
from amas.agents.skills.research.passages import Citation, Claim, Passage
from amas.agents.skills.research.search import Ranked, topic_of
from amas.agents.skills.research.write import write_research
from amas.artifacts.store import ArtifactStore
from amas.core.quality import passage_texts, unsourced


def _read(path: str, blob: bytes) -> list[tuple[str, str]]:
    passages, _, trouble = read.read_document(path, blob)
    assert not trouble
    return [(passage.place, passage.text) for passage in passages]


def _passages(*texts: str) -> list[Passage]:
    return [Passage(id=f"a.txt#{n}", path="a.txt", place=f"line {n}", text=text) for n, text in enumerate(texts, 1)]


def test_text_is_read_with_the_line_of_each_paragraph() -> None:
    assert _read("a.txt", b"one\ntwo\n\n\nthree\n") == [("line 1", "one two"), ("line 5", "three")]


def test_markdown_is_read_under_its_headings_with_its_tables() -> None:
    text = b"# Prices\nSee *this* [page](http://x).\n\n| Plan | Price |\n|---|---|\n| Pro | 20 |\n"
    assert _read("a.md", text) == [("heading 'Prices'", "See this page."), ("heading 'Prices', row 2", "Plan: Pro; Price: 20")]


def test_html_is_read_without_scripts_and_links_back() -> None:
    text = b"<title>T</title><nav><p>menu</p></nav><script>x</script><h1>H</h1><p>A <b>bold</b> word</p><ul><li>One</li></ul>"
    assert _read("a.html", text) == [("heading 'H'", "A bold word"), ("heading 'H'", "One")]
    grid = b"<table><tr><th>Plan</th><th>Price</th></tr><tr><td>Pro</td><td>20</td></tr></table>"
    loose = b"<body>Top<div>Some<br><i>loose</i> words<p>Twice</p><p>Twice</p>tail</div></body>"
    assert [text for _, text in _read("c.html", loose)] == ["Top", "Some loose words", "Twice", "Twice", "tail"]
    assert _read("b.html", grid) == [("start, row 2", "Plan: Pro; Price: 20")]


def test_csv_is_read_by_rows_of_the_file() -> None:
    assert _read("a.csv", b"Plan;Price\n\nPro;20\n") == [("row 3", "Plan: Pro; Price: 20")]


def test_a_csv_with_quotes_inside_keeps_its_cells() -> None:
    assert _read("a.csv", b'Plan,Note\nPro,"the ""best"", they say"\n') == [("row 2", 'Plan: Pro; Note: the "best", they say')]


def test_a_long_table_is_cut_and_says_so() -> None:
    blob = b"n,square\n" + b"".join(b"%d,%d\n" % (n, n * n) for n in range(read.ROWS_MAX + 5))
    passages, (table,), trouble = read.read_document("a.csv", blob)
    assert len(passages) == len(table.rows) == read.ROWS_MAX
    assert trouble == f"only the first {read.ROWS_MAX} rows of a table were read"


def test_an_office_file_that_would_unpack_to_too_much_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "UNPACKED_BYTES_MAX", 2**20)
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("word/document.xml", bytes(2**20 + 1))
    assert read.read_document("a.docx", file.getvalue()) == ([], [], "it unpacks to more than 1 MiB")


def office(*members: tuple[str, int]) -> bytes:
    """Return an archive whose members are so many zeros: a thousandth of that."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, size in members:
            archive.writestr(name, bytes(size))
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "blob", "trouble"),
    [
        ("bomb.docx", office(("word/document.xml", 13 << 20)), "its XML unpacks to more than 12 MiB"),
        ("hidden.docx", office(("word/picture.png", 13 << 20)), "its XML unpacks to more than 12 MiB"),
        (
            "split.pptx",
            office(*((f"ppt/slide{n}.xml", 1 << 20) for n in range(13))),
            "its XML unpacks to more than 12 MiB",
        ),
        ("bomb.xlsx", office(("xl/sharedStrings.xml", 129 << 20)), "its XML unpacks to more than 128 MiB"),
        ("bomb.html", b"<p>a" * 500_000, "it has more than 100000 elements"),
        ("long.csv", b"," * (17 << 20), "it is larger than 16 MiB"),
        ("long.md", b"a\n\n" * (6 << 20), "it is larger than 16 MiB"),
        ("many.md", b"a\n\n" * 100_001, "only its first 100000 pieces were read"),
    ],
)
def test_a_document_that_would_take_a_host_s_memory_is_named_and_left(name: str, blob: bytes, trouble: str) -> None:
    passages, tables, told = read.read_document(name, blob)
    assert (told, tables) == (trouble, []) and len(passages) <= read.BLOCKS_MAX


@pytest.mark.parametrize(
    ("name", "blob", "trouble"),
    [
        ("brackets.md", b"[" * 1_000_000, ""),
        ("links.md", b"[a](" * 300_000, ""),
        ("dashes.md", b"|a\n" + b"-" * 1_000_000 + b"x", ""),
        ("one-line.txt", b"a " * 7_000_000, ""),
        ("comments.html", b"<!--" * 150_000, "it holds no text"),
        ("breaks.html", b"<br>" * 20_000, "it holds no text"),
        ("tables.html", b"<table><tr><td>x" * 5_000, f"its elements are nested more than {read.NESTING_MAX} deep"),
    ],
)
def test_a_document_costs_by_its_size_and_not_by_its_square(name: str, blob: bytes, trouble: str) -> None:
    """Each of these took from minutes to days; there is nothing to assert of that but that the test ends."""
    assert read.read_document(name, blob)[2] == trouble


def test_the_words_of_a_cell_belong_to_the_innermost_table() -> None:
    blob = b"<p>before<table><tr><td><p>a<table><tr><td>b<td>c<tr><td>d<td>e</table></td></tr></table>after"
    _, tables, _ = read.read_document("a.html", blob)
    assert [(table.columns, table.rows) for table in tables][-1] == (["b", "c"], [["d", "e"]])


def test_pdf_is_read_by_page() -> None:
    assert _read("a.pdf", pdf("First page.", "Second page.")) == [("page 1", "First page."), ("page 2", "Second page.")]


def test_office_files_are_read_with_their_places() -> None:
    assert _read("a.docx", word()) == [
        ("heading 'Adoption'", "Half of the AI market trends in our survey come from small companies."),
        ("heading 'Adoption', row 2", "Sector: Banks; Share: 40 %"),
    ]
    assert _read("a.xlsx", sheet())[0] == ("sheet 'Prices', row 2", "Vendor: Acme; AI market price: 20")
    assert _read("a.pptx", slides()) == [
        ("slide 1", "Outlook"),
        ("slide 1", "The AI market will double its trends towards agents by 2030."),
        ("slide 1, notes", "Ask the analysts about the forecast."),
    ]


def test_text_in_a_group_on_a_slide_and_in_a_frame_of_one_row_is_read() -> None:
    deck = pptx.Presentation()
    shapes = deck.slides.add_slide(deck.slide_layouts[6]).shapes
    shapes.add_group_shape().shapes.add_textbox(0, 0, 9, 9).text_frame.text = "Grouped"
    file = io.BytesIO()
    deck.save(file)
    assert _read("a.pptx", file.getvalue()) == [("slide 1", "Grouped")]
    assert _read("a.html", b"<table><tr><td>Framed</td><td>text</td></tr></table>") == [("start", "Framed text")]


@pytest.mark.parametrize("name", ["a.pdf", "a.docx", "a.xlsx", "a.pptx", "a.txt", "a.csv"])
def test_a_damaged_file_says_so_and_gives_nothing(name: str) -> None:
    passages, grids, trouble = read.read_document(name, b"\x00\x01 no document")
    assert (passages, grids) == ([], [])
    assert trouble


def test_a_long_paragraph_falls_into_passages_at_sentences() -> None:
    passages, _, _ = read.read_document("a.txt", b"This sentence has some words in it. " * 100)
    assert len(passages) == 3
    assert all(passage.text.endswith(".") and len(passage.text) <= read.PASSAGE_CHARS_MAX for passage in passages)


def test_search_ranks_rare_words_above_common_ones_and_finds_no_stranger() -> None:
    found = Ranked(_passages("the market", "the market and the quantum leap", "herring")).search("quantum markets", limit=5)
    assert [passage.id for passage, _ in found] == ["a.txt#2", "a.txt#1"]


@pytest.mark.parametrize(
    ("goal", "topic"),
    [
        ("Research AI market trends and create presentation", "AI market trends"),
        ("Research competitor pricing and create report", "competitor pricing"),
        ("Research competitor pricing and create report and slides", "competitor pricing"),
        ("Create a report on tin and its uses", "on tin and its uses"),
        ("Please research the price of tin. Write a short report", "the price of tin"),
    ],
)
def test_a_goals_topic_is_what_it_is_about(goal: str, topic: str) -> None:
    assert topic_of(goal) == topic


def test_claims_are_sentences_of_their_passages_and_an_invented_one_is_told() -> None:
    passages = _passages(
        "It rained a lot on that day. The tin price rose by 5 % in spring.", "Nothing of the sort here, friends."
    )
    hits = extract.search_passages(passages, "tin price")
    (claim,) = extract.claims_of(hits, passages, "tin price")
    assert claim.text == "The tin price rose by 5 % in spring."
    texts = passage_texts([{"id": each.id, "text": each.text} for each in passages])
    honest = {"text": claim.text, "citations": [{"id": claim.citations[0].id, "quote": claim.citations[0].quote}]}
    assert unsourced([honest], texts) == []
    for false in (
        [],
        [{"id": "a.txt#1", "quote": "The tin price fell."}],
        [{"id": "b.txt#1", "quote": claim.text}],
        [{"id": "a.txt#1"}],
    ):
        assert unsourced([{"text": "Invented", "citations": false}], texts) == ["Invented"]


def test_a_tables_numbers_are_compared_in_one_unit_only() -> None:
    blob = b'Year,Plan,Price,Mixed\n2024,Free,$0,1 EUR\n2025,Pro,"$1,200",2 USD\n2025,Team,$90,3 EUR\n'
    passages, (table,), _ = read.read_document("a.csv", blob)
    (claim,) = tables.claims_of(table, {passage.id: passage for passage in passages})
    assert claim.text == "Price: highest Pro ($1,200), lowest Free ($0), of 3"
    assert [each.place for each in claim.citations] == ["row 3", "row 2"]


def test_with_nothing_to_search_the_report_says_so() -> None:
    found = Found(goal="Research tin", documents=0, claims=[], figures=[], tables=[], unread=[], missing=[], notes=[])
    report = compose(found)
    assert "nothing to search" in report.headline
    assert (report.statements, report.sources) == ([], [])


def test_markup_in_a_document_stays_text_in_every_form(tmp_path: Path) -> None:
    hostile = "Tin <script>alert(1)</script> rose | [by](http://evil.example) \x07 five percent."
    claim = Claim(text=hostile, citations=[Citation(id="a.txt#1", path="<b>.txt", place="line 1", quote=hostile)])
    store = ArtifactStore(tmp_path / "store")
    specialist = {"capability": "research.extract", "claims_ref": store.put_json([msgspec.to_builtins(claim)])}
    reading = {"capability": "research.read", "figures": {"documents": 1}}
    both = [{**each, "findings_ref": store.put_json([])} for each in (specialist, reading)]
    made = write_research(
        {"goal": "Research tin and make slides"}, {"gate/research": {"specialists": both}}, store, tmp_path / "out"
    )
    assert made["files"] == [
        "report.md",
        "report.html",
        "citations.json",
        "findings.json",
        "report.json",
        "deck.html",
        "deck.pptx",
    ]
    for name in ("report.md", "report.html", "deck.html"):
        text = (tmp_path / "out" / name).read_text()
        assert "five percent" in text
        assert "<script>" not in text and "<b>" not in text
    assert "[by](" not in (tmp_path / "out" / "report.md").read_text()
    assert len(pptx.Presentation(str(tmp_path / "out" / "deck.pptx")).slides) == 3
