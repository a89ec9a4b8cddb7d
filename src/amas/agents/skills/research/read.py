"""`research.read`: documents into passages and tables. Formats: Markdown, HTML, CSV and TSV, PDF, docx, xlsx, pptx, plain text.

Each reader takes bytes and gives a document's blocks: a passage of text with its place, or a table. A file that can't be read is
named with the reason and never fails the others. Must never fetch what a document links to, nor run what it holds.
"""

import asyncio
import csv
import io
import re
import zipfile
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby, islice
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

import msgspec

from amas.agents.base import agent
from amas.agents.context import Context
from amas.agents.skills.findings import Analysis, Finding, Scope, Tool, Unread, specialist
from amas.agents.skills.research.apart import Apart
from amas.agents.skills.research.passages import Passage, Table, one_line
from amas.model.task import Json

if TYPE_CHECKING:
    from bs4 import BeautifulSoup, Tag

DOCUMENT_BYTES_MAX = 64 * 2**20
"""A larger file is a data set or a film, not a document."""
TEXT_BYTES_MAX = 16 * 2**20
"""The same of what is nothing but text: ten times a thick book."""
UNPACKED_BYTES_MAX = 512 * 2**20
"""What an Office file may unpack to: a bomb is far above, a book far below."""
TREE_BYTES_MAX = 12 * 2**20
"""What of that may be XML that is read as a tree, which takes many times as much memory."""
STREAM_BYTES_MAX = 128 * 2**20
"""The same of XML that is read piece by piece, as a table's is."""
ELEMENTS_MAX = 100_000
"""Of an HTML page, which is read as a tree."""
BLOCKS_MAX = 100_000
"""Pieces of text, and tables, that are read of one document."""
NESTING_MAX = 200
"""Elements of HTML within one another: browsers give up at 512, and a cell is gone through once for each table around it."""
ROWS_MAX = 2_000
"""Rows read of one table; a table that has more is cut, and that is said."""
COLUMNS_MAX = 1_000
"""The same of columns: each row is made as long as the first, and a file of commas would have millions of them."""
CELLS_MAX = 2_000_000
"""Of all tables of a document: a workbook may have thousands of sheets, each of which ends at its last column."""
PASSAGE_CHARS_MAX = 1_500
"""A passage above it is cut at a sentence, so that a citation leads to a place that a person can find."""


class Text(msgspec.Struct, frozen=True):
    """Running text at a place."""

    place: str
    text: str
    heading: str = ""


class Grid(msgspec.Struct, frozen=True):
    """A table at a place: its first row names the columns."""

    place: str
    rows: list[list[str]]
    title: str = ""


Block = Text | Grid
Reader = Callable[[bytes], Iterator[Block]]


_HEADINGS = ["h1", "h2", "h3", "h4", "h5", "h6"]
_BLOCKS = {
    *_HEADINGS, "p", "li", "blockquote", "pre", "dt", "dd", "figcaption", "div", "section", "article", "main", "aside", "header",
    "footer", "form", "ul", "ol", "dl", "body",
}  # fmt: skip
"""HTML elements that start a paragraph."""


_MARKUP = re.compile(r"\[([^\[\]]*)\]\([^()]*\)|[*_`]{1,3}(?=\S)|(?<=\S)[*_`]{1,3}")
"""Links and emphasis of Markdown; no bracket within a link, or a row of opening ones would be gone through from each of them."""


_GAP = re.compile(r"\n[ \t]*\n")


class Unreadable(Exception):
    """A document that its reader can't make sense of; the message is for the report."""


def read_text(blob: bytes) -> Iterator[Block]:
    """Yield a plain text's paragraphs."""
    for line, paragraph in _paragraphs(_decoded(blob)):
        yield Text(f"line {line}", paragraph)


def read_markdown(blob: bytes) -> Iterator[Block]:
    """Yield paragraphs and tables under the headings that they stand below."""
    heading = ""
    for line, paragraph in _paragraphs(re.sub(r"^(#{1,6} .*)$", r"\1\n", _decoded(blob), flags=re.MULTILINE)):
        rows = paragraph.splitlines()
        if re.match(r"#{1,6} ", rows[0]):
            heading = rows[0].lstrip("# ").strip()
            continue
        place = f"heading {heading!r}" if heading else f"paragraph {line}"
        if len(rows) > 1 and "-" in rows[1] and set(rows[1]) <= set("|:- \t") and "|" in rows[0]:
            yield Grid(place, [_bar_cells(row) for row in [rows[0], *rows[2:]]], heading)
        else:
            yield Text(place, _MARKUP.sub(r"\1", paragraph), heading)


def read_html(blob: bytes) -> Iterator[Block]:
    """Yield an HTML page's text by its block elements, scripts and navigation left out."""
    from bs4 import BeautifulSoup

    if blob.count(b"<") > 2 * ELEMENTS_MAX:  # each is begun and ended
        raise Unreadable(f"it has more than {ELEMENTS_MAX} elements")
    soup = BeautifulSoup(blob, "lxml")  # Python's own parser takes quadratic time for unclosed comments
    for junk in soup(["script", "style", "noscript", "template", "nav"]):
        junk.decompose()
    for line_break in soup("br"):
        line_break.append("\n")  # to replace it would look for its place among all that its parent holds
    heading = one_line(soup.title.extract().get_text(" ", strip=True)) if soup.title else ""
    block_of = _blocks(soup)
    blocks = [(block_of[id(string.parent)], string) for string in soup.strings]
    for _, group in groupby(blocks, key=lambda pair: id(pair[0])):  # not by ==, which takes equal text for the same place
        strings = list(group)
        block, text = strings[0][0], one_line("".join(string for _, string in strings))
        if block is None or block.name not in {*_HEADINGS, "table"}:
            yield Text(_under(heading), text, heading)
        elif block.name == "table":
            rows = [[one_line(cell.get_text(" ", strip=True)) for cell in row(["th", "td"])] for row in block("tr")]
            yield Grid(_under(heading), rows, heading)
        else:
            heading = text or heading


def _blocks(soup: "BeautifulSoup") -> "dict[int, Tag | None]":
    """Return by an element's `id` what its words belong to: the innermost table around them, else the innermost block."""
    found: dict[int, tuple[int, Tag | None]] = {id(soup): (0, None)}
    for element in soup.find_all(True):
        depth, around = found[id(element.parent)]
        if depth == NESTING_MAX:
            raise Unreadable(f"its elements are nested more than {NESTING_MAX} deep")
        in_table = around is not None and around.name == "table"
        starts = element.name == "table" or (element.name in _BLOCKS and not in_table)
        found[id(element)] = (depth + 1, element if starts else around)
    return {key: around for key, (_, around) in found.items()}


def read_csv(blob: bytes) -> Iterator[Block]:
    """Yield the one table of a CSV or TSV file, its separator found out."""
    text = _decoded(blob)
    try:
        separator = csv.Sniffer().sniff(text[:8192], delimiters=",;\t|").delimiter
    except csv.Error:  # one column, or none that repeats
        separator = ","
    try:
        rows = csv.reader(io.StringIO(text), delimiter=separator)
        yield Grid("row", [[one_line(cell) for cell in row[: COLUMNS_MAX + 1]] for row in islice(rows, ROWS_MAX + 2)])
    except csv.Error as error:
        raise Unreadable(f"it is no table: {error}") from error


def read_pdf(blob: bytes) -> Iterator[Block]:
    """Yield a PDF's text, by page."""
    from pypdf import PdfReader

    reader = PdfReader(io.BytesIO(blob))
    if reader.is_encrypted and not reader.decrypt(""):
        raise Unreadable("it is locked with a password")
    for number, page in enumerate(reader.pages, 1):
        for _, paragraph in _paragraphs(page.extract_text()):
            yield Text(f"page {number}", paragraph)


def read_docx(blob: bytes) -> Iterator[Block]:
    """Yield a Word document's paragraphs and tables, in their order."""
    from docx import Document
    from docx.table import Table as WordTable

    heading = ""
    for item in Document(_unpackable(blob, TREE_BYTES_MAX)).iter_inner_content():
        if isinstance(item, WordTable):
            yield Grid(_under(heading), [[one_line(cell.text) for cell in row.cells] for row in item.rows], heading)
        elif item.style is not None and (item.style.name or "").startswith(("Heading", "Title")):
            heading = one_line(item.text)
        else:
            yield Text(_under(heading), item.text, heading)


def read_xlsx(blob: bytes) -> Iterator[Block]:
    """Yield each sheet's table, formulas as the values that were saved with them."""
    from openpyxl import load_workbook

    book = load_workbook(_unpackable(blob, STREAM_BYTES_MAX), read_only=True, data_only=True)
    for sheet in book.worksheets:
        rows = islice(sheet.iter_rows(values_only=True), ROWS_MAX + 2)
        yield Grid(
            f"sheet {sheet.title!r}, row",
            [["" if cell is None else one_line(str(cell)) for cell in row[: COLUMNS_MAX + 1]] for row in rows],
            sheet.title,
        )


def read_pptx(blob: bytes) -> Iterator[Block]:
    """Yield each slide's text, tables and notes."""
    from pptx import Presentation

    for number, slide in enumerate(Presentation(_unpackable(blob, TREE_BYTES_MAX)).slides, 1):
        title = one_line(slide.shapes.title.text) if slide.shapes.title is not None else ""
        for shape in _ungrouped(slide.shapes):
            if shape.has_table:
                rows = [[one_line(cell.text) for cell in row.cells] for row in shape.table.rows]
                yield Grid(f"slide {number}", rows, title)
            elif shape.has_text_frame:
                yield Text(f"slide {number}", shape.text_frame.text, title)
        if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
            yield Text(f"slide {number}, notes", slide.notes_slide.notes_text_frame.text, title)


def _ungrouped(shapes: Any) -> Iterator[Any]:
    for shape in shapes:
        if hasattr(shape, "shapes"):
            yield from _ungrouped(shape.shapes)
        else:
            yield shape


READERS: dict[str, Reader] = {
    **{
        ".md": read_markdown,
        ".markdown": read_markdown,
        ".html": read_html,
        ".htm": read_html,
        ".csv": read_csv,
        ".tsv": read_csv,
    },
    **{".pdf": read_pdf, ".docx": read_docx, ".xlsx": read_xlsx, ".pptx": read_pptx, ".txt": read_text, ".rst": read_text},
}
"""By suffix."""
FOREIGN = frozenset({".html", ".htm", ".pdf", ".docx", ".xlsx", ".pptx"})
"""Those whose parsers aren't ours: they are read by a process of their own."""


def read_document(path: str, blob: bytes) -> tuple[list[Passage], list[Table], str]:
    """Return a document's passages and tables, and why it can't be read or was cut (empty when it was read whole)."""
    reader = READERS.get(PurePosixPath(path).suffix.lower())
    if reader is None:
        return [], [], f"its kind isn't read; these are: {', '.join(sorted(READERS))}"
    most = DOCUMENT_BYTES_MAX if reader in (read_pdf, read_docx, read_xlsx, read_pptx) else TEXT_BYTES_MAX
    if len(blob) > most:
        return [], [], f"it is larger than {most // 2**20} MiB"
    try:
        blocks = list(islice(reader(blob), BLOCKS_MAX + 1))
        passages, tables, cut = _assembled(path, blocks[:BLOCKS_MAX])
        if len(blocks) > BLOCKS_MAX:
            cut = f"only its first {BLOCKS_MAX} pieces were read"
    except Unreadable as error:
        return [], [], str(error)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - foreign parsers on foreign files raise whatever they like
        return [], [], f"its reader fails on it: {type(error).__name__}: {one_line(str(error))[:200]}"
    return passages, tables, cut or ("" if passages else "it holds no text")


def assess(scope: Scope) -> Analysis:
    """Return the documents of a scope, read."""
    passages: list[Passage] = []
    tables: list[Table] = []
    failed = []
    root = scope.root.resolve()
    with Apart() as apart:
        for path in scope.paths:
            full = root / path
            if not full.resolve().is_relative_to(root) or not full.is_file():
                failed.append(Unread(path, "no such file"))
                continue
            if full.suffix.lower() in FOREIGN:
                texts, grids, trouble = apart.read(path, full)
            else:
                texts, grids, trouble = read_document(path, full.read_bytes())
            passages += texts
            tables += grids
            failed += [Unread(path, trouble)] if trouble else []
    return Analysis(
        tool=Tool("amas research", "1", ""),
        covered=scope.paths,  # a file that can't be read is dealt with: it is named, with the reason
        findings=[_unread(each) for each in failed],
        figures={"documents": len({passage.path for passage in passages}), "passages": len(passages), "tables": len(tables)},
        artifacts={"passages": msgspec.to_builtins(passages), "tables": msgspec.to_builtins(tables)},
    )


@agent("research.read")
async def read(ctx: Context) -> Json:
    """Read the documents."""
    return await specialist(ctx, lambda scope: asyncio.to_thread(assess, scope))


def _unread(each: Unread) -> Finding:
    return Finding(
        rule="document",
        message=each.reason,
        path=each.path,
        line=0,
        column=0,
        severity="warning",
        category="sources",
        tool="read",
    )


def _assembled(path: str, blocks: list[Block]) -> tuple[list[Passage], list[Table], str]:
    passages: list[Passage] = []
    tables: list[Table] = []
    cut, cells = "", 0

    def add(place: str, text: str, heading: str) -> str:
        name = f"{path}#{len(passages) + 1}"
        passages.append(Passage(id=name, path=path, place=place, text=text, heading=heading))
        return name

    for block in blocks:
        if isinstance(block, Text):
            for piece in _pieces(one_line(block.text)):
                add(block.place, piece, block.heading)
            continue
        numbered = [(number, row) for number, row in enumerate(block.rows, 1) if any(row)]
        if len(numbered) < 2:  # no table: a frame around text
            for piece in _pieces(" ".join(cell for _, row in numbered for cell in row if cell)):
                add(block.place.removesuffix("row").rstrip(", ") or "row 1", piece, block.title)
            continue
        if any(len(row) > COLUMNS_MAX for _, row in numbered):
            cut = f"only the first {COLUMNS_MAX} columns of a table were read"
        cut = f"only the first {ROWS_MAX} rows of a table were read" if len(numbered) > ROWS_MAX + 1 else cut
        columns = numbered[0][1][:COLUMNS_MAX]
        cells += len(columns) * (min(len(numbered), ROWS_MAX + 1) - 1)
        if cells > CELLS_MAX:
            return passages, tables, f"only its first {len(tables)} tables were read: they have {CELLS_MAX:,} cells at most"
        body = [(number, [*row[:COLUMNS_MAX], *[""] * (len(columns) - len(row))]) for number, row in numbered[1 : ROWS_MAX + 1]]
        counted = block.place.endswith("row")
        ids = [
            add(f"{block.place} {number}" if counted else f"{block.place}, row {number}", _row_text(columns, row), block.title)
            for number, row in body
        ]
        place = (block.place.removesuffix("row").rstrip(", ") or "table") if counted else block.place
        tables.append(
            Table(path=path, place=place, title=block.title, columns=columns, rows=[row for _, row in body], row_ids=ids)
        )
    return passages, tables, cut


def _row_text(columns: list[str], row: list[str]) -> str:
    return "; ".join(f"{name}: {cell}" if name else cell for name, cell in zip(columns, row, strict=False) if cell)


def _pieces(text: str) -> Iterator[str]:
    """Yield a long text in pieces, cut behind a sentence or at least a word."""
    start = 0
    while len(text) - start > PASSAGE_CHARS_MAX:
        head = text[start : start + PASSAGE_CHARS_MAX]
        cut = head.rfind(". ") + 1 or head.rfind(" ")
        cut = cut if cut > 0 else PASSAGE_CHARS_MAX
        yield head[:cut].strip()
        start += cut + (text[start + cut] == " ")
    if start < len(text):
        yield text[start:]


def _paragraphs(text: str) -> Iterable[tuple[int, str]]:
    """Yield a text's paragraphs with the line (from 1) on which each starts."""
    text, line, start = text.replace("\r\n", "\n"), 1, 0
    while start <= len(text):  # piece by piece: a text may be nothing but blank lines
        gap = _GAP.search(text, start)
        piece = text[start : gap.start() if gap else len(text)]
        if piece.strip():
            yield line + len(piece) - len(piece.lstrip("\n")), piece.strip()
        end = gap.end() if gap else len(text) + 1
        line += text.count("\n", start, end)
        start = end


def _decoded(blob: bytes) -> str:
    if b"\0" in blob[:8192] and not blob.startswith((b"\xff\xfe", b"\xfe\xff")):
        raise Unreadable("it isn't text")
    if blob.startswith((b"\xff\xfe", b"\xfe\xff")):
        return blob.decode("utf-16", errors="replace")
    try:
        return blob.decode("utf-8-sig")
    except UnicodeDecodeError:
        return blob.decode("cp1252", errors="replace")


def _bar_cells(row: str) -> list[str]:
    return [
        one_line(cell.replace("\\|", "|")) for cell in re.split(r"(?<!\\)\|", row.strip().removeprefix("|").removesuffix("|"))
    ]


def _under(heading: str) -> str:
    return f"heading {heading!r}" if heading else "start"


def _may_be_xml(entry: zipfile.ZipInfo) -> bool:
    """Return whether a reader may take a member for XML, which it can be by any name: pictures and films hardly pack at all."""
    return entry.filename.lower().endswith((".xml", ".rels")) or entry.file_size > 4 * entry.compress_size


def _unpackable(blob: bytes, xml_bytes_max: int) -> io.BytesIO:
    """Return an Office file's bytes for its reader; Unreadable when it would unpack to too much, of XML or in all."""
    try:
        with zipfile.ZipFile(io.BytesIO(blob)) as archive:
            entries = archive.infolist()
            size = sum(entry.file_size for entry in entries)  # no reader gets more of one than it says here
            xml = sum(entry.file_size for entry in entries if _may_be_xml(entry))
    except zipfile.BadZipFile as error:
        raise Unreadable("it is damaged, or locked with a password") from error
    if size > UNPACKED_BYTES_MAX:
        raise Unreadable(f"it unpacks to more than {UNPACKED_BYTES_MAX // 2**20} MiB")
    if xml > xml_bytes_max:
        raise Unreadable(f"its XML unpacks to more than {xml_bytes_max // 2**20} MiB")
    return io.BytesIO(blob)
