"""Documents made to cost: each is named with the reason, in bounded time and memory, and the next one is read.

The limits are smaller here than a host's, so that the tests end; who reads without any doesn't end at all.
"""

import io
import struct
import zipfile
import zlib
from pathlib import Path

import docx
import openpyxl
import pytest
from documents import pdf, word

from amas.agents.skills.research import read
from amas.agents.skills.research.apart import Apart

CPU_S, MEMORY_BYTES = 2, 1 << 29
WORD = b'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
LAUGHS = b"".join(b'<!ENTITY %c "%s">' % (98 + level, b"&%c;" % (97 + level) * 10) for level in range(9))


def with_members(blob: bytes, **changed: bytes) -> bytes:
    """Return an Office file with the members whose names end so (`document`: document.xml) replaced."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(blob)) as old, zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as new:
        for name in old.namelist():
            stem = Path(name).stem
            new.writestr(name, changed.get(stem, old.read(name)))
    return made.getvalue()


def document(body: bytes, *, before: bytes = b"", **changed: bytes) -> bytes:
    made = io.BytesIO()
    docx.Document().save(made)
    whole = b'<?xml version="1.0"?>%s<w:document %s><w:body>%s</w:body></w:document>' % (before, WORD, body)
    return with_members(made.getvalue(), document=whole, **changed)


def styles(count: int) -> bytes:
    one = b'<w:style w:type="paragraph" w:styleId="s%d"><w:name w:val="n"/></w:style>'
    return b'<?xml version="1.0"?><w:styles %s>%s</w:styles>' % (WORD, b"".join(one % number for number in range(count)))


def workbook(rows: int, column: str, sheets: int = 1) -> bytes:
    book, made = openpyxl.Workbook(), io.BytesIO()
    for _ in range(sheets - 1):
        book.create_sheet()
    book.save(made)
    row = b'<row r="%d"><c r="A%d"><v>1</v></c><c r="%s%d"><v>1</v></c></row>'
    cells = b"".join(row % (number, number, column.encode(), number) for number in range(1, rows + 1))
    main = b"http://schemas.openxmlformats.org/spreadsheetml/2006/main"
    sheet = b'<worksheet xmlns="%s"><sheetData>%s</sheetData></worksheet>' % (main, cells)
    return with_members(made.getvalue(), **{f"sheet{number}": sheet for number in range(1, sheets + 1)})


def shared(count: int, size: int) -> bytes:
    """Return an archive whose directory names one member, of so many zeros, by so many names: each unpacks the same bytes."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("00000.xml", bytes(size))
    whole = made.getvalue()
    *_, length, begin, _ = struct.unpack("<4s4H2LH", whole[-22:])
    entry = whole[begin : begin + length]
    names = [entry.replace(b"00000.xml", b"%05d.xml" % number) for number in range(count)]
    end = struct.pack("<4s4H2LH", b"PK\5\6", 0, 0, count, count, count * length, begin, 0)
    return whole[:begin] + b"".join(names) + end


def pages(count: int, drawn: bytes) -> bytes:
    """Return a PDF whose pages all draw the same."""
    packed = zlib.compress(drawn, 9)
    kids = b" ".join(b"%d 0 R" % (4 + number) for number in range(count))
    font = b"<</Font<</F1<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>>>>>"
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Count %d/Kids[%s]>>" % (count, kids),
        b"<</Length %d/Filter/FlateDecode>>stream\n%s\nendstream" % (len(packed), packed),
        *[b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]/Contents 3 0 R/Resources%s>>" % font] * count,
    ]
    made, places = bytearray(b"%PDF-1.4\n"), []
    for number, content in enumerate(objects, 1):
        places.append(len(made))
        made += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    table = b"".join(b"%010d 00000 n \n" % place for place in places)
    size, at = len(objects) + 1, len(made)
    made += b"xref\n0 %d\n0000000000 65535 f \n%strailer<</Size %d/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (size, table, size, at)
    return bytes(made)


SPAN = b'<w:tbl><w:tr><w:tc><w:tcPr><w:gridSpan w:val="1000000000"/></w:tcPr><w:p/></w:tc></w:tr></w:tbl>'
STYLED = b'<w:p><w:pPr><w:pStyle w:val="none"/></w:pPr><w:r><w:t>a</w:t></w:r></w:p>'
CPU, MEMORY = f"more than {CPU_S} s of CPU", "memory"
COSTLY = {
    "one stream, drawn by ten thousand pages": ("a.pdf", lambda: pages(10_000, b"BT /F1 9 Tf (word) Tj ET\n" * 10_000), CPU),
    "a stream that unpacks to half a gigabyte": ("a.pdf", lambda: pages(1, bytes(MEMORY_BYTES)), ""),
    "a cell that spans a billion columns": ("a.docx", lambda: document(SPAN), ""),
    "styles looked for by every paragraph": ("a.docx", lambda: document(STYLED * 50_000, styles=styles(60_000)), CPU),
    "entities of entities": (
        "a.docx",
        lambda: document(b"<w:p><w:r><w:t>&j;</w:t></w:r></w:p>", before=b'<!DOCTYPE x [<!ENTITY a "ha">%s]>' % LAUGHS),
        "",
    ),
    "members that are all one and the same": ("a.docx", lambda: shared(10_000, 1 << 20), "unpacks to more than"),
    "thousands of sheets' worth of empty cells": ("a.xlsx", lambda: workbook(1_000, "XFD", sheets=40), ""),
}


@pytest.mark.parametrize("what", COSTLY)
def test_a_costly_document_is_named_and_the_next_is_read(tmp_path: Path, what: str) -> None:
    name, make, why = COSTLY[what]
    (tmp_path / name).write_bytes(make())
    (tmp_path / "good.pdf").write_bytes(pdf("First page."))
    (tmp_path / "good.docx").write_bytes(word())
    with Apart(cpu_s=CPU_S, memory_bytes=MEMORY_BYTES) as apart:
        passages, tables, trouble = apart.read(name, tmp_path / name)
        assert trouble and why in trouble, (len(passages), len(tables), trouble)
        assert "\n" not in trouble and len(trouble) < 300
        assert [each.text for each in apart.read("good.pdf", tmp_path / "good.pdf")[0]] == ["First page."]
        assert len(apart.read("good.docx", tmp_path / "good.docx")[0]) == 2


def test_a_table_that_is_too_wide_is_cut_and_says_so() -> None:
    """Each row is made as long as the first: a file of commas and two thousand short rows came to a hundred gigabytes."""
    _, (table,), trouble = read.read_document("a.csv", b"x" + b"," * (8 << 20) + b"\n" + b"y,z\n" * 1_999)
    assert (len(table.columns), len(table.rows)) == (read.COLUMNS_MAX, 1_999)
    assert trouble == "only the first 1000 columns of a table were read"
    _, (table,), trouble = read.read_document("a.xlsx", workbook(3, "XFD"))
    assert (len(table.columns), trouble) == (read.COLUMNS_MAX, "only the first 1000 columns of a table were read")


def test_the_cells_of_all_tables_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "CELLS_MAX", 100)
    _, tables, trouble = read.read_document("a.xlsx", workbook(21, "B", sheets=4))
    assert (len(tables), trouble) == (2, "only its first 2 tables were read: they have 100 cells at most")


def test_a_reader_that_breaks_is_told_of_and_so_is_a_file_that_went_away(tmp_path: Path) -> None:
    with Apart(cpu_s=CPU_S, memory_bytes=MEMORY_BYTES) as apart:
        assert apart.read("gone.pdf", tmp_path / "gone.pdf") == ([], [], "it can't be read: No such file or directory")
        assert apart._process is not None
        apart._process.kill()
        assert "to read" in apart.read("gone.pdf", tmp_path / "gone.pdf")[2]
        assert apart.read("gone.pdf", tmp_path / "gone.pdf")[2] == "it can't be read: No such file or directory"
