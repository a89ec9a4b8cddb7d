"""The project's own clients against the contract: what the commands ask for exists, and a task has the same fields everywhere."""

import ast
import re
from pathlib import Path

import msgspec
import pytest

import amas.cli
from amas import client as python_client
from amas.cli import api as cli_api

METHODS = {"get": "get", "post": "post", "put": "put", "delete": "delete", "events": "get"}
"""`amas.cli.api.Api`'s methods, and HTTP's."""
ANYTHING = "\x00"


def path_of(node: ast.expr) -> str:
    """Return a path as written, `ANYTHING` standing for what is put into it; empty for what is no path of the API."""
    match node:
        case ast.Constant(value=str(text)):
            parts = [text]
        case ast.JoinedStr(values=values):
            parts = [str(each.value) if isinstance(each, ast.Constant) else ANYTHING for each in values]
        case _:
            return ""
    path = "".join(parts).partition("?")[0]
    return path if path.startswith("/api/") else ""


def calls() -> list[tuple[str, str, str]]:
    """Return (file, method, path) of each request that the commands make with a path that stands there."""
    found = []
    for file in sorted(Path(amas.cli.__file__).parent.glob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in METHODS and node.args:
                path = path_of(node.args[0])
                if path:
                    found.append((file.name, METHODS[node.func.attr], path))
    return found


@pytest.mark.requirement("B9")
async def test_every_request_of_the_commands_is_in_the_contract(client) -> None:
    paths = (await client.get("/openapi.json")).json()["paths"]
    made = calls()
    assert len(made) > 50, "this test has lost sight of the commands"
    for file, method, path in made:
        pattern = re.compile("[^/]+".join(map(re.escape, path.split(ANYTHING))))
        templates = [template for template in paths if pattern.fullmatch(template)]
        assert any(method in paths[template] for template in templates), f"{file}: {method} {path.replace(ANYTHING, '...')}"


def test_the_commands_client_has_the_methods_that_are_looked_for() -> None:
    assert [name for name in METHODS if not callable(getattr(cli_api.Api, name, None))] == []


async def test_a_task_of_the_python_client_is_a_task_of_the_contract(client) -> None:
    declared = (await client.get("/openapi.json")).json()["components"]["schemas"]["NewTask"]
    here = {field.name: field for field in msgspec.structs.fields(python_client.NewTask)}
    there = declared["properties"].keys() - {"title"}  # words for people, on the web page
    assert here.keys() == there
    assert [name for name, field in here.items() if field.required] == declared["required"]
    for name, field in here.items():
        if isinstance(field.default, (str, int, float)):
            assert declared["properties"][name]["default"] == field.default, name
