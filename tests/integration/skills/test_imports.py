"""The import graph of this project's own source, against grimp's."""

from pathlib import Path

import grimp

import amas
from amas.agents.skills.imports import import_graph


def test_the_graph_is_the_one_that_grimp_builds() -> None:
    package = Path(amas.__file__).parent
    texts = {path.relative_to(package.parent).as_posix(): path.read_text() for path in package.rglob("*.py")}
    ours, failed = import_graph(texts)
    theirs = grimp.build_graph("amas", cache_dir=None)
    assert not failed
    assert set(ours) == set(theirs.modules)
    assert ours == {module: set(theirs.find_modules_directly_imported_by(module)) for module in theirs.modules}
