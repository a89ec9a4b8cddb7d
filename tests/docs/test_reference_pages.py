"""The pages that are written from the code say what it says."""

from pathlib import Path

import pytest
from scripts.reference_pages import PAGES

DOCS = Path(__file__).parents[2] / "docs"


@pytest.mark.parametrize("name", PAGES)
def test_a_page_says_what_the_code_says(name: str) -> None:
    assert (DOCS / name).read_text() == PAGES[name](), "write it anew: python scripts/reference_pages.py"
