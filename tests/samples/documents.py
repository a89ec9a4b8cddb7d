"""A folder of small documents, one of each kind that research reads."""

import io
from pathlib import Path
from typing import Any

import docx
import openpyxl
import pptx


def pdf(*pages: str) -> bytes:
    """Return a PDF with a line of text on each page."""
    objects = ["<< /Type /Catalog /Pages 2 0 R >>", "", "<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>"]
    kids = []
    for text in pages:
        stream = f"BT /F1 12 Tf 72 720 Td ({text}) Tj ET"
        kids.append(f"{len(objects) + 1} 0 R")
        objects.append(
            "<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Resources << /Font << /F1 3 0 R >> >> "
            f"/Contents {len(objects) + 2} 0 R >>"
        )
        objects.append(f"<< /Length {len(stream)} >>\nstream\n{stream}\nendstream")
    objects[1] = f"<< /Type /Pages /Kids [{' '.join(kids)}] /Count {len(pages)} >>"
    out, places = b"%PDF-1.4\n", []
    for number, body in enumerate(objects, 1):
        places.append(len(out))
        out += f"{number} 0 obj\n{body}\nendobj\n".encode()
    table = "".join(f"{place:010} 00000 n \n" for place in places)
    trailer = f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(out)}\n%%EOF\n"
    return out + f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}{trailer}".encode()


def word() -> bytes:
    """Return a Word document with a heading, a paragraph and a table."""
    document = docx.Document()
    document.add_heading("Adoption", 1)
    document.add_paragraph("Half of the AI market trends in our survey come from small companies.")
    table = document.add_table(rows=2, cols=2)
    for row, cells in zip(table.rows, (("Sector", "Share"), ("Banks", "40 %")), strict=True):
        for cell, text in zip(row.cells, cells, strict=True):
            cell.text = text
    return _saved(document)


def sheet() -> bytes:
    """Return a workbook with one sheet of prices."""
    book = openpyxl.Workbook()
    book.active.title = "Prices"
    for row in (("Vendor", "AI market price"), ("Acme", 20), ("Globex", 35)):
        book.active.append(row)
    return _saved(book)


def slides() -> bytes:
    """Return a deck with one slide and its notes."""
    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[1])
    slide.shapes.title.text = "Outlook"
    slide.placeholders[1].text = "The AI market will double its trends towards agents by 2030."
    slide.notes_slide.notes_text_frame.text = "Ask the analysts about the forecast."
    return _saved(deck)


def fill(folder: Path) -> Path:
    """Write one document of each kind into a folder and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {
        "market.md": b"# Trends\n\nThe AI market grew by 30 % in 2025. Trends point to *smaller* models.\n\n"
        b"| Vendor | Revenue |\n|---|---|\n| Acme | 120 |\n| Globex | 80 |\n\n## Fish\n\nHerring is sold on Tuesdays only.\n",
        "page.html": b"<html><head><title>News</title><script>AI market trends in a script</script></head><body><h2>Chips</h2>"
        b"<p>Scarce chips slow the AI market down, &amp; trends follow.</p></body></html>",
        "revenue.csv": b"Company;AI market revenue\nAcme;$1,200\nGlobex;$800\n",
        "study.pdf": pdf("An introduction that says nothing.", "AI market trends favour open models this year."),
        "survey.docx": word(),
        "prices.xlsx": sheet(),
        "outlook.pptx": slides(),
        "note.txt": b"Remember the milk and the eggs.\n\nInvestors follow AI market trends closely.\n",
        "broken.pdf": b"%PDF-1.4 and then nothing",
        "photo.jpg": b"\xff\xd8\xff",
    }
    for name, blob in files.items():
        (folder / name).write_bytes(blob)
    return folder


def _saved(thing: Any) -> bytes:
    file = io.BytesIO()
    thing.save(file)
    return file.getvalue()
