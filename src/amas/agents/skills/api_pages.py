"""API trees as Markdown: one page per public module and an index, from `templates/api_*.md.j2`.

A docstring's first paragraph is shown as text, the rest as it was written, fenced: docstrings come in too many dialects to be
guessed at, and they are foreign words (see `safe_text.py`).
Called by `api_docs.py`. Must never read a file of the reviewed project.
"""

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from amas.agents.skills.rendering import environment
from amas.agents.skills.safe_text import md, md_code, md_fence, plain

if TYPE_CHECKING:
    import jinja2

    from amas.agents.skills.api_docs import ApiObject

SIGNATURE_CHARS_MAX = 400
SUMMARY_CHARS_MAX = 600


def api_pages(trees: Sequence["ApiObject"]) -> dict[str, str]:
    """Return the pages by file name: `index.md`, then `package.module.md` for each public module."""
    modules = [found for tree in trees for found in tree.walk() if found.kind == "modules" and found.public]
    pages = {"index.md": _templates().get_template("api_index.md.j2").render(modules=modules)}
    page = _templates().get_template("api_page.md.j2")
    for module in modules:
        pages[page_name(module.path)] = page.render(module=module)
    return pages


def page_name(module: str) -> str:
    """Return the file name of a module's page; a name that isn't made of identifiers can't lead out of the folder."""
    kept = "".join(char if char.isalnum() or char in "._" else "_" for char in module).strip(".")
    return f"{kept[:180]}.md"


def summary_of(docstring: str) -> str:
    """Return a docstring's first paragraph as one line."""
    return plain(docstring.strip().split("\n\n", 1)[0], chars_max=SUMMARY_CHARS_MAX)


def rest_of(docstring: str) -> str:
    """Return a docstring without its first paragraph."""
    return docstring.strip().partition("\n\n")[2].strip("\n")


def public_members(found: "ApiObject", kind: str) -> list["ApiObject"]:
    """Return the public members of a kind, as the source orders them."""
    return [member for member in found.members if member.public and member.kind == kind]


def signature_of(found: "ApiObject") -> str:
    """Return the line that a reader would write: `name(args) -> type` or `name: type = value`."""
    return plain(found.name + found.signature, chars_max=SIGNATURE_CHARS_MAX)


@cache
def _templates() -> "jinja2.Environment":
    made = environment(
        [Path(__file__).parent / "templates"],
        html=False,
        md=md,
        code=md_code,
        fence=md_fence,
        summary=summary_of,
        rest=rest_of,
        signature=signature_of,
        page=page_name,
    )
    made.keep_trailing_newline = True
    made.globals["members"] = public_members
    return made
