"""Research goals through the whole hierarchy on a real host: a report and a deck whose citations lead to the documents."""

import io
import json
import re
from pathlib import Path
from typing import Any

import pptx
import pytest
from documents import fill
from host_bench import Bench

from amas.agents.skills.research.read import read_document
from amas.fleet.load import load_fleet
from amas.platforms.local.home import Home
from amas.platforms.local.host import fleet_facts

from .conftest import deliver


async def _deliver(bench: Bench, text: str, folder: Path | None) -> dict[str, Any]:
    spec = fleet_facts(load_fleet("amas", environ={}), Home(bench.folder / "home"))
    return await deliver(bench, text, folder, spec.pools, spec.limits)


@pytest.mark.requirement("A6")
async def test_a_presentation_and_a_report_cite_what_the_documents_say(bench: Bench) -> None:
    folder = fill(bench.folder / "documents")
    deliverable = await _deliver(bench, "Research AI market trends and create presentation", folder)
    assert deliverable["playbook"] == "research"
    assert deliverable["approved"], deliverable["checks"]
    assert "citations" in {check["name"] for check in deliverable["checks"]}
    out = bench.folder / "out"
    sources = {source["number"]: source for source in json.loads((out / "citations.json").read_text())}
    assert {source["path"] for source in sources.values()} == {
        "market.md", "page.html", "revenue.csv", "study.pdf", "survey.docx", "prices.xlsx", "outlook.pptx", "note.txt"
    }  # fmt: skip
    for source in sources.values():  # each quote stands in the document itself, at the place that is named
        passages, _, _ = read_document(source["path"], (folder / source["path"]).read_bytes())
        assert any(source["quote"] in one.text and one.place == source["place"] for one in passages), source
    markdown, page = (out / "report.md").read_text(), (out / "report.html").read_text()
    marks = {int(number) for number in re.findall(r"\]\(#source-(\d+)\)", markdown)}
    assert marks == set(sources) == {int(number) for number in re.findall(r'id="source-(\d+)"', page)}
    assert "Herring" not in markdown
    assert "in a script" not in page
    assert "broken.pdf: its reader fails on it" in markdown
    assert "photo.jpg: its kind isn't read" in markdown


@pytest.mark.requirement("A6")
async def test_the_deck_opens_and_its_slides_lead_to_their_sources(bench: Bench) -> None:
    await _deliver(bench, "Research AI market trends and create presentation", fill(bench.folder / "documents"))
    deck = pptx.Presentation(io.BytesIO((bench.folder / "out" / "deck.pptx").read_bytes()))
    texts = [" ".join(shape.text_frame.text for shape in slide.shapes if shape.has_text_frame) for slide in deck.slides]
    used = {number for text in texts if not text.startswith("Sources") for number in re.findall(r"\[(\d+)\]", text)}
    listed = {number for text in texts if text.startswith("Sources") for number in re.findall(r"\[(\d+)\]", text)}
    assert used == listed != set()
    assert any(shape.has_chart for slide in deck.slides for shape in slide.shapes)
    assert "AI market trends favour open models" in (bench.folder / "out" / "deck.html").read_text()


@pytest.mark.requirement("A6")
@pytest.mark.parametrize("given", ["none", "empty", "strange"])
async def test_with_nothing_to_find_the_report_says_so(bench: Bench, given: str) -> None:
    folder = bench.folder / "documents"
    folder.mkdir()
    if given == "strange":
        (folder / "note.txt").write_text("Remember the milk and the eggs.\n")
    deliverable = await _deliver(bench, "Research competitor pricing and create report", None if given == "none" else folder)
    said = "Nothing was found" if given == "strange" else "There was nothing to search"
    assert deliverable["summary"]["headline"].startswith(said)
    assert said in (bench.folder / "out" / "report.md").read_text()
    assert json.loads((bench.folder / "out" / "report.json").read_text())["claims"] == []
    assert not (bench.folder / "out" / "deck.pptx").exists()
