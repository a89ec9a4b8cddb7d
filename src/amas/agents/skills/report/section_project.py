"""The sections on the project as a whole: profile, API, licence and dependencies, and any part that no other section knows.

Called by `compose.py`.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from amas.agents.skills.api_docs import KINDS
from amas.agents.skills.report.gather import Material, numbers
from amas.agents.skills.report.model import Block, Cell, Section, Table, code, figure, number, percent, plural, tasks, text
from amas.agents.skills.report.section_code import humanise

MODULES_MAX, DEPENDENCIES_MAX, FIGURES_MAX = 25, 40, 60
SHOWN_ELSEWHERE = {
    "analytics.metrics", "analytics.imports", "analytics.hotspots", "testing.run", "documentation.api_docs",
    "documentation.coverage", "compliance.licences", "compliance.dependencies", "research.project_profile",
}  # fmt: skip


def profile(material: Material) -> Section | None:
    """Return what the project says of itself."""
    done = [result for result in material.done("research.project_profile") if isinstance(result.get("profile"), dict)]
    if not done:
        return None
    facts: Mapping[str, Any] = done[0]["profile"]
    said = {
        "Name": facts.get("name"),
        "Version": facts.get("version"),
        "Summary": facts.get("summary"),
        "Python": ", ".join(filter(None, [facts.get("requires_python"), " ".join(facts.get("pythons") or [])])),
        "Programs": ", ".join(facts.get("programs") or []),
        "Built by": facts.get("build_backend"),
        "Typed": "yes, it ships py.typed" if facts.get("typed") else "",
        "Has": ", ".join(facts.get("customs") or {}),
    }
    rows = [[text(label), text(value)] for label, value in said.items() if value]
    blocks = [Block(text=str(facts.get("purpose") or ""), refs=material.refs_of(done))] if facts.get("purpose") else []
    return Section(
        "project", "The project", [*blocks, Block(table=Table(caption="Its own words", columns=("Fact", "Value"), rows=rows))]
    )


def api(material: Material) -> Section | None:
    """Return how much API there is, how much of it is documented, and links to its pages."""
    done = list(material.done("documentation.api_docs"))
    covered = list(material.done("documentation.coverage"))
    blocks = [*_api_counts(material, done), *_api_modules(material, done, covered)]
    return Section("api", "API", blocks) if blocks else None


def api_totals(material: Material) -> dict[str, int]:
    """Return the API's counts over all packages, with `public` and `documented`."""
    totals: dict[str, int] = {}
    for result in material.done("documentation.api_docs"):
        counted = numbers(result.get("counts")) | {name: numbers(result).get(name, 0) for name in ("public", "documented")}
        for name in (*KINDS, "public", "documented"):
            totals[name] = totals.get(name, 0) + int(counted.get(name, 0))
    return totals


def docstring_share(material: Material) -> float | None:
    """Return the share of public objects with a docstring, attributes left out; None when nobody measured it."""
    figures = [numbers(result.get("figures")) for result in material.done("documentation.coverage")]
    public = sum(found.get("public_objects", 0) for found in figures)
    return sum(found.get("documented_objects", 0) for found in figures) / public if public else None


def compliance(material: Material) -> Section | None:
    """Return the licence and the dependencies."""
    blocks = [*_licence(material), *_dependencies(material)]
    return Section("compliance", "Licence and dependencies", blocks) if blocks else None


def others(material: Material) -> Section | None:
    """Return the figures that no other section shows, by part."""
    rows = []
    for part in material.parts:
        strange = [result for result in part.specialists if result.get("capability") not in SHOWN_ELSEWHERE]
        found = [(name, value, result) for result in strange for name, value in numbers(result.get("figures")).items()]
        found += [] if part.specialists else [(name, value, {}) for name, value in part.figures.items()]
        rows += [
            [
                text(part.title),
                text(humanise(name)),
                number(value),
                code(result.get("capability", "")),
                tasks(material.refs_of([result])),
            ]
            for name, value, result in found
            if name != "files"  # how many each was given
        ]
    said = [Block(text=f"{part.summary}.") for part in material.parts if part.summary]
    if not rows and not said:
        return None
    columns = ("Part", "Figure", "#Value", "By", "Task")
    left = len(rows) - FIGURES_MAX
    note = f"{figure(left)} further ones in the parts' results." if left > 0 else ""
    table = Table(caption="Further figures", columns=columns, rows=rows[:FIGURES_MAX], note=note)
    return Section(
        "figures-of-parts", "What the leads report", [*said, *([Block(table=table, folded="Further figures")] if rows else [])]
    )


def _api_counts(material: Material, done: list[Mapping[str, Any]]) -> Iterator[Block]:
    if not done:
        return
    rows = []
    totals = api_totals(material)
    for kind in KINDS:
        public = sum(int(numbers(result.get("public_by_kind")).get(kind, 0)) for result in done)
        documented = sum(int(numbers(result.get("documented_by_kind")).get(kind, 0)) for result in done)
        share = percent(documented / public) if public else ""
        rows.append([text(humanise(kind)), number(totals[kind]), number(public), number(documented), Cell(share, "number")])
    everything = sum(totals[kind] for kind in KINDS)
    share = percent(totals["documented"] / totals["public"]) if totals["public"] else ""
    rows.append([text("All"), number(everything), number(totals["public"]), number(totals["documented"]), Cell(share, "number")])
    yield Block(
        text="Counted in the source by griffe, nothing imported; imported names are not counted again.",
        refs=material.refs_of(done),
    )
    yield Block(table=Table(caption="API by kind", columns=("Kind", "#All", "#Public", "#With docstring", "#Share"), rows=rows))


def _api_modules(material: Material, done: list[Mapping[str, Any]], covered: list[Mapping[str, Any]]) -> Iterator[Block]:
    pages = page_names(material)
    listed = [row for result in covered for row in material.load(result, "modules") or [] if isinstance(row, dict)]
    share = docstring_share(material)
    if share is not None:
        yield Block(
            text=f"{percent(share)} of the public modules, classes, functions and methods have a docstring.",
            refs=material.refs_of(covered),
        )
    rows = [
        [
            _page_link(str(row.get("module", "")), pages),
            number(row.get("public")),
            number(row.get("documented")),
            Cell(percent(float(row.get("share", 0))), "number"),
        ]
        for row in listed[:MODULES_MAX]
    ]
    if rows:
        note = (
            f"{plural(len(listed) - MODULES_MAX, 'further module')} in the API index, api/index.md."
            if len(listed) > MODULES_MAX
            else ""
        )
        yield Block(
            table=Table(
                caption="Docstrings by module, worst first",
                columns=("Module", "#Public", "#With docstring", "#Share"),
                rows=rows,
                note=note,
            )
        )
    elif pages:
        rows = [[Cell(name.removesuffix(".md"), "link", href=f"api/{name}")] for name in sorted(pages)[:MODULES_MAX]]
        yield Block(table=Table(caption="Pages", columns=("Module",), rows=rows))


def page_names(material: Material) -> set[str]:
    """Return the file names of the API pages."""
    loaded = [material.load(result, "pages") for result in material.done("documentation.api_docs")]
    return {str(name) for pages in loaded if isinstance(pages, dict) for name in pages}


def _page_link(module: str, pages: set[str]) -> Cell:
    return Cell(module, "link", href=f"api/{module}.md") if f"{module}.md" in pages else code(module)


def _licence(material: Material) -> Iterator[Block]:
    for result in material.done("compliance.licences"):
        said = result.get("licence")
        if not isinstance(said, dict):
            continue
        files = [f"{file.get('path')} ({file.get('licence') or 'not recognised'})" for file in said.get("files") or []]
        headers = [f"{name} in {plural(count, 'file')}" for name, count in numbers(said.get("headers")).items()]
        facts = {
            "Expression": said.get("expression") or "none that is valid",
            "Classifiers": ", ".join(str(name).rpartition(" :: ")[2] for name in said.get("classifiers") or []),
            "Licence files": ", ".join(files) or "none",
            "SPDX headers": ", ".join(headers) or "none",
        }
        rows = [[text(label), text(value)] for label, value in facts.items() if value]
        yield Block(text="What the project says about its licence:", refs=material.refs_of([result]))
        yield Block(table=Table(caption="Licence", columns=("Where", "What"), rows=rows))


def _dependencies(material: Material) -> Iterator[Block]:
    for result in material.done("compliance.dependencies"):
        listed = [row for row in result.get("dependencies") or [] if isinstance(row, dict)]
        used = [row for row in listed if row.get("imported_by") or "runtime" in (row.get("scopes") or [])]
        figures = numbers(result.get("figures"))
        said = (
            f"{plural(figures.get('declared_runtime', 0), 'runtime dependency', 'runtime dependencies')} and "
            f"{figure(figures.get('declared_optional', 0))} for extras, tests and building; "
            f"{figure(figures.get('imported_undeclared', 0))} imported but not declared, "
            f"{figure(figures.get('declared_unused', 0))} declared but not imported."
        )
        yield Block(text=said, refs=material.refs_of([result]))
        for title, rows, folded in (
            ("Dependencies", used, ""),
            ("Every dependency", listed, f"Every dependency ({len(listed)})"),
        ):
            if rows and not (folded and len(listed) == len(used)):
                yield Block(table=_dependency_table(title, rows), folded=folded)


def _dependency_table(title: str, rows: Sequence[Mapping[str, Any]]) -> Table:
    cap = DEPENDENCIES_MAX * 5
    return Table(
        caption=title,
        columns=("Distribution", "Requirement", "For", "#Files that import it", "#Tests that import it"),
        rows=[
            [
                code(row.get("name", "")),
                code(row["requirement"]) if row.get("requirement") else Cell("not declared", "badge", tone="warning"),
                text(", ".join(map(str, row.get("scopes") or []))),
                number(row.get("imported_by")),
                number(row.get("imported_by_tests")),
            ]
            for row in rows[:cap]
        ],
        note=f"{figure(len(rows) - cap)} further ones left out." if len(rows) > cap else "",
    )
