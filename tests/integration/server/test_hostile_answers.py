"""Every command that prints, against a control plane that puts into each text what would steer a terminal: none gets through.

The answers are made from the API's own document, so a new route, field or command is tried without being named here.
"""

import asyncio
import json
import re
import unicodedata
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import typer
from http_served import Whole, bound, running

from amas.cli import desired
from amas.cli.exit import reported
from amas.cli.main import app
from amas.server.plane import ControlPlane

from .conftest import client_of

MARK = "EVIL"
HOSTILE = f"{MARK}\x1b]0;owned\x07\x1b[2J\x9b31m\r\n\u202efdp.exe\u2066\u2028[/nothing][red]"
"""A title, a cleared screen, C1's own escape, a line end, writing turned round, and what rich would take for markup."""
DEPTH_MAX = 9
STARTS_SOMETHING = frozenset(
    {"up", "down", "run", "serve", "host", "top", "model", "recover", "restore", "backup", "backups", "verify", "certs",
     "monitoring", "artifacts", "seal", "login", "logout", "doctor", "plan", "report", "logs",
     "restart", "drain", "cordon", "uncordon"}
)  # fmt: skip
"""Commands that start or stop processes, wait for hosts, or work on this machine's own files and not on what is answered;
`logs` reads files, and has a test of its own (`tests/unit/cli/test_logs.py`).
"""


class Liar:
    """Answers whatever is asked with what its document says, every text of it hostile."""

    def __init__(self, document: dict[str, Any]) -> None:
        self._schemas = document["components"]["schemas"]
        self._paths = [
            (re.compile(re.sub(r"{\w+}", "[^/]+", path) + "$"), methods)
            for path, methods in sorted(document["paths"].items(), key=lambda item: item[0].count("{"))
        ]

    def answer(self, method: str, path: str) -> tuple[int, Any]:
        operation = next((methods[method] for pattern, methods in self._paths if pattern.match(path) and method in methods), None)
        if operation is None:
            return 404, {"detail": HOSTILE, "title": HOSTILE, "type": HOSTILE}
        status = min(int(code) for code in operation["responses"] if code.startswith("2"))
        schema = operation["responses"][str(status)].get("content", {}).get("application/json", {}).get("schema", {})
        return status, self._made(schema)

    def _made(self, schema: dict[str, Any], depth: int = 0) -> Any:
        if "$ref" in schema:
            return self._made(self._schemas[schema["$ref"].rpartition("/")[2]], depth + 1)
        if some := next((schema[words] for words in ("anyOf", "oneOf", "allOf") if words in schema), None):
            return self._made(next((each for each in some if each.get("type") != "null"), {}), depth)
        if "properties" in schema:
            made = {name: self._made(each, depth + 1) for name, each in schema["properties"].items()}
            return {**made, "next": None} if "next" in made else made
        if depth < DEPTH_MAX and isinstance(more := schema.get("additionalProperties"), dict):
            return {HOSTILE: self._made(more, depth + 1)}
        if schema.get("type") == "array":
            return [self._made(schema.get("items", {}), depth + 1)] if depth < DEPTH_MAX else []
        return self._plain(schema)

    def _plain(self, schema: dict[str, Any]) -> Any:
        if "enum" in schema or "const" in schema:
            return schema.get("const", schema.get("enum", [None])[0])
        if schema.get("format") == "date-time":
            return "2026-01-01T12:00:00Z"
        plain = {"integer": 0, "number": 0, "boolean": True, "null": None, "object": {}, "string": HOSTILE}
        return plain.get(schema.get("type", ""), {"text": HOSTILE})


@contextmanager
def lying(liar: Liar) -> Iterator[str]:
    class Handler(Whole):
        def __getattr__(self, name: str) -> Any:
            if name.startswith("do_"):  # whatever the method
                return self.lie
            raise AttributeError(name)

        def lie(self) -> None:
            self.read()
            status, said = liar.answer(self.command.lower(), self.path.partition("?")[0])
            self.say(status, json.dumps(said).encode(), {"content-type": "application/json"})

    with running(bound(Handler)) as url:
        yield url


def commands(group: Any, said: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if not said and name in STARTS_SOMETHING:
            continue
        if hasattr(command, "commands"):
            yield from commands(command, (*said, name))
        else:
            yield (*said, name), command


def arguments(command: Any, folder: Path) -> list[str]:
    """Return what a command must be given."""
    given = []
    for each in command.params:
        if each.required:
            kinds = {"int": "1", "float": "1", "path": str(folder / "file.yaml")}
            text = kinds.get(each.type.name, f"{MARK}-1")
            given += [text] if each.param_type_name == "argument" else [each.opts[0], text]
    return given


def told(amas: Any, argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    """Return all that a command says."""
    with pytest.raises(SystemExit), reported():
        amas(argv)
    return "".join(capsys.readouterr())


def obeyed(text: str) -> list[str]:
    """Return what in a text a terminal might obey."""
    return [repr(one) for one in text if one not in "\n\t" and unicodedata.category(one) in {"Cc", "Cf", "Cs", "Zl", "Zp"}]


async def test_no_command_lets_what_others_wrote_steer_the_terminal(
    plane: ControlPlane, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    async with client_of(plane) as client:
        document = (await client.get("/openapi.json")).json()
    (tmp_path / "file.yaml").write_text("rules: []\n")
    monkeypatch.setenv("AMAS_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(desired, "WAIT_S", 0.0)  # no host ever does what is wanted
    shown, wrong = set(), []

    def walk() -> None:
        amas = typer.main.get_command(app)
        for name, command in commands(amas):
            asked = [*name, *arguments(command, tmp_path)]
            as_json = [[*asked, "--json"]] if any("--json" in each.opts for each in command.params) else []
            for argv in (asked, *as_json):
                try:
                    said = told(amas, argv, capsys)
                except Exception as error:  # noqa: BLE001  each is told, with its command
                    wrong.append(f"{' '.join(argv)}: {type(error).__name__}: {error}"[:300])
                    continue
                if MARK in said:
                    shown.add(name)
                if found := obeyed(said):
                    wrong.append(f"{' '.join(argv)} says {', '.join(found[:5])}")

    with lying(Liar(document)) as url:
        monkeypatch.setenv("AMAS_URL", url)
        await asyncio.to_thread(walk)  # some have an event loop of their own
    assert wrong == []
    assert len(shown) > 40, f"only {sorted(shown)} have shown what they were told"
