"""Foreign A2A agents as a pool of the fleet: on a real host, against the protocol's SDK, and against agents that mean harm."""

import base64
import json
import socket
import threading
from collections.abc import Callable, Iterator
from http.client import HTTPException
from pathlib import Path
from typing import Any

import msgspec
import pytest
from a2a_liar import COMPLETED, Liar, honest_card, task_at
from a2a_served import Remote, remote_agent
from host_bench import Bench
from http_served import running

from amas.agents import foreign
from amas.agents.a2a_agent import A2aAgent, A2aSpec
from amas.agents.a2a_card import WELL_KNOWN
from amas.agents.pinned import Pinned
from amas.clock import new_id
from amas.engine.queue import make_submission
from amas.engine.signals import open_approvals
from amas.engine.workflows import Workflows
from amas.errors import FleetError, FleetFileInvalid, RetryLater
from amas.fleet.load import load_fleet
from amas.model.blob import to_blob
from amas.model.fleet import PoolSpec
from amas.model.journal import WorkflowOpening
from amas.model.states import AgentStatus, Layer, TaskState
from amas.model.task import RetryPolicy, TaskSpec, TaskView

pytestmark = pytest.mark.requirement("T1")
CAN = "text.reverse"


@pytest.fixture
def remote() -> Iterator[Remote]:
    with remote_agent() as made:
        yield made


def pool(card: str, **a2a: Any) -> PoolSpec:
    said = {"card": card, "private": True, "timeout_s": 30, "poll_s": 0.2, **a2a}
    return PoolSpec(name="reverser", agent="amas.agents.a2a_agent:A2aAgent", capabilities=(CAN,), options={"a2a": said})


async def done(bench: Bench, pool: PoolSpec, value: Any = "abc", **spec: Any) -> TaskView:
    """Return what became of one task."""
    async with bench.host([pool]):
        return await bench.ended(await bench.submit(CAN, value, **spec))


async def test_a_task_is_a_message_and_what_comes_of_it_the_result(
    bench: Bench, remote: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("REMOTE_AUTH", "Bearer its-own-secret")
    task = await done(bench, pool(remote.url, headers={"Authorization": "env:REMOTE_AUTH"}, skills=["reverse"]))
    assert task.result == {"text": "cba", "data": [], "files": []}
    assert remote.executed == ["abc"]
    assert {headers["authorization"] for headers in remote.headers} == {"Bearer its-own-secret"}
    assert {headers["a2a-version"] for headers in remote.headers} == {"1.0"}


async def test_values_are_data_and_both_can_be_made_of_the_input(bench: Bench, remote: Remote) -> None:
    said = {"text": {"$": "input.say"}, "data": {"n": {"$": "input.n"}}, "result": "[text, data[0].got.n]"}
    async with bench.host([pool(remote.url, **said)]):
        assert (await bench.ended(await bench.submit(CAN, {"say": "ab", "n": 7}))).result == ["ba", 7]
    assert (await done(bench, pool(remote.url, result="data[0]"), {"a": [True]})).result == {"got": {"a": [True]}}


async def test_files_become_artifacts_and_addresses_stay_what_they_are(bench: Bench, remote: Remote) -> None:
    task = await done(bench, pool(remote.url, result="files"), "file")
    kept, named = task.result
    assert bench.artifacts.get(kept["artifact"]) == b"\x00\x01"
    assert (kept["name"], kept["media_type"], kept["bytes"]) == ("../a\\u001b[31m.bin", "application/x-own", 2)
    assert named == {"name": "b", "media_type": "", "url": "http://169.254.169.254/latest"}


async def test_an_answer_without_a_task_is_a_result(bench: Bench, remote: Remote) -> None:
    assert (await done(bench, pool(remote.url, result="text"), "message only")).result == "no task was needed"


async def test_one_that_failed_is_done_anew_as_the_retries_say(bench: Bench, remote: Remote) -> None:
    remote.failures = 1
    task = await done(bench, pool(remote.url, result="text"), "fail")
    assert (task.result, task.failures, remote.executed) == ("liaf", 1, ["fail", "fail"])
    remote.failures = 5
    task = await done(bench, pool(remote.url), "fail")
    assert task.failure is not None and (task.failure.code, task.failures) == ("foreign_failed", 3)
    assert task.failure.message == "the foreign agent failed: my \\u001b[2Jmodel broke"


@pytest.mark.parametrize(
    ("text", "code", "called_off"),
    [("reject", "foreign_rejected", False), ("ask", "input_required", True), ("let me in", "auth_required", True)],
)
async def test_what_no_attempt_can_help_fails_at_once(
    bench: Bench, remote: Remote, text: str, code: str, called_off: bool
) -> None:
    task = await done(bench, pool(remote.url), text)
    assert task.failure is not None and (task.failure.code, task.attempt) == (code, 1)
    assert (remote.executed, remote.cancelled.is_set()) == ([text], called_off)


async def test_a_cancelled_task_is_called_off_there(bench: Bench, remote: Remote) -> None:
    async with bench.host([pool(remote.url)]):
        task_id = await bench.submit(CAN, "wait")
        await _event(bench, remote.begun)
        await bench.queue.cancel([task_id])
        await _event(bench, remote.cancelled)
        assert (await bench.ended(task_id)).state is TaskState.CANCELLED


async def test_one_whose_last_attempt_is_out_of_time_is_called_off_and_another_is_not(bench: Bench, remote: Remote) -> None:
    task = await done(
        bench, pool(remote.url), "wait", timeout_s=2.0, retry=RetryPolicy(retries=1, backoff_s=0.001, backoff_max_s=0.002)
    )
    assert task.failure is not None and (task.failure.code, task.failures) == ("timed_out", 2)
    await _event(bench, remote.cancelled)
    assert remote.executed == ["wait"]


async def test_another_host_goes_on_with_the_same_remote_task(bench: Bench, remote: Remote) -> None:
    async with bench.host([pool(remote.url, result="text")], "h1"):
        task_id = await bench.submit(CAN, "wait")
        await _event(bench, remote.begun)
    assert not remote.cancelled.is_set(), "a host that leaves calls nothing off"
    remote.go_on.set()
    async with bench.host([pool(remote.url, result="text")], "h2"):
        assert (await bench.ended(task_id)).result == "waited"
    assert remote.executed == ["wait"]


TOP = PoolSpec(name="top", agent="authority_agents:top", capabilities=("place.top",), layer=Layer.EXECUTIVE)


async def test_its_questions_go_up_and_the_answers_to_it(bench: Bench, remote: Remote) -> None:
    asking = msgspec.structs.replace(pool(remote.url, questions="escalate", result="text"), lead="top")
    async with bench.host([TOP, asking]):
        view = await bench.ended(await bench.submit(CAN, "ask"))
    assert (view.result, view.failures) == ("decided at the top decided at the top", 0)
    assert (remote.executed, remote.answers) == (["ask"], ["decided at the top"] * 2)


@pytest.mark.parametrize("comment", ["blue", ""])
async def test_a_person_s_comment_is_the_answer(bench: Bench, liar: Liar, comment: str) -> None:
    asks = {"messageId": "q-1", "role": "ROLE_AGENT", "parts": [{"text": "people?"}]}
    waiting = {**task_at("INPUT_REQUIRED"), "status": {"state": "TASK_STATE_INPUT_REQUIRED", "message": asks}}
    liar.results = {"SendMessage": [{"task": waiting}], "GetTask": [waiting]}
    asking = msgspec.structs.replace(pool(liar.url, questions="escalate", result="text"), lead="top")
    async with bench.host([TOP, asking]):
        workflow, task_id = new_id(), new_id()
        spec = TaskSpec(capability=CAN, input="ask", workflow_id=workflow)
        opening = WorkflowOpening(workflow, to_blob(None), "", {})
        await bench.queue.submit([make_submission(task_id, spec)], workflow=opening)
        (approval,) = await bench.until(lambda: open_approvals(bench.engine, workflow_id=workflow))
        liar.results["GetTask"] = [*[waiting] * 6, task_at("WORKING"), COMPLETED]
        given = {"approved": True, "by": "ada", **({"comment": comment} if comment else {})}
        await Workflows(bench.engine).signal(approval.task_id, given)
        assert (await bench.ended(task_id)).result == "made"
    _, answer = (sent["message"] for sent in liar.called("SendMessage"))
    assert (answer["taskId"], answer["parts"]) == ("r-1", [{"text": comment or "yes"}])


async def test_a_name_is_looked_at_for_each_request(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its card comes from a public address; then the name stands for a private one, where something else listens."""
    honest, inside = Liar(), Liar("127.0.0.2")
    real, left = socket.getaddrinfo, ["127.0.0.1", "127.0.0.2"]

    def looked_up(host: Any, port: Any, *args: Any, **more: Any) -> Any:
        ours = host in {"agents.example", b"agents.example"}
        return real((left.pop(0) if len(left) > 1 else left[0]) if ours else host, port, *args, **more)

    monkeypatch.setattr(socket, "getaddrinfo", looked_up)
    monkeypatch.setattr(foreign, "is_public", lambda address: address == "127.0.0.1")
    honest.card = honest_card(f"http://agents.example:{inside.http.server_port}/rpc")
    where = {"hosts": [f"agents.example:{inside.http.server_port}"], "private": False}
    with running(honest.http), running(inside.http):
        task = await done(bench, pool(f"http://agents.example:{honest.http.server_port}", **where))
    assert task.failure is not None and task.failure.code == "address_refused"
    assert (len(honest.called("GET")) > 0, inside.asked) == (True, [])


async def test_a_card_a_byte_at_a_time_is_not_waited_for(liar: Liar) -> None:
    agent = A2aAgent("reverser-1", pool(liar.url, timeout_s=0.5))
    liar.drip = threading.Event()
    try:
        with pytest.raises(RetryLater, match=r"no whole answer within 0\.5 s"):
            await agent.health_check()
    finally:
        liar.drip.set()


async def _event(bench: Bench, event: Any) -> None:
    async def is_set() -> bool:
        return bool(event.is_set())

    await bench.until(is_set)


@pytest.fixture
def liar() -> Iterator[Liar]:
    made = Liar()
    with running(made.http):
        yield made


@pytest.fixture
def trap() -> Iterator[Liar]:
    made = Liar()
    with running(made.http):
        yield made


async def refused(bench: Bench, liar: Liar, **a2a: Any) -> str:
    """Return why a task is refused, after one look at the card and nothing more."""
    task = await done(bench, pool(liar.url, **a2a))
    assert task.failure is not None and task.attempt == 1
    assert {name for name, _ in liar.asked} <= {"GET"}
    return f"{task.failure.code}: {task.failure.message}"


CARDS: dict[str, tuple[Callable[[str, str], Any], str]] = {
    "another host": (lambda here, trap: honest_card(f"{trap}/rpc"), "isn't declared"),
    "cloud metadata": (lambda here, trap: honest_card("http://169.254.169.254/latest"), "isn't declared"),
    "this host by another name": (lambda here, trap: honest_card(here.replace("127.0.0.1", "localhost")), "isn't declared"),
    "somebody else after an @": (lambda here, trap: honest_card(here.replace("//", "//me@")), "isn't declared"),
    "no port": (lambda here, trap: honest_card("http://127.0.0.1:x/"), "isn't declared"),
    "a file": (lambda here, trap: honest_card("file:///etc/passwd"), "isn't declared"),
    "an old version": (
        lambda here, trap: {
            "name": "Old",
            "supportedInterfaces": [{"url": here, "protocolBinding": "JSONRPC", "protocolVersion": "0.3"}],
        },
        "Old doesn't speak A2A 1.0 over JSONRPC: it offers JSONRPC 0.3",
    ),
    "an even older one": (lambda here, trap: {"name": "Old", "url": here, "protocolVersion": "0.2.5"}, "it offers nothing"),
    "a wanted extension": (
        lambda here, trap: honest_card(here, capabilities={"extensions": [{"uri": "https://pay.example/v1", "required": True}]}),
        "wants an extension",
    ),
    "colours": (lambda here, trap: honest_card(f"{trap}/\x1b[31m", name="\x1b[2JAdmin\u202e"), "\\u001b[2JAdmin\\u202e sends us"),
    "deeply nested": (
        lambda here, trap: b'{"name": "x", "skills": ' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        "isn't one|nested",
    ),
    "deeply nested elsewhere": (lambda here, trap: b'{"mystery": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "isn't one|nested"),
    "no JSON": (lambda here, trap: b"<html>", "isn't one of A2A"),
    "another kind of JSON": (lambda here, trap: [1], "isn't one of A2A"),
    "too large": (lambda here, trap: honest_card(here, description="x" * 300_000), "answer_too_large"),
}


@pytest.mark.parametrize("kind", CARDS)
async def test_a_card_can_send_us_nowhere_and_harm_nobody(bench: Bench, liar: Liar, trap: Liar, kind: str) -> None:
    made, why = CARDS[kind]
    liar.card = made(f"{liar.url}/rpc", trap.url)
    said = await refused(bench, liar)
    assert any(each in said for each in why.split("|")), said
    assert "\x1b" not in said and trap.asked == []


async def test_a_declared_host_may_be_named(bench: Bench, liar: Liar, trap: Liar) -> None:
    liar.card, trap.results = honest_card(f"{trap.url}/rpc"), {"SendMessage": [{"task": COMPLETED}]}
    task = await done(bench, pool(liar.url, hosts=[trap.url.removeprefix("http://")], result="text"))
    assert task.result == "made"


async def test_what_the_card_is_redirected_to_is_not_asked(bench: Bench, liar: Liar, trap: Liar) -> None:
    liar.card_status, liar.location = 307, f"{trap.url}{WELL_KNOWN}"
    assert "redirect_refused" in await refused(bench, liar)
    assert trap.asked == []


async def test_skills_that_are_wanted_must_be_there_and_others_give_nothing(bench: Bench, liar: Liar) -> None:
    liar.card = honest_card(f"{liar.url}/rpc", skills=[{"id": "everything\x1b[31m", "name": "Everything"}])
    assert "doesn't have the skill 'reverse'" in await refused(bench, liar, skills=["reverse"])
    agent = A2aAgent("reverser-1", pool(liar.url))
    assert await agent.health_check() and agent.capabilities == (CAN,)


async def test_private_addresses_are_for_those_who_declare_them(bench: Bench, liar: Liar) -> None:
    assert "address_refused" in await refused(bench, liar, private=False)
    assert liar.asked == []


async def test_an_agent_whose_card_is_away_gets_no_tasks(bench: Bench, liar: Liar) -> None:
    liar.card_status, liar.results = 503, {"SendMessage": [{"task": COMPLETED}]}
    async with bench.host([pool(liar.url, result="text")]) as host:
        task_id = await bench.submit(CAN, "abc")

        async def known() -> bool:
            return host.seats["reverser-1"].agent.status is AgentStatus.ERROR

        await bench.until(known)
        assert liar.called("SendMessage") == []
        liar.card_status = 200
        assert (await bench.ended(task_id)).result == "made"


async def test_a_lost_answer_does_not_make_two_of_one(bench: Bench, liar: Liar) -> None:
    """The message was taken, and nobody heard of it: the next attempt finds the task by its context."""
    liar.drops = ["SendMessage"]
    liar.results = {
        "SendMessage": [{"task": task_at("WORKING")}],
        "ListTasks": [lambda params: {"tasks": [task_at("WORKING", contextId=params["contextId"])]}],
        "GetTask": [COMPLETED],
    }
    task = await done(bench, pool(liar.url, result="text"))
    assert (task.result, task.failures) == ("made", 1)
    (sent,) = liar.called("SendMessage")
    assert sent["message"]["messageId"] == sent["message"]["contextId"] == task.id
    assert [params["contextId"] for params in liar.called("ListTasks")] == [task.id]


async def test_the_id_of_the_task_there_outlives_a_host_where_there_is_no_list(bench: Bench, liar: Liar) -> None:
    liar.results = {"SendMessage": [{"task": task_at("WORKING")}], "GetTask": [task_at("WORKING")]}
    async with bench.host([pool(liar.url, result="text")], "h1"):
        task_id = await bench.submit(CAN, "abc")

        async def looked() -> bool:
            return bool(liar.called("GetTask"))

        await bench.until(looked)
    liar.results["GetTask"] = [COMPLETED]
    async with bench.host([pool(liar.url, result="text")], "h2"):
        assert (await bench.ended(task_id)).result == "made"
    assert len(liar.called("SendMessage")) == 1


async def test_without_a_list_the_message_is_said_again_under_its_id(bench: Bench, liar: Liar) -> None:
    liar.drops, liar.results = ["SendMessage"], {"SendMessage": [{"task": COMPLETED}]}
    task = await done(bench, pool(liar.url, result="text"))
    assert task.result == "made"
    assert [sent["message"]["messageId"] for sent in liar.called("SendMessage")] == [task.id] * 2


async def test_a_moment_away_costs_no_attempt(bench: Bench, liar: Liar) -> None:
    liar.results = {"SendMessage": [{"task": task_at("SUBMITTED")}], "GetTask": [503, 429, -32603, task_at("WORKING"), COMPLETED]}
    task = await done(bench, pool(liar.url, result="text"))
    assert (task.result, task.failures, task.attempt) == ("made", 0, 1)


def update(state: str, text: str = "") -> dict[str, Any]:
    said = {"message": {"messageId": "m", "parts": [{"text": text}]}} if text else {}
    return {"statusUpdate": {"taskId": "r-1", "status": {"state": f"TASK_STATE_{state}", **said}}}


async def test_a_stream_says_when_to_look(bench: Bench, liar: Liar) -> None:
    liar.card = honest_card(f"{liar.url}/rpc", capabilities={"streaming": True})
    piece = {"artifactUpdate": {"taskId": "r-1", "artifact": {"artifactId": "a", "parts": [{"text": "ma"}]}}}
    events = [{"task": task_at("WORKING")}, update("WORKING", "half \x1b[31mway"), piece, update("COMPLETED"), update("WORKING")]
    liar.results = {"SendMessage": [{"task": task_at("WORKING")}], "SubscribeToTask": [(events, b"")], "GetTask": [COMPLETED]}
    task = await done(bench, pool(liar.url, result="text", poll_s=600))
    assert task.result == "made"
    assert [name for name, _ in liar.asked if name != "GET"] == ["SendMessage", "SubscribeToTask", "GetTask"]


STREAMS: dict[str, Any] = {
    "none": -32004,
    "trouble": 503,
    "no stream": b"<html>",
    "no event of the protocol": ([], b"data: []\n\n"),
    "another's": ([], b'data: {"id": "x", "result": {}}\n\n'),
    "too large an event": ([], b"data: " + b"x" * (5 << 20) + b"\n\n"),
    "comments without end": ([], b":" + b"x" * (5 << 20)),
    "an event cut off": ([], b'data: {"id'),
    "nested": ([], b"data: " + b"[" * 100_000 + b"\n\n"),
    "nothing": ([], b""),
    "a bell for nothing": ([update("COMPLETED")], b""),
}


@pytest.mark.parametrize("kind", STREAMS)
async def test_a_stream_that_is_no_good_harms_nothing(bench: Bench, liar: Liar, kind: str) -> None:
    liar.card = honest_card(f"{liar.url}/rpc", capabilities={"streaming": True})
    liar.results = {
        "SendMessage": [{"task": task_at("WORKING")}],
        "SubscribeToTask": [STREAMS[kind]],
        "GetTask": [task_at("WORKING")] * 3 + [COMPLETED],
    }
    task = await done(bench, pool(liar.url, result="text"))
    assert (task.result, task.attempt) == ("made", 1)
    assert len(liar.called("SubscribeToTask")) == (4 if kind in {"nothing", "an event cut off"} else 1)
    assert len(liar.called("GetTask")) == 4


@pytest.mark.parametrize("kind", ["too large an event", "comments without end"])
def test_no_more_of_a_stream_is_kept_than_an_event_may_have(liar: Liar, kind: str) -> None:
    liar.results = {"SubscribeToTask": [STREAMS[kind]]}
    connection = Pinned("localhost", liar.http.server_port, "127.0.0.1", secure=False, timeout_s=60)
    body = json.dumps({"id": 1, "method": "SubscribeToTask", "params": {}}).encode()
    with pytest.raises(HTTPException, match="more than 1000 bytes"):
        connection.listen("/", {}, body, heard=lambda _: False, bytes_max=1000)
    connection.end()


async def test_a_busy_agent_s_tasks_wait_and_none_has_failed(bench: Bench, liar: Liar) -> None:
    liar.results = {"SendMessage": [429, {"task": COMPLETED}]}
    task = await done(bench, pool(liar.url, result="text"))
    assert (task.result, task.failures) == ("made", 0)


@pytest.mark.parametrize(
    ("results", "code"),
    [
        ({"SendMessage": [-32602]}, "request_refused"),
        ({"SendMessage": [b"<html>"]}, "answer_unreadable"),
        ({"SendMessage": [json.dumps({"id": "another", "result": {"task": COMPLETED}}).encode()]}, "answer_unreadable"),
        ({"SendMessage": [{}]}, "answer_unreadable"),
        ({"SendMessage": [{"task": task_at("UNHEARD_OF\x1b[31m")}]}, "answer_unreadable"),
        ({"SendMessage": [{"task": {**COMPLETED, "id": "x" * 5000}}]}, "answer_unreadable"),
        ({"SendMessage": [{"task": task_at("WORKING")}], "GetTask": [-32001]}, "foreign_lost"),
        ({"SendMessage": [{"task": task_at("WORKING")}], "GetTask": [{**COMPLETED, "id": "another's"}]}, "answer_unreadable"),
        ({"SendMessage": [{"task": task_at("CANCELED")}]}, "foreign_cancelled"),
        ({"SendMessage": [b'{"result": ' + b"[" * 100_000 + b"]" * 100_000 + b"}"]}, "answer_unreadable"),
    ],
)
async def test_an_agent_that_makes_no_sense_fails_its_task_at_once(
    bench: Bench, liar: Liar, results: dict[str, list[Any]], code: str
) -> None:
    liar.results = results
    task = await done(bench, pool(liar.url))
    assert task.failure is not None and (task.failure.code, task.attempt) == (code, 1)
    assert "\x1b" not in task.failure.message


async def test_bytes_come_as_base64(bench: Bench, liar: Liar) -> None:
    raw = base64.b64encode(b"some").decode()
    liar.results = {"SendMessage": [{"task": task_at("COMPLETED", artifacts=[{"parts": [{"raw": raw}]}])}]}
    (kept,) = (await done(bench, pool(liar.url, result="files"))).result
    assert bench.artifacts.get(kept["artifact"]) == b"some"


FLEET = """
name: afar
pools:
  - {name: chief, layer: executive, agent: "sample_agents:echo", capabilities: [test.echo]}
  - name: reverser
    lead: chief
    capabilities: [text.reverse]
    a2a: {card: "https://agents.example", poll: 2s, timeout: 30s, skills: [reverse], enabled: %s}
"""


def test_a_fleet_file_switches_it_on_and_off(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text(FLEET % "true")
    spec = load_fleet(path, agents=True, environ={})
    found = A2aAgent("reverser-1", spec.pool("reverser")).spec
    assert found == A2aSpec(card="https://agents.example", poll_s=2.0, timeout_s=30.0, skills=("reverse",))
    assert found.card_url == "https://agents.example/.well-known/agent-card.json"
    path.write_text(FLEET % "false")
    assert load_fleet(path, agents=True, environ={}).capabilities == {"test.echo"}


@pytest.mark.parametrize(
    ("said", "why"),
    [
        ({"card": "ftp://x/y"}, "no address"),
        ({"card": "https://me:secret@x/y"}, "no address"),
        ({"hosts": ["https://x"]}, "no host"),
        ({"hosts": ["x/y"]}, "no host"),
        ({"poll_s": 0}, "a poll of 0 s"),
        ({"result": "["}, "JMESPath"),
        ({"headers": {"Authorization": "env:NO_SUCH_SECRET"}}, "env:NO_SUCH_SECRET"),
        ({"questions": "guess"}, "needs a2a"),
    ],
)
def test_a_wrong_declaration_is_told_before_the_fleet_starts(said: dict[str, Any], why: str) -> None:
    with pytest.raises(FleetError, match=why):
        A2aAgent.check(pool(**{"card": "https://x/y", **said}))


def test_a_pool_is_made_in_one_way(tmp_path: Path) -> None:
    path = tmp_path / "fleet.yaml"
    path.write_text((FLEET % "true").replace("    a2a:", '    agent: "sample_agents:echo"\n    a2a:'))
    with pytest.raises(FleetFileInvalid, match="say one of"):
        load_fleet(path, agents=True, environ={})
