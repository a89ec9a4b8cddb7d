"""Agents of a real fleet on two hosts write to each other: its secret, a killed host with mail in hand, refusals, commands."""

import asyncio
import json
import os
import re
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from command import Command

from amas.clock import new_id
from amas.engine.connection import Engine
from amas.errors import MessageForbidden, MessageRefused
from amas.fleet.load import load_fleet
from amas.messages.fleet_bus import fleet_bus
from amas.model.message import Message, MessageType
from amas.platforms.local.control import fleet_state
from amas.platforms.local.home import Home
from amas.platforms.local.secret import message_settings
from amas.policy.signatures import Keyring

LIMIT_S = 60
pytestmark = [pytest.mark.requirement("A3"), pytest.mark.xdist_group("fleet-messages")]

AGENTS = '''
import asyncio, os
from pathlib import Path
from amas import BaseAgent, agent

HERE = Path(__file__).parent


@agent("talk.ask")
async def ask(task):
    answer = await task.request("helper-1", task.input)
    return {"answer": answer.payload, "pid": os.getpid()}


class Helper(BaseAgent):
    async def process_task(self, task):
        return os.getpid()

    async def on_message(self, ctx, message):
        await ctx.reply(message, {"double": message.payload * 2, "pid": os.getpid()})


@agent("talk.hold")
async def hold(task):
    """Take a message and, the first time, never say that it is done with."""
    while not (found := await task.receive(wait_s=30)):
        pass
    if found[0].deliveries == 1:
        (HERE / "holding").write_text(str(os.getpid()))
        await asyncio.Event().wait()
    await task.acknowledge(found)
    return {"payload": found[0].payload, "deliveries": found[0].deliveries, "pid": os.getpid()}


@agent("talk.peek")
async def peek(task):
    return [value for name, value in os.environ.items() if "SECRET" in name]
'''
FLEET = """
name: talk
hosts: 2
pools:
  - {name: chief, layer: executive, agent: "talk_agents:hold", capabilities: [talk.hold]}
  - {name: asker, agent: "talk_agents:ask", capabilities: [talk.ask], lead: chief}
  - {name: helper, agent: "talk_agents:Helper", capabilities: [talk.help], lead: chief}
  - {name: boxed, agent: "talk_agents:peek", capabilities: [talk.peek], lead: chief, isolation: process, replicas: 2}
"""
QUICK = {"AMAS_MESSAGE_CLAIM_S": "6", "AMAS_BEAT_EVERY_S": "0.4"}
"""A host's lease stays as it is: one that a slow moment ends would be another killed host."""


@pytest.fixture(scope="module")
def amas(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Command]:
    """A command beside a fleet on two hosts."""
    command = Command(tmp_path_factory.mktemp("talk"))
    command.environment.update(QUICK)
    (command.folder / "talk_agents.py").write_text(AGENTS)
    (command.folder / "fleet.yaml").write_text(FLEET)
    up = command("up", "--fleet", "./fleet.yaml")
    assert up.returncode == 0, up.stderr
    yield command
    assert command("down").returncode == 0
    assert command.left_running() == []


def said(amas: Command, *arguments: str) -> Any:
    done = amas(*arguments, "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def home(amas: Command) -> Home:
    return Home(amas.folder / "home")


def rest(amas: Command, method: str, path: str, body: object = None) -> Any:
    from urllib.request import Request

    url = fleet_state(home(amas).folder).api_url + path
    data = None if body is None else json.dumps(body).encode()
    with urlopen(Request(url, data, {"Content-Type": "application/json"}, method=method), timeout=LIMIT_S) as answer:
        return json.load(answer)


def work(amas: Command, capability: str, value: object = None) -> str:
    return str(rest(amas, "POST", "/api/tasks", {"capability": capability, "input": value})["id"])


def result(amas: Command, task_id: str) -> Any:
    def ended() -> Any:
        task = rest(amas, "GET", f"/api/tasks/{task_id}")
        return task if task["state"] in ("succeeded", "failed") else None

    task = until(ended)
    assert task["state"] == "succeeded", task
    return rest(amas, "GET", f"/api/tasks/{task_id}/result")["result"]


def until(look: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + LIMIT_S
    while not (found := look()):
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.02)
    return found


def host_of(amas: Command, agent_id: str) -> str:
    def host() -> str:
        (found,) = rest(amas, "GET", "/api/agents?pool=" + agent_id.removesuffix("-1"))["items"] or [{"host_id": ""}]
        return str(found["host_id"])

    return str(until(host))  # agents are seated a moment after their hosts are up


def test_an_agent_asks_one_on_another_host(amas: Command) -> None:
    assert host_of(amas, "asker-1") != host_of(amas, "helper-1")
    told = result(amas, work(amas, "talk.ask", 21))
    assert told["answer"]["double"] == 42
    assert told["pid"] != told["answer"]["pid"]
    state = fleet_state(home(amas).folder)

    def counted() -> bool:
        with urlopen(f"http://127.0.0.1:{state.metrics_port}/metrics", timeout=LIMIT_S) as page:
            found = re.search(r"^orchestration_message_latency_count (\S+)$", page.read().decode(), re.MULTILINE)
        return found is not None and float(found[1]) == 2  # the question and the answer, from two hosts

    until(counted)


def test_a_message_in_the_hands_of_a_killed_host_comes_again(amas: Command) -> None:
    holding = amas.folder / "holding"
    task_id = work(amas, "talk.hold")
    assert amas("messages", "send", "chief-1", '{"keep": true}').stdout == "sent to chief-1\n"
    pid = int(until(lambda: holding.exists() and holding.read_text()))
    assert said(amas, "messages", "inbox", "chief-1") == {"agent_id": "chief-1", "held": 1, "state": "ok", "answers": 0}
    os.kill(pid, signal.SIGKILL)
    told = result(amas, task_id)
    assert told["payload"] == {"keep": True}
    assert told["deliveries"] == 2
    assert told["pid"] != pid
    assert said(amas, "messages", "inbox", "chief-1")["held"] == 0


def test_the_operator_asks_an_agent(amas: Command) -> None:
    assert said(amas, "messages", "ask", "helper-1", "4")["payload"]["double"] == 8
    nobody = amas("messages", "ask", "helper-9", "4")
    assert (nobody.returncode, nobody.stderr.count("\n")) == (2, 1)
    assert nobody.stderr.startswith("amas: this fleet declares no agent 'helper-9': helper has ")
    assert amas("messages").stdout.startswith("the bus is ok; its inboxes hold")


def test_forged_replayed_and_forbidden_messages_are_refused_and_listed(amas: Command) -> None:
    async def misbehave() -> None:
        state = fleet_state(home(amas).folder)
        settings = message_settings(home(amas))
        async with Engine(state.engine_url, cell=state.cell) as engine:
            bus, now = fleet_bus(engine, load_fleet(state.fleet_file), settings), engine.now_ms()
            message = Message(
                id=new_id(), sender="chief-1", recipient="asker-1", type=MessageType.STATUS, sent_ms=now, expires_ms=now + 60_000
            )
            signed = Keyring.of(settings).signer("chief-1").sign(message)
            with pytest.raises(MessageRefused, match="forged"):
                await bus.deliver(bytes(32) + signed[32:], recipient_id="asker-1")
            await bus.deliver(signed, recipient_id="asker-1")
            with pytest.raises(MessageRefused, match="replayed"):
                await bus.deliver(signed, recipient_id="asker-1")
            with pytest.raises(MessageForbidden):
                await bus.escalate_to_management(sender_id="chief-1", payload="nobody is above me")
            with pytest.raises(MessageForbidden, match="no right to approve"):
                await bus.send_message(sender_id="asker-1", recipient_id="chief-1", message_type=MessageType.QUALITY_APPROVAL)

    asyncio.run(misbehave())
    listed = said(amas, "messages", "refused")["items"]
    assert [(one["why"], one["sender"]) for one in listed] == [
        ("forbidden", "asker-1"),
        ("replayed", "chief-1"),
        ("forged", "chief-1"),
    ]
    assert rest(amas, "GET", "/api/messages/refused")["items"] == listed
    assert "forged" in amas("messages", "refused").stdout
    assert amas("messages", "dead").stdout == "no message is dead\n"


def test_the_secret_is_this_users_alone_and_nobody_is_told(amas: Command) -> None:
    file = home(amas).secret_file
    secret = file.read_text()
    assert len(secret) == 64
    assert file.stat().st_mode & 0o777 == 0o600
    assert result(amas, work(amas, "talk.peek")) == []
    for path in [*home(amas).logs.iterdir(), home(amas).state_file]:
        assert secret not in path.read_text(errors="replace"), path
    for process in Path("/proc").glob("[0-9]*"):
        try:
            shown = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
        except OSError:
            continue
        assert secret.encode() not in shown, process


def test_a_fleet_that_starts_again_keeps_its_secret(tmp_path: Path) -> None:
    command = Command(tmp_path)
    (tmp_path / "talk_agents.py").write_text(AGENTS)
    (tmp_path / "fleet.yaml").write_text(FLEET.replace("hosts: 2", "hosts: 1"))
    try:
        assert command("up", "--fleet", "./fleet.yaml").returncode == 0
        secret = home(command).secret_file.read_text()
        command("messages", "send", "chief-1", "hear")
        assert command("down").returncode == 0
        assert command("up", "--fleet", "./fleet.yaml").returncode == 0
        assert home(command).secret_file.read_text() == secret
        (command.folder / "holding").unlink(missing_ok=True)
        assert said(command, "messages", "inbox", "chief-1")["held"] == 1  # signed before, and to be read
    finally:
        command("down")
    assert command.left_running() == []


def test_a_secret_from_outside_makes_no_file_and_stays_out_of_agents_hands(tmp_path: Path) -> None:
    command = Command(tmp_path)
    command.environment["AMAS_MESSAGE_SECRET"] = "given-from-a-vault-somewhere"
    (tmp_path / "talk_agents.py").write_text(AGENTS)
    (tmp_path / "fleet.yaml").write_text(FLEET.replace("hosts: 2", "hosts: 1"))
    try:
        assert command("up", "--fleet", "./fleet.yaml").returncode == 0
        assert not home(command).secret_file.exists()
        assert said(command, "messages", "ask", "helper-1", "4")["payload"]["double"] == 8
        assert result(command, work(command, "talk.peek")) == []
    finally:
        command("down")
