"""What the processes of a fleet import until it is up: each module costs its share of every start of every fleet."""

import re
from pathlib import Path

import pytest
from command import Command

NEVER = {"opentelemetry.sdk.metrics", "alembic", "pydantic_ai", "pandas", "numpy", "textual", "griffe", "pygments"}
WORKER = NEVER | {
    "fastapi",
    "uvicorn",
    "pydantic",
    "typer",
    "rich",
    "sqlalchemy",
    "prometheus_client",
    "snowballstemmer",
    "psutil",
}
LINE = re.compile(r"^import time: +\d+ \| +\d+ \| +(\S+)$", re.MULTILINE)


def imported(told: str) -> set[str]:
    """Return the packages that a process imported, as Python told on its standard error: those of which it imported a part, too.

    A package that is absent, or was said to be, is told as well, without any part.
    """
    modules = set(LINE.findall(told))
    return {name.rpartition(".")[0] for name in modules} | {name for name in modules if name.startswith("amas.")}


@pytest.fixture(scope="module")
def modules(tmp_path_factory: pytest.TempPathFactory) -> dict[str, set[str]]:
    """By process, what each imported while a fleet of the shipped agents started."""
    command = Command(tmp_path_factory.mktemp("start"))
    try:
        up = command("up", "--fleet", "amas", "--json", PYTHONPROFILEIMPORTTIME="1")
        assert up.returncode == 0, up.stderr[-2000:]
        logs = Path(command.environment["AMAS_HOME"], "logs")
        return {"command": imported(up.stderr)} | {path.stem: imported(path.read_text()) for path in logs.glob("*.log")}
    finally:
        command("down")


@pytest.mark.parametrize(
    ("process", "works_with", "never"),
    [
        ("command", "amas.agents.skills.findings", NEVER | {"fastapi", "sqlalchemy", "structlog", "snowballstemmer"}),
        ("supervisor", "amas.platforms.local.supervisor", WORKER | {"yaml", "amas.agents.host"}),
        ("host-1", "amas.agents.skills.findings", WORKER),
        ("control-plane", "amas.server.app", NEVER | {"typer", "rich", "websockets", "snowballstemmer"}),
    ],
)
def test_no_process_imports_what_it_does_not_need(
    modules: dict[str, set[str]], process: str, works_with: str, never: set[str]
) -> None:
    assert works_with in modules[process], f"{process} told {len(modules[process])} modules"
    assert sorted(never & modules[process]) == []
