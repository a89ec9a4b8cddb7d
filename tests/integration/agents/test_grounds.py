"""Tasks of a tenant that name what isn't the tenant's: each shipped agent that reads or writes files is tried, in a real host."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from host_bench import Bench, pool

from amas.agents.grounds import tenant_folder
from amas.agents.tools import sandbox
from amas.model.fleet import PoolSpec
from amas.model.task import Json, TaskView

SECRET = "the-other-tenant-s-figures"
SKILLS = {
    "execution.ingest": "ingest:ingest",
    "execution.collect": "research.collect:collect",
    "execution.publish": "publish:publish",
    "research.read": "research.read:read",
    "development.code_review": "ruff_review:ruff_review",
    "development.complexity": "complexity:complexity",
    "development.dead_code": "dead_code:dead_code",
    "analytics.metrics": "metrics:metrics",
    "analytics.imports": "imports:imports",
    "compliance.dependencies": "dependencies:dependencies",
    "compliance.licences": "licences:licences",
    "documentation.api_docs": "api_docs:api_docs",
    "testing.run": "testing:testing",
    "stand.in": "",
}


def pools(**changes: Any) -> list[PoolSpec]:
    """One pool for each shipped agent that is given a folder, and one that answers with what it was given."""
    return [
        pool(
            name.replace(".", "-").replace("_", "-"),
            agent=f"amas.agents.skills.{where}" if where else "amas.agents.stand_in:StandIn",
            capabilities=(name,),
            **changes,
        )
        for name, where in SKILLS.items()
    ]


def own(bench: Bench, tenant: str = "acme") -> Path:
    """Return a folder of files that came with a tenant's goal."""
    made = bench.folder / "inputs" / tenant_folder(tenant) / "01990d3e"
    made.mkdir(parents=True)
    return made


async def tried(bench: Bench, capability: str, value: Json, **spec: Any) -> TaskView:
    return await bench.ended(await bench.submit(capability, value, **{"tenant": "acme", **spec}))


def project(at: Path) -> Path:
    """Make a little project with something to tell."""
    at.mkdir(parents=True, exist_ok=True)
    (at / "secret.py").write_text(f'import os\n"""{SECRET}"""\n')
    (at / "requirements.txt").write_text(f"{SECRET} is no requirement\n")
    (at / "notes.txt").write_text(SECRET)
    return at


async def test_no_shipped_agent_reads_what_isn_t_its_tenant_s(bench: Bench) -> None:
    mine = own(bench)
    elsewhere = [
        project(bench.folder / "somebody's project"),
        project(own(bench, "rival")),
        project(bench.folder / "work" / tenant_folder("rival") / "a-workflow" / "a-task" / "snapshot"),
        project(bench.folder / "work" / "a-workflow" / "a-task" / "snapshot"),
    ]
    (mine / "link").symlink_to(elsewhere[0])
    named = [
        *map(str, elsewhere),
        f"{mine}/../../../somebody's project",
        str(mine / "link"),
        "~",
        "~nobody-here",
        "/",
        "file:///etc",
    ]
    async with bench.host(pools()):
        for capability in SKILLS:
            if capability in ("execution.publish", "stand.in"):
                continue
            for folder in named:
                field = "input_dir" if capability in ("execution.ingest", "execution.collect") else "root"
                ended = await tried(bench, capability, {field: folder, "paths": ["secret.py", "notes.txt"]})
                assert ended.failure is not None, (capability, folder)
                assert ended.failure.code == "folder_refused", (capability, folder, ended.failure)
                assert ended.attempt == 1 and SECRET not in str(ended)
        ours = await tried(bench, "research.read", {"root": str(elsewhere[0]), "paths": ["notes.txt"]}, tenant="")
        assert ours.failure is None and ours.result["figures"]["documents"] == 1, "who is no tenant names what he likes"


async def test_a_tenant_s_own_folder_is_worked_on_and_leads_nowhere_else(bench: Bench) -> None:
    mine, other = project(own(bench)), project(bench.folder / "somebody's project")
    async with bench.host(pools()):
        taken = await tried(bench, "execution.ingest", {"input_dir": str(mine)})
        assert taken.failure is None and taken.result["files"] == 3
        assert Path(taken.result["root"]).is_relative_to(bench.folder / "work" / tenant_folder("acme"))
        read = await tried(bench, "compliance.dependencies", {"root": taken.result["root"], "paths": ["secret.py"]})
        assert read.failure is None and read.result["counts"]["error"] == 1
        for path in ("../../../../../somebody's project/secret.py", str(other / "secret.py")):
            ended = await tried(bench, "compliance.dependencies", {"root": str(mine), "paths": [path]})
            assert ended.failure is not None and ended.failure.code == "input_unusable"
        (mine / "requirements.txt").unlink()
        (mine / "requirements.txt").symlink_to(other / "requirements.txt")  # as a command of the tenant's may have left it
        ended = await tried(bench, "compliance.dependencies", {"root": str(mine), "paths": ["secret.py"]})
        assert ended.failure is not None and ended.failure.code == "folder_refused", ended.result
        assert "requirements.txt" in ended.failure.message and SECRET not in str(ended)


async def test_python_that_no_snapshot_takes_is_not_parsed_by_naming_it_directly(bench: Bench) -> None:
    mine = project(own(bench))
    (mine / "bomb.py").write_bytes(b"a\n" * 300_000)
    async with bench.host(pools()):
        ended = await tried(bench, "analytics.imports", {"root": str(mine), "paths": ["bomb.py"]})
    assert ended.failure is not None and ended.failure.code == "input_unusable" and "bomb.py" in ended.failure.message


async def test_publishing_takes_and_leaves_files_in_the_tenant_s_own_folders_alone(bench: Bench) -> None:
    mine, other = project(own(bench)), project(bench.folder / "somebody's project")

    async def publish(folder: Path, output: Path, name: str = "notes.txt") -> TaskView:
        report = await bench.submit("stand.in", {"folder": str(folder), "files": [name]}, tenant="acme")
        await bench.ended(report)
        return await tried(bench, "execution.publish", {"output_dir": str(output)}, needs=(report,), need_keys=("report",))

    async with bench.host(pools()):
        for folder, output in ((other, mine / "out"), (mine, bench.folder / "elsewhere"), (mine, own(bench, "rival"))):
            ended = await publish(folder, output)
            assert ended.failure is not None and ended.failure.code == "folder_refused", ended
        assert not (bench.folder / "elsewhere").exists() and not (mine / "out").exists()
        (mine / "link").symlink_to(other / "notes.txt")
        ended = await publish(mine, mine / "out", "link")
        assert ended.failure is not None and ended.failure.code == "folder_refused", ended
        (mine / "link").unlink()
        assert (await publish(mine, mine / "out")).failure is None
        assert (mine / "out" / "notes.txt").read_text() == SECRET


ESCAPES = """
import os, pathlib, socket
def test_reads_no_file_of_the_machine():
    assert not os.path.exists({secret!r})
    assert not os.path.exists({home!r})
    assert "root:" not in (pathlib.Path("/etc/passwd").read_text() if os.path.exists("/etc/passwd") else "")
def test_reaches_no_network():
    with __import__("pytest").raises(OSError):
        socket.create_connection(("127.0.0.1", {port}), timeout=1)
def test_leaves_a_way_out():
    os.symlink("/", "/work/way-out")
    os.symlink("/etc/passwd", "/work/suite/link.txt")
def test_fails():
    assert 1 == 2
"""
READS_BACK = """
import os
def test_it():
    os.replace("/work/report.jsonl", "/work/kept.jsonl")
    os.symlink({secret!r}, "/work/report.jsonl")
    os._exit(0)
"""


@pytest.fixture
def _sandboxed() -> None:
    if why := asyncio.run(sandbox.reason_missing()):
        pytest.skip(f"no sandbox here: {why}")


@pytest.mark.usefixtures("_sandboxed")
async def test_a_tenant_s_tests_run_in_a_sandbox(bench: Bench) -> None:
    mine, other = own(bench), project(bench.folder / "somebody's project")
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    (mine / "test_it.py").write_text(ESCAPES.format(secret=str(other / "notes.txt"), home=str(bench.folder), port=port))
    hostile = mine / "hostile"
    hostile.mkdir()
    (hostile / "test_it.py").write_text(READS_BACK.format(secret=str(other / "notes.txt")))
    program = bench.folder / "program"
    program.write_text(f"#!/bin/sh\ntouch {bench.folder}/ran\n")
    program.chmod(0o755)
    async with server, bench.host(pools()):
        ended = await tried(bench, "testing.run", {"root": str(mine), "test_paths": ["test_it.py"], "python": str(program)})
        assert ended.failure is None and ended.result["ended"] == "finished", ended
        outcomes = {name: n for name, n in ended.result["outcomes"].items() if n}
        assert outcomes == {"passed": 3, "failed": 1}, ended.result["tail"]
        assert not (bench.folder / "ran").exists(), "a tenant names no program"
        ended = await tried(bench, "testing.run", {"root": str(hostile), "test_paths": ["test_it.py"]})
        assert SECRET not in str(ended)
        assert ended.failure is None and ended.result["ended"] == "not_collected"
    left = [path for path in bench.folder.rglob("*") if path.name in ("way-out", "link.txt") and path.is_symlink()]
    assert left == [], "what such a suite leaves is gone with it"


async def test_without_a_sandbox_a_tenant_s_tests_don_t_run(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    mine = own(bench)
    (mine / "test_it.py").write_text(f"import pathlib\npathlib.Path({str(bench.folder / 'ran')!r}).touch()\n")
    monkeypatch.setattr(sandbox, "PROGRAM", "no-such-program")
    async with bench.host(pools()):
        ended = await tried(bench, "testing.run", {"root": str(mine), "test_paths": ["test_it.py"]})
    assert ended.failure is not None and ended.failure.code == "sandbox_missing"
    assert "bubblewrap" in ended.failure.message and not (bench.folder / "ran").exists()


async def test_the_same_holds_in_a_process_of_its_own(bench: Bench) -> None:
    mine, other = project(own(bench)), project(bench.folder / "somebody's project")
    async with bench.host(pools(isolation="process")):
        ended = await tried(bench, "research.read", {"root": str(other), "paths": ["notes.txt"]})
        assert ended.failure is not None and ended.failure.code == "folder_refused"
        ended = await tried(bench, "research.read", {"root": str(mine), "paths": ["notes.txt"]})
        assert ended.failure is None and ended.result["figures"]["documents"] == 1


async def test_odd_names_of_folders_are_one_sentence(bench: Bench) -> None:
    async with bench.host(pools()):
        for tenant in ("acme", ""):
            for capability, field in (("execution.ingest", "input_dir"), ("research.read", "root"), ("testing.run", "root")):
                for name in ("a\0b", "/" + "x" * 4000, "~nobody-here/x", "/dev/null", "/dev/zero", 7, {"a": 1}):
                    ended = await tried(bench, capability, {field: name, "paths": []}, tenant=tenant)
                    assert ended.failure is not None and ended.attempt == 1, (capability, name, ended)
                    assert ended.failure.code in ("folder_refused", "input_unusable"), (capability, name, ended.failure)
                    assert "Traceback" not in ended.failure.message
