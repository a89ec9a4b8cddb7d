"""A whole fleet, process by process, with sealed payloads and agents that use a secret: nothing of either lies in the open.

One fleet for all of it, since each costs seconds: a goal, a search of everything, a back-up, a rotation with a host killed in it.
"""

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from command import Command
from secret_places import VAULT_TOKEN, Keeper, vault_server

from amas.artifacts.store import ArtifactStore
from amas.artifacts.values import LargeValues
from amas.cli.api import Api, Refused
from amas.client import Fleet
from amas.errors import TaskFailed
from amas.platforms.local.control import fleet_state
from amas.platforms.local.home import Home
from amas.records.store import Records
from amas.sealing import read_seal

LIMIT_S = 100.0
MARKER = "plain-text-of-a-payload"
SECRET = "sk-the-secret-of-the-vault"
SAMPLES = Path(__file__).parents[1] / "samples"
FLEET = """
name: sealed
pools:
  - {name: lead, agent: "sealed_agents:lead", capabilities: [executive.coordinate], layer: executive, options: OPTIONS}
  - {name: writer, agent: "sealed_agents:write", capabilities: [text.write], lead: lead, replicas: 3, options: OPTIONS}
  - {name: failer, agent: "sealed_agents:fail", capabilities: [text.fail], lead: lead, retry: {retries: 0}, options: OPTIONS}
  - {name: teller, agent: "sealed_agents:tell", capabilities: [text.tell], lead: lead, retry: {retries: 0}}
  - {name: apart, agent: "sealed_agents:write", capabilities: [text.apart], lead: lead, isolation: process, options: OPTIONS}
hosts: 2
""".replace("OPTIONS", '{api_key: {secret: "vault:kv/openai#key"}}')


IN_THE_OPEN = {
    "title": "lists show it and are searched by it, and the engine's own functions hand it on",
    "note": "progress is shown while it comes, to whoever may look",
    "failure": "people, planners and alerts go by it, also where nobody has the key",
    "refusal": "it is the approval's failure",
    "log": "logs are plain files, for the tools that read them",
    "workspace": "workspaces are plain files, which agents' programs work with",
    "why": "the audit and the history of wishes are for auditors, who need no key",
}
"""Kinds of text that aren't sealed, with the reason; docs/secrets.md names them."""
SEALED = ("input", "step", "message", "schedule-goal", "schedule-input", "answer", "early-answer", "flow-input")


def word(kind: str) -> str:
    """Return a word that nothing else contains."""
    return f"planted-{kind}-word"


def plant_by_api(home: Path) -> None:
    """Put a word into every kind of text that the API takes."""
    api, never = Api.of(Home(home)), {"cron": "0 0 1 1 *"}
    api.put("/api/schedules/of-a-goal", {**never, "goal": {"text": word("schedule-goal")}})
    api.put("/api/schedules/of-a-task", {**never, "task": {"capability": "text.write", "input": word("schedule-input")}})
    for name in ("of-a-goal", "of-a-task"):
        api.post(f"/api/schedules/{name}/pause")
        api.post(f"/api/schedules/{name}/resume")
    assert word("schedule-goal") in repr(api.get("/api/schedules"))
    assert word("schedule-goal") in repr(api.get("/api/schedules/of-a-goal"))
    api.post("/api/messages", {"recipient": "writer-1", "payload": word("message")})
    tasks = [
        {"key": "told", "signal": True},
        {"key": "early", "signal": True, "needs": ["told"]},
        {"key": "no", "approval": "may it?", "on_failure": "skip"},
        {
            "key": "after",
            "capability": "text.write",
            "input": {"text": word("flow-input")},
            "title": word("title"),
            "needs": ["early"],
        },
    ]
    flow = api.post("/api/workflows", {"flow": {"name": "planted", "tasks": tasks}})["workflow_id"]
    for key, kind in (("early", "early-answer"), ("told", "answer")):
        api.post(f"/api/workflows/{flow}/signal", {"key": key, "value": word(kind)})
    (asked,) = api.get("/api/approvals", workflow_id=flow)["items"]
    api.post(f"/api/approvals/{asked['task_id']}", {"approved": False, "comment": word("refusal")})
    api.post("/api/kill", {"pool": "teller", "why": word("why")})
    api.post("/api/kill", {"lift": True})


async def plant(fleet: Fleet, home: Path) -> None:
    """Put a word of its own into every kind of text that a fleet keeps."""
    await asyncio.to_thread(plant_by_api, home)
    given = {kind: word(kind) for kind in ("step", "note", "log", "failure", "workspace", "input")}
    with pytest.raises(TaskFailed, match=word("failure")):
        await (await fleet.submit("text.tell", given)).result(timeout_s=LIMIT_S)


@pytest.fixture
def vault() -> Iterator[Keeper]:
    with vault_server() as keeper:
        keeper.secrets["kv/openai"] = {"key": SECRET}
        yield keeper


@pytest.fixture
def amas(tmp_path: Path, vault: Keeper, monkeypatch: pytest.MonkeyPatch) -> Iterator[Command]:
    (tmp_path / "fleet.yaml").write_text(FLEET)
    (tmp_path / "sealed_agents.py").write_text((SAMPLES / "sealed_agents.py").read_text())
    for name, first in (("old", 0), ("new", 1)):
        (tmp_path / name).write_text(bytes(range(first, first + 32)).hex())
    (tmp_path / "backup-key").write_text("a key for back-ups of some length")
    command = Command(tmp_path)
    told = {
        "VAULT_ADDR": vault.url,
        "VAULT_TOKEN": VAULT_TOKEN,
        "AMAS_BACKUP_KEY": f"file:{tmp_path}/backup-key",
        "AMAS_HOME": str(tmp_path / "home"),
    }
    command.environment |= told
    for name, value in told.items():
        monkeypatch.setenv(name, value)
    yield command
    command("down")


@asynccontextmanager
async def started(amas: Command, keys: str, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Fleet]:
    """Run the fleet, and this process as its client, with these keys."""
    amas.environment["AMAS_SEAL_KEY"] = keys
    monkeypatch.setenv("AMAS_SEAL_KEY", keys)
    up = await asyncio.to_thread(amas, "up", "--fleet", "./fleet.yaml")
    assert up.returncode == 0, up.stderr
    async with Fleet.connect(home=amas.folder / "home") as fleet:
        yield fleet
    down = await asyncio.to_thread(amas, "down")
    assert down.returncode == 0, down.stderr


def files_with(folder: Path, text: str) -> list[str]:
    found = (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())
    return [str(path) for path in found if text.encode() in path.read_bytes()]


def answers(home: Path) -> dict[str, str]:
    """Return what every route without parameters answers to a GET, those apart that never end."""
    api = Api.of(Home(home))
    found: dict[str, str] = {}
    for path, methods in api.get("/openapi.json")["paths"].items():
        if "get" in methods and "{" not in path and not path.endswith(("/stream", "/events", "/live")):
            try:
                found[path] = repr(api.get(path))
            except (Refused, ValueError):  # it wants a parameter, or answers no JSON
                continue
    return found


async def test_neither_a_secret_nor_a_payload_lies_anywhere_in_the_open(
    amas: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home, old, new = tmp_path / "home", f"file:{tmp_path}/old", f"file:{tmp_path}/new"
    async with started(amas, old, monkeypatch) as fleet:
        goal = await fleet.run(f"write the {MARKER}", preferences={"mine": MARKER})
        result: Any = await goal.result(timeout_s=LIMIT_S)
        assert MARKER in result["goal"]
        assert MARKER in result["wrote"]["text"]
        assert result["apart"] == result["wrote"]  # an isolated agent gets what its host has read
        assert result["wrote"]["key"] == "vault:kv/openai#key"
        assert result["wrote"]["chars"] == len(SECRET)
        with pytest.raises(TaskFailed, match=r"refused \[vault:kv/openai#key\]"):
            await (await fleet.submit("text.fail", MARKER)).result(timeout_s=LIMIT_S)
        told = await asyncio.to_thread(answers, home)
        assert len(told) > 20
        assert MARKER in told["/api/workflows"]  # who may ask the API gets it
        assert [path for path, said in told.items() if SECRET in said or VAULT_TOKEN in said] == []
        for line in (["diff", "./fleet.yaml"], ["doctor", "--fleet", "./fleet.yaml"]):
            ended = await asyncio.to_thread(amas, *line)
            assert SECRET not in ended.stdout + ended.stderr
        await plant(fleet, home)
        backed_up = await asyncio.to_thread(amas, "backup", "--to", str(tmp_path / "repository"))
        assert backed_up.returncode == 0, backed_up.stderr
    assert files_with(home, SECRET) == files_with(home, VAULT_TOKEN) == files_with(home, MARKER) == []
    assert files_with(home, "text.write")  # what isn't sealed is found
    for folder in (home, tmp_path / "repository"):
        assert {kind: found for kind in SEALED if (found := files_with(folder, word(kind)))} == {}
    assert [kind for kind in IN_THE_OPEN if not files_with(home, word(kind))] == [], "the documentation says more than is so"

    restored = tmp_path / "restored"
    ended = await asyncio.to_thread(amas, "restore", "--home", str(restored), "--from", str(tmp_path / "repository"))
    assert ended.returncode == 0, ended.stderr
    assert files_with(restored, SECRET) == files_with(restored, MARKER) == []
    seal = read_seal()
    assert seal is not None
    values = LargeValues(ArtifactStore(restored / "artifacts", seal=seal.artifacts), seal=seal)
    async with await Records.open(f"sqlite:///{restored / 'records.sqlite3'}") as records:
        found = [await records.task(task.id) for task in await records.tasks()]
        assert {await values.get(task.result) is not None for task in found if task and task.capability == "text.write"} == {True}

    async with started(amas, f"{new} {old}", monkeypatch) as fleet:
        handles = [await fleet.submit("text.write", {"text": f"{MARKER} {number}"}) for number in range(40)]
        hosts = [part for part in fleet_state(home).parts if part.name.startswith("host")]
        rotating = asyncio.create_task(asyncio.to_thread(amas, "seal", "rotate", "--json"))
        os.kill(hosts[0].pid, signal.SIGKILL)
        for number, handle in enumerate(handles):
            assert f"{MARKER} {number}" in (await handle.result(timeout_s=LIMIT_S))["text"]
        ended = await rotating
        assert ended.returncode == 0, ended.stderr
        detail = await asyncio.to_thread(Api.of(Home(home)).get, f"/api/workflows/{goal.id}")
        assert detail["result"] == result  # sealed with the old key, and still held by the engine
    assert files_with(home, MARKER) == files_with(home, SECRET) == []
