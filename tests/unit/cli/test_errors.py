"""Every command where no fleet runs, and where something else answers than a fleet: one sentence, its exit code, a way out."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from command_line import call, leaves
from http_served import Whole, bound, running

import amas.cli
from amas.cli.api import Api
from amas.errors import FleetNotRunning

ALONE = {
    "up", "run", "host", "serve", "model install", "model serve", "certs", "doctor", "plan", "restore", "seal rotate",
    "seal reencrypt", "login", "logout", "whoami", "audit verify", "quality verify", "policy check", "policy show",
    "policy test", "monitoring write", "monitoring check", "logs", "recover", "backups", "verify",
}  # fmt: skip
"""What works without a fleet, or begins one."""
COMMANDS = sorted(name for name in leaves() if name not in ALONE)


@pytest.mark.parametrize("name", COMMANDS)
def test_without_a_fleet_each_command_says_how_to_have_one(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("AMAS_URL", raising=False)
    leaf = leaves()[name]
    given = ["7" if each in {"N", "VALUE"} else "nothing" for each in leaf.required]
    more = {"tools": ["--fleet", ""], "quarantine set": ["--why", "x"], "rollout start": ["--version", "2"]}
    done = call(*leaf.words, *given, *more.get(name, []), "--home", str(tmp_path))
    assert done.out == ""
    assert done.code in (2, 3) and "Traceback" not in done.err, done.err
    assert done.err.splitlines()[-1].startswith(("amas: ", "Error: ")), done.err
    if done.code == 3:
        assert done.err == f"amas: no fleet runs in {tmp_path}: start one with `amas up`\n"


class Stranger(Whole):
    """A web server that knows nothing of fleets."""

    status, body = 200, b""

    def do_GET(self) -> None:
        self.say(self.status, self.body)


@pytest.fixture
def stranger() -> Iterator[str]:
    with running(bound(Stranger)) as url:
        yield url


@pytest.mark.parametrize(
    ("status", "body"), [(200, b"<html>hello</html>"), (404, b"<html>none</html>"), (502, b"[1]"), (500, b"\xff"), (403, b'"no"')]
)
def test_what_is_no_fleet_is_told_from_one_that_refuses(
    stranger: str, status: int, body: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Stranger, "status", status)
    monkeypatch.setattr(Stranger, "body", body)
    monkeypatch.setenv("AMAS_URL", stranger)
    done = call("agents")
    assert (done.code, done.out) == (3, "")
    assert done.err.count("\n") == 1 and "isn't a fleet's API" in done.err and "AMAS_URL" in done.err


def test_who_does_not_answer_is_named_without_numbers_of_errors() -> None:
    with pytest.raises(FleetNotRunning, match=r"127.0.0.1:1 doesn't answer \(Connection refused\): `amas status`"):
        Api("http://127.0.0.1:1").get("/health")


def test_what_people_type_is_no_part_of_an_address_but_a_name() -> None:
    """`amas tasks 'a b'` asks for a task of that name, and not for whatever `/`, `?` or `..` in it would lead to."""
    wrong = []
    for path in Path(amas.cli.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.JoinedStr) and str(getattr(node.values[0], "value", "")).startswith("/api/"):
                wrong += [f"{path.name}:{node.lineno}" for each in node.values if _raw(each)]
    assert wrong == [], "quoted(...) what stands in it"


def _raw(part: ast.expr) -> bool:
    """Return whether a part of an f-string is a bare name that may come from the command line."""
    return isinstance(part, ast.FormattedValue) and isinstance(part.value, ast.Name) and part.value.id != "what"
