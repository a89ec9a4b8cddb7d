"""Every page: its commands, addresses, variables, links and blocks are ones that there are. Some are run by tests of their own.

Placeholders stand in capitals (`ID`), what may be left out in brackets, what may stand instead behind a bar: `[--watch]`, `a|b`.
"""

import ast
import importlib
import json
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
import yaml

from amas.cli.main import app
from amas.server.access import RULES, rule_for

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
GUIDES = [page for page in PAGES if page.name != "CHANGELOG.md"]
"""What tells of the product as it is; a log of changes names what is no more."""
ENDS = frozenset({"|", "||", "&&", ";", "&", ">", ">>", "<", "(", ")"})
COMMAND = typer.main.get_command(app)
VARIABLE = re.compile(r"\b(?:AMAS|ORCHESTRATION)_[A-Z_]*[A-Z]\b")
LACKS = re.compile("^Missing argument|requires an argument")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)


def text_of(page: Path) -> str:
    return page.read_text()


def blocks(page: Path, language: str) -> list[str]:
    return [block for kind, block in FENCE.findall(text_of(page)) if kind == language]


def typed(page: Path) -> Iterator[str]:
    """Yield what a reader would type: lines that are indented by four, or stand in a shell's fence."""
    for block in blocks(page, "sh") + blocks(page, "bash") + blocks(page, "console"):
        yield from block.replace("\\\n", " ").splitlines()
    prose = FENCE.sub("", text_of(page)).replace("\\\n", " ")
    yield from (line[4:] for line in prose.splitlines() if line.startswith("    "))


def named(page: Path) -> list[str]:
    """Return the commands that sentences name, with as much of their arguments as matters there."""
    return re.findall(r"`(amas [^`\n]+)`", FENCE.sub("", text_of(page)))


def commands(line: str) -> Iterator[list[str]]:
    """Yield the arguments of each call of `amas` on a line."""
    lexer = shlex.shlex(
        re.sub(r"[\[\]]|\.\.\.", " ", re.sub(r"\bN\b", "1", line.replace("COMMAND", "run"))), posix=True, punctuation_chars=True
    )
    lexer.whitespace_split = True
    try:
        words = list(lexer)
    except ValueError:  # an apostrophe of a sentence
        return
    while "amas" in words:
        words = words[words.index("amas") + 1 :]
        end = next((at for at, word in enumerate(words) if word in ENDS), len(words))
        yield words[:end]


def wrong(arguments: list[str]) -> str:
    """Return what the command line says against a call; empty where it would be run.

    What the shell's completion is installed by does so as soon as it is read: into the home of whoever runs the tests.
    """
    if arguments and arguments[0].endswith("-completion"):
        return "" if any(arguments[0] in each.opts for each in COMMAND.params) else f"no such option: {arguments[0]}"
    command: Any = COMMAND
    name, left, context = "amas", arguments, None
    try:
        while True:
            context = command.make_context(name, list(left), parent=context)
            if not hasattr(command, "resolve_command"):
                return ""
            name, command, left = command.resolve_command(context, [*context._protected_args, *context.args])
    except (typer.Exit, SystemExit):  # it shows its help
        return ""
    except typer.BadParameter.__base__ as error:  # what a call is refused with
        return str(error.format_message())


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_its_commands_are_ones_that_there_are(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AMAS_URL", "http://127.0.0.1:8000")
    said = {" ".join(each): wrong(each) for line in typed(page) for each in commands(line)}
    said |= {" ".join(each): wrong(each) for line in named(page) for each in commands(line) if not LACKS.search(wrong(each))}
    assert {command: why for command, why in said.items() if why} == {}


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_its_addresses_are_ones_that_there_are(page: Path) -> None:
    text = text_of(page)
    named = re.findall(r"\b(GET|POST|PUT|DELETE) `?(/api/[\w/{}.$-]+)", text)
    assert [each for each in named if rule_for(*each) not in RULES] == []
    methods = {rule.method for rule in RULES}
    mentioned = re.findall(r"/api/[\w/{}.$-]*[\w}]", text)
    assert [path for path in mentioned if all(rule_for(method, path) not in RULES for method in methods)] == []


def test_variables_are_ones_that_are_read() -> None:
    sources = [*(ROOT / "src").rglob("*.py"), *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    read = {name for path in sources for name in VARIABLE.findall(path.read_text())}
    said = {(page.name, name) for page in GUIDES for name in VARIABLE.findall(text_of(page))}
    assert {(page, name) for page, name in said if name not in read} == set()


@pytest.mark.parametrize("page", GUIDES, ids=lambda page: page.name)
def test_its_blocks_can_be_read(page: Path) -> None:
    for block in blocks(page, "json"):
        json.loads(block)
    for block in blocks(page, "yaml"):
        list(yaml.safe_load_all(block))
    for block in blocks(page, "python"):
        tree = compile(block, page.name, "exec", ast.PyCF_ONLY_AST | ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "amas":
                module = importlib.import_module(node.module or "")
                assert [one.name for one in node.names if not hasattr(module, one.name)] == [], node.module


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_its_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", text_of(page)):
        path, _, anchor = target.partition("#")
        if "://" in path:
            continue
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        if anchor:
            assert anchor in anchors(there), target


def anchors(page: Path) -> set[str]:
    """Return what the headings of a page are called in addresses."""
    headings = re.findall(r"^#+ (.+)$", FENCE.sub("", text_of(page)), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_every_page_is_on_the_index() -> None:
    index = text_of(ROOT / "docs" / "README.md")
    assert [page.name for page in ROOT.glob("docs/*.md") if f"]({page.name})" not in index and page.name != "README.md"] == []
