"""API counts agree with griffe walked by hand."""

from collections import Counter
from pathlib import Path

import griffe
import pytest

from amas.agents.skills.api_docs import document
from amas.agents.skills.doc_coverage import assess
from amas.agents.skills.findings import Analysis, Scope
from amas.errors import GiveUp

SOURCE = {
    "pkg/__init__.py": '"""A package."""\nfrom pkg._impl import Client as Client\n__all__ = ["Client"]\n'
    'raise SystemExit("imported!")\n',
    "pkg/_impl.py": 'class Client:\n    """A <b>client</b>."""\n    x = 1\n'
    '    def go(self, a: int = 1) -> str:\n        """Go."""\nclass Other: ...\n',
    "pkg/open.py": "def shown(): ...\ndef _hidden(): ...\n",
    "pkg/bad.py": "def (\n",
}


@pytest.fixture
def scope(tmp_path: Path) -> Scope:
    for name, text in SOURCE.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    return Scope(root=tmp_path, options={"packages": [{"name": "pkg", "path": "pkg", "files": list(SOURCE)}]})


def by_hand(folder: Path, name: str) -> Counter[str]:
    counted: Counter[str] = Counter()
    waiting = [griffe.GriffeLoader(search_paths=[folder], allow_inspection=False).load(name, try_relative_path=False)]
    while waiting:
        found = waiting.pop()
        counted["methods" if found.is_function and found.parent.is_class else found.kind.value] += 1
        waiting += [member for member in found.members.values() if not member.is_alias]
    return counted


def agrees(analysis: Analysis, counted: Counter[str]) -> bool:
    names = {"modules": "module", "classes": "class", "functions": "function", "methods": "methods", "attributes": "attribute"}
    return all(analysis.fields["counts"][ours] == counted[theirs] for ours, theirs in names.items())


def test_counts_agree_with_a_walk_by_hand_and_nothing_is_imported(scope: Scope) -> None:
    analysis = document(scope)
    assert agrees(analysis, by_hand(scope.root, "pkg"))
    assert [failed.path for failed in analysis.failed] == ["pkg/bad.py"]
    assert "line 1" in analysis.failed[0].reason


def test_counts_agree_on_our_own_source() -> None:
    root = Path(__file__).parents[3] / "src"
    analysis = document(Scope(root=root, options={"packages": [{"name": "amas", "path": "amas"}]}))
    assert agrees(analysis, by_hand(root, "amas"))


def test_what_all_names_is_public_wherever_it_lies(scope: Scope) -> None:
    public = document(scope).fields["public_by_kind"]
    assert public == {"modules": 2, "classes": 1, "functions": 1, "methods": 1, "attributes": 1}


def test_pages_show_public_names_and_no_tag(scope: Scope) -> None:
    pages = document(scope).artifacts["pages"]
    assert set(pages) == {"index.md", "pkg.md", "pkg.open.md"}
    assert "shown()" in pages["pkg.open.md"]
    assert "_hidden" not in pages["pkg.open.md"]


def test_coverage_leaves_attributes_out(scope: Scope) -> None:
    analysis = assess(scope)
    assert analysis.figures == {"public_objects": 5, "documented_objects": 3, "docstring_coverage": 0.6}
    assert {finding.path for finding in analysis.findings} == {"pkg/open.py"}


def test_no_package_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(GiveUp, match="no package to document"):
        document(Scope(root=tmp_path))
