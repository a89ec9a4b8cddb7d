"""docs/a2a.md: its agent serves, its fleet has it work, and its table names every field."""

import re
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from a2a_served import serving
from host_bench import Bench

from amas.agents.a2a_agent import A2aSpec
from amas.fleet.declared import DeclaredA2a
from amas.fleet.load import load_fleet

PAGE = (Path(__file__).parents[2] / "docs" / "a2a.md").read_text()


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(found)


@pytest.fixture
def port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    listening = socket.create_server(("127.0.0.1", 0))
    number = listening.getsockname()[1]
    (tmp_path / "shouter.py").write_text(block("python").replace("9999", str(number)))
    monkeypatch.syspath_prepend(tmp_path)
    sys.modules.pop("shouter", None)
    import shouter  # type: ignore[import-not-found]

    with serving(shouter.app, listening):
        yield number


async def test_its_example_runs(bench: Bench, port: int, tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(block("yaml").replace("9999", str(port)))
    spec = load_fleet(path, agents=True, environ={})
    said, wanted = re.findall(r"`amas submit text.shout '(.+)'` prints `(.+)`", PAGE)[0]
    assert said == '{"say": "hello"}' and wanted == '"HELLO"'
    async with bench.host(spec.pools):
        assert (await bench.ended(await bench.submit("text.shout", {"say": "hello"}))).result == "HELLO"


def test_its_table_has_every_field() -> None:
    table = PAGE.partition("| field of `a2a`")[2].partition("\n\n")[0]
    told = {name for row in table.splitlines() for name in re.findall(r"`(\w+)`", row.split("|")[1] if "|" in row else "")}
    assert told == set(DeclaredA2a.__struct_fields__)
    assert {name.removesuffix("_s") for name in A2aSpec.__struct_fields__} == told
