"""Agents elsewhere against a real fleet: the examples as they stand, a program's registry, kill -9 in mid-task, a cut network."""

import asyncio
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import httpx
import pytest
from tests.fault.chaos_proxy import ChaosProxy
from tests.waiting import until

from amas.errors import GiveUp, RemoteRefused, RetryLater, SubmissionError
from amas.model.remote import RemoteAgent
from amas.model.states import AgentStatus
from amas.platforms.local.control import fleet_state, start_fleet
from amas.platforms.local.home import Home
from amas.platforms.local.request import request_for
from amas.programs.link import Link
from amas.programs.registry import RedisAgentRegistry
from amas.remote import Agent, Task

EXAMPLES = Path(__file__).parents[2] / "examples" / "remote"
LIMIT_S = 90
TYPESCRIPT = "typescript@5"
pytestmark = [pytest.mark.requirement("T1"), pytest.mark.xdist_group("remote-agents")]

AGENTS = """
from amas import agent

@agent("test.own")
async def own(task):
    return "done here"
"""
FLEET = """
name: afar
hosts: 1
remote: {agents: listed, capabilities: [text.words, text.turn, test.afar]}
pools:
  - {name: chief, layer: executive, agent: "afar_agents:own", capabilities: [test.own]}
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The home of a fleet that lets remote agents in, whose leases end soon."""
    folder = tmp_path_factory.mktemp("afar")
    (folder / "afar_agents.py").write_text(AGENTS)
    (folder / "fleet.yaml").write_text(FLEET)
    patch = pytest.MonkeyPatch()
    patch.setenv("AMAS_REMOTE_LEASE_S", "8")
    running = asyncio.run(start_fleet(request_for(str(folder / "fleet.yaml"), Home(folder / "home"), ports=(0, 0))))
    yield folder / "home"
    asyncio.run(running.stop())
    patch.undo()


@pytest.fixture
def url(home: Path) -> str:
    return fleet_state(home).api_url


def say(url: str, method: str, path: str, body: object = None, token: str = "") -> Any:
    """Return what the API answers; (status, code) where it refuses."""
    headers = {"content-type": "application/json", **({"authorization": f"Bearer {token}"} if token else {})}
    data = None if body is None else json.dumps(body).encode()
    try:
        with urlopen(Request(url + path, data, headers, method=method), timeout=LIMIT_S) as answer:
            return json.load(answer)
    except HTTPError as error:
        return error.status, json.load(error)["code"]


def submit(url: str, capability: str, value: object = None) -> str:
    return str(say(url, "POST", "/api/tasks", {"capability": capability, "input": value})["id"])


def result(url: str, task_id: str) -> Any:
    for _ in range(LIMIT_S // 30):
        answer = say(url, "GET", f"/api/tasks/{task_id}/result?wait=30")
        if answer["state"] == "succeeded":
            return answer["result"]
    raise AssertionError(f"{task_id} didn't end")


@contextmanager
def agent(command: list[str], url: str, **environment: str) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a program as a remote agent, and end all of it by SIGTERM."""
    process = subprocess.Popen(command, env={**os.environ, "AMAS_URL": url, **environment}, start_new_session=True)
    try:
        yield process
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="curl or jq is missing")
def test_the_example_in_bash(url: str) -> None:
    assert len((EXAMPLES / "agent.sh").read_text().splitlines()) <= 60
    with agent([str(EXAMPLES / "agent.sh")], url):
        tasks = [submit(url, "text.words", {"text": "word " * count}) for count in (1, 7, 30)]
        assert [result(url, task_id) for task_id in tasks] == [{"words": 1}, {"words": 7}, {"words": 30}]
        broken = submit(url, "text.words", None)  # jq finds no text in it: null is one word
        assert result(url, broken) == {"words": 1}


@pytest.mark.skipif(not (shutil.which("curl") and shutil.which("jq")), reason="curl or jq is missing")
def test_the_example_in_bash_ends_with_all_that_it_has_begun(url: str, tmp_path: Path) -> None:
    slow = tmp_path / "slow.sh"
    slow.write_text((EXAMPLES / "agent.sh").read_text().replace("jq -r .input.text | wc -w", "touch began; sleep 3600"))
    with subprocess.Popen(["bash", slow], cwd=tmp_path, env={**os.environ, "AMAS_URL": url}, start_new_session=True) as process:
        try:
            task_id = submit(url, "text.words", {"text": "one"})
            until(lambda: (tmp_path / "began").exists())
            process.terminate()  # as a service manager may: the shell, and nobody else
            until(lambda: say(url, "GET", f"/api/tasks/{task_id}")["state"] == "queued")
            until(lambda: not in_session(process.pid))
        finally:
            for pid in in_session(process.pid):
                os.kill(pid, signal.SIGKILL)
    say(url, "POST", f"/api/tasks/{task_id}/cancel", {})


def in_session(leader: int) -> list[int]:
    """Return the processes that began in one session and haven't ended."""
    fields = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            name, _, rest = path.read_text().rpartition(")")
            fields.append((int(name.split()[0]), *rest.split()))
    return [pid for pid, state, _, _, session, *_ in fields if state != "Z" and int(session) == leader]


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The TypeScript example as JavaScript."""
    if not (shutil.which("node") and shutil.which("npx")):
        pytest.skip("node is missing")
    folder = tmp_path_factory.mktemp("ts")
    shutil.copy(EXAMPLES / "agent.ts", folder)
    options = ["--strict", "--target", "es2022", "--module", "es2022", "agent.ts"]
    done = subprocess.run(
        ["npx", "--yes", "--package", TYPESCRIPT, "tsc", *options],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    if done.returncode and "agent.ts(" not in done.stdout:
        pytest.skip("the TypeScript compiler can't be had")
    assert done.returncode == 0, done.stdout
    return (folder / "agent.js").rename(folder / "agent.mjs")


def test_the_example_in_typescript(url: str, compiled: Path) -> None:
    assert len((EXAMPLES / "agent.ts").read_text().splitlines()) <= 60
    with agent(["node", str(compiled)], url, AGENT_NAME="turn-ts"):
        tasks = [submit(url, "text.turn", {"text": text}) for text in ("abc def", "x", "one two three")]
        assert [result(url, task_id) for task_id in tasks] == ["cba fed", "x", "eno owt eerht"]
        (shown,) = say(url, "GET", "/api/remote/agents?capability=text.turn&label=lang%3Dts")["items"]
        assert shown["id"] == "remote.turn-ts"


def test_the_example_in_python(url: str, home: Path) -> None:
    assert len((EXAMPLES / "agent.py").read_text().splitlines()) <= 23
    with agent([sys.executable, str(EXAMPLES / "agent.py")], url, AGENT_NAME="words-py") as process:
        tasks = [submit(url, "text.words", {"text": "word " * count}) for count in (1, 7, 30)]
        assert [result(url, task_id) for task_id in tasks] == [{"words": 1}, {"words": 7}, {"words": 30}]
        shown = say(url, "GET", "/api/agents/remote.words-py")
        assert (shown["status"], shown["labels"], shown["slots"]) == ("idle", {"lang": "py"}, 4)
        command = [sys.executable, "-m", "amas", "ps", "--home", str(home)]
        listed = subprocess.run(
            command, env={**os.environ, "COLUMNS": "160"}, capture_output=True, text=True, timeout=LIMIT_S, check=True
        )
        (line,) = [line for line in listed.stdout.splitlines() if "remote.words-py" in line]
        assert "idle" in line and shown["host_id"] in line
        asked = {"recipient": "remote.words-py", "payload": "hello", "timeout_s": 60}
        assert say(url, "POST", "/api/messages/ask", asked)["payload"] == "remote.words-py read 'hello'"
    assert process.returncode == 0, "SIGTERM ends it in good order"
    assert say(url, "GET", "/api/agents/remote.words-py") == (404, "agent_unknown")


@asynccontextmanager
async def serving(one: Agent) -> AsyncIterator[None]:
    """Have an agent work in this program, and end it in good order."""
    async with asyncio.timeout(LIMIT_S), asyncio.TaskGroup() as group:
        group.create_task(one.serve())
        try:
            yield
        finally:
            one.stop()


async def test_an_agent_in_python_works_on_through_cuts_and_a_lost_session(url: str) -> None:
    async def ended(value: object) -> tuple[str, Any]:
        task_id = await asyncio.to_thread(submit, url, "test.afar", value)
        await asyncio.to_thread(say, url, "GET", f"/api/tasks/{task_id}/result?wait=30")
        shown = await asyncio.to_thread(say, url, "GET", f"/api/tasks/{task_id}")
        return shown["state"], shown["failure"]["message"] if shown["failure"] else shown["result"]

    done: list[str] = []
    async with ChaosProxy(("127.0.0.1", int(url.rpartition(":")[2]))).running() as proxy:
        one = Agent("sturdy", url=proxy.url.replace("redis://127.0.0.1", "http://localhost"), slots=2)

        async def once() -> str:
            done.append("once")
            return "kept"

        @one.can("test.afar")
        async def work(task: Task) -> Any:
            match task.input:
                case "later":
                    kept = await task.step("once", once)
                    if task.attempt == 1:
                        raise RetryLater(delay_s=0)
                    return [task.attempt, kept]
                case "never":
                    raise GiveUp("there is no such page")
            await task.progress(0.5, "half")
            return task.input

        async with serving(one):
            assert await ended(1) == ("succeeded", 1)
            proxy.reset()  # in the middle of a long poll
            state, (attempt, kept) = await ended("later")
            assert (state, attempt >= 2, kept) == ("succeeded", True, "kept")  # a slow machine may lose a lease besides
            assert done == ["once"], "a later attempt finds its steps"
            assert await ended("never") == ("failed", "there is no such page")
            session = one._wire.session
            assert session is not None
            path = f"/api/remote/sessions/{session.session_id}"
            await asyncio.to_thread(say, url, "DELETE", path, None, session.token)
            assert await ended(2) == ("succeeded", 2)
            assert one._wire.session is not None and one._wire.session.session_id != session.session_id
    assert say(url, "GET", "/api/agents/remote.sturdy") == (404, "agent_unknown")


async def test_a_tasks_blocking_function_runs_beside_others_and_the_rest_is_given_back_at_the_end(url: str) -> None:
    begun, release = threading.Semaphore(0), threading.Event()
    one = Agent("blocking", url=url, slots=2, drain_s=0)

    @one.can("test.afar")
    def work(task: Task) -> int:
        begun.release()
        release.wait(LIMIT_S)
        return task.attempt

    async with serving(one):
        tasks = [await asyncio.to_thread(submit, url, "test.afar") for _ in range(2)]
        for _ in tasks:
            assert await asyncio.to_thread(begun.acquire, timeout=LIMIT_S)
    release.set()
    two = Agent("heir", url=url)
    two.can("test.afar")(lambda task: task.attempt)
    async with serving(two):
        attempts = [await asyncio.to_thread(result, url, task_id) for task_id in tasks]
        assert min(attempts) >= 2, "somebody else did it"
        shown = [await asyncio.to_thread(say, url, "GET", f"/api/tasks/{task_id}") for task_id in tasks]
        assert [one["failures"] for one in shown] == [0, 0]


@pytest.mark.requirement("B12")
async def test_a_killed_agent_stops_in_the_middle_of_its_task(url: str) -> None:
    begun, ended = asyncio.Event(), asyncio.Event()
    one = Agent("doomed", url=url)

    @one.can("test.afar")
    async def work(task: Task) -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with serving(one):
        task_id = await asyncio.to_thread(submit, url, "test.afar")
        await begun.wait()
        await asyncio.to_thread(say, url, "POST", "/api/kill", {"agent": "remote.doomed", "why": "a test"})
        await ended.wait()
    await asyncio.to_thread(say, url, "POST", "/api/kill", {"lift": True})
    await asyncio.to_thread(say, url, "POST", f"/api/tasks/{task_id}/cancel")


async def test_an_agent_that_is_not_let_in_hears_why(url: str) -> None:
    one = Agent("stranger", url=url)
    one.can("test.other")(lambda task: None)
    with pytest.raises(RemoteRefused, match=r"name it under remote\.capabilities") as refused:
        await one.serve()
    assert refused.value.refusal == "capability_refused"


# -- what a program's registry knows


@pytest.fixture
async def registry(home: Path) -> AsyncIterator[RedisAgentRegistry]:
    link = Link(home)
    async with RedisAgentRegistry(link, lease_s=30.0) as made:
        yield made
    link.close()


async def test_a_programs_agents_are_registered_found_and_gone(registry: RedisAgentRegistry, url: str) -> None:
    ids = await registry.register_batch(
        [RemoteAgent(id=f"batch-{n}", capabilities=("test.batch",), labels={"zone": "eu" if n % 2 else "us"}) for n in range(600)]
    )
    assert ids[:2] == ["remote.batch-0", "remote.batch-1"]
    assert await registry.register("one", ["test.batch"], layer="management", labels={"zone": "eu"}) == "remote.one"
    assert len(await registry.discover(capability="test.batch", labels={"zone": "eu"})) == 301
    assert [one.id for one in await registry.discover(capability="test.batch", layer="management")] == ["remote.one"]
    found = await registry.discover(capability="test.batch", labels=["zone", "zone!=us"], limit=1000)
    assert (len(found), {one.labels["zone"] for one in found}) == (301, {"eu"})
    with pytest.raises(SubmissionError, match="name!=value"):
        await registry.discover(labels=["a b"])
    await registry.heartbeat()
    assert await registry.deregister("one", "batch-0") == 2
    assert await registry.get("remote.one") is None
    (own,) = await registry.discover(labels={"pool": "chief"})
    assert (own.id, own.status, own.remote) == ("chief-1", AgentStatus.IDLE, False)
    found = await registry.get("chief-1")
    assert found is not None and found.capabilities == ("test.own",)
    await registry.close()
    assert await registry.discover(capability="test.batch") == []
    assert result(url, submit(url, "test.own")) == "done here"  # the fleet's own go on as ever


async def test_an_open_registry_outlives_its_lease(registry: RedisAgentRegistry) -> None:
    """It beats by itself, and registers anew when its session was lost all the same."""
    await registry.register("kept", ["test.kept"])
    before = await registry.get("remote.kept")
    assert before is not None

    async def lose(fleet: Any, _: Any) -> None:
        from amas.engine.registry import AgentRegistry

        await AgentRegistry(fleet.engine).close(before.host_id)

    await registry._link.ask(lose)
    async with asyncio.timeout(LIMIT_S):
        while (after := await registry.get("remote.kept")) is None:
            await asyncio.sleep(0.05)
    assert after.host_id != before.host_id


def test_the_documented_program(home: Path) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", (EXAMPLES.parents[1] / "docs" / "remote-agents.md").read_text(), re.DOTALL)
    done = subprocess.run(
        [sys.executable, "-c", block],
        env={**os.environ, "AMAS_HOME": str(home)},
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
    )
    assert done.stdout.split() == ["remote.ocr-1", "idle", "{'gpu':", "'a100'}"], done.stderr


# -- faults

CLAIMANT = """
import json, sys, time
from urllib.request import Request, urlopen

def say(path, body, token):
    headers = {"content-type": "application/json", "authorization": f"Bearer {token}"}
    said = Request(sys.argv[1] + "/api/remote/sessions" + path, json.dumps(body).encode(), headers, method="POST")
    with urlopen(said) as answer:
        return json.load(answer)

session = say("", {"agents": [{"name": sys.argv[2], "capabilities": ["test.afar"]}]}, "none")
task = say(f"/{session['session_id']}/claim", {"wait_s": 30}, session["token"])["tasks"][0]
say(f"/{session['session_id']}/tasks/{task['task_id']}/steps", {"attempt": 1, "name": "half", "result": 21}, session["token"])
print(json.dumps({**session, **task}), flush=True)
while True:
    time.sleep(0.5)
    say(f"/{session['session_id']}/renew", {"running": [task["task_id"]]}, session["token"])
"""


def opened(url: str, name: str) -> tuple[str, str]:
    """Open a session for one agent and return the path of its calls, and its token."""
    new = say(url, "POST", "/api/remote/sessions", {"agents": [{"name": name, "capabilities": ["test.afar"]}]})
    return f"/api/remote/sessions/{new['session_id']}", new["token"]


def claimed(url: str, path: str, token: str) -> dict[str, Any]:
    """Return the one task that comes, asking for as long as it takes."""
    for _ in range(LIMIT_S):
        found = say(url, "POST", f"{path}/claim", {"wait_s": 1}, token)["tasks"]
        if found:
            return dict(found[0])
    raise AssertionError("no task came")


@pytest.mark.requirement("T6")
def test_an_agent_that_is_killed_loses_nothing_but_time(url: str, tmp_path: Path) -> None:
    """Its task goes to another when its lease is over, with the steps that it did; what it says afterwards is refused."""
    task_id = submit(url, "test.afar")
    (tmp_path / "claimant.py").write_text(CLAIMANT)
    command = ["python3", str(tmp_path / "claimant.py"), url, "victim"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as victim:
        assert victim.stdout is not None
        held = json.loads(victim.stdout.readline())
        assert (held["task_id"], held["attempt"]) == (task_id, 1)
        victim.kill()
    path, token = opened(url, "heir")
    task = claimed(url, path, token)
    assert (task["task_id"], task["attempt"], task["resumed"]) == (task_id, 2, True)
    steps = say(url, "GET", f"{path}/tasks/{task_id}/steps", token=token)["steps"]
    late = f"/api/remote/sessions/{held['session_id']}/tasks/{task_id}/complete"
    assert say(url, "POST", late, {"attempt": 1, "result": "late"}, held["token"]) == (409, "attempt_stale")
    assert say(url, "POST", f"{path}/tasks/{task_id}/complete", {"attempt": 2, "result": steps["half"] * 2}, token)
    assert say(url, "POST", late, {"attempt": 1, "result": "late"}, held["token"]) == (409, "attempt_stale")
    assert result(url, task_id) == 42
    assert say(url, "POST", f"/api/remote/sessions/{held['session_id']}/renew", {}, held["token"]) == (410, "session_lost")
    say(url, "DELETE", path, token=token)


async def test_a_network_that_breaks_while_a_result_is_sent_doubles_nothing(url: str) -> None:
    """The answer is lost each time; what is said again until it is answered counts once."""
    path, token = opened(url, "shaky")
    headers = {"authorization": f"Bearer {token}"}
    port = int(url.rpartition(":")[2])
    async with ChaosProxy(("127.0.0.1", port)).running() as proxy:
        afar = proxy.url.replace("redis://", "http://")
        async with httpx.AsyncClient(base_url=afar, headers={**headers, "host": "localhost"}, timeout=LIMIT_S) as client:
            for number in range(5):
                task_id = submit(url, "test.afar")
                task = await asyncio.to_thread(claimed, url, path, token)
                assert task["task_id"] == task_id
                proxy.reset_in_bytes = number * 10  # of the answer: the server has recorded the result by then
                lost = 0
                while True:
                    said = {"attempt": task["attempt"], "result": [number, lost]}
                    try:
                        answer = await client.post(f"{path}/tasks/{task_id}/complete", json=said)
                    except httpx.TransportError:
                        lost += 1
                        continue
                    break
                assert (answer.status_code, lost) == (200, 1)
                assert await asyncio.to_thread(result, url, task_id) == [number, 0]  # the first that arrived
                shown = await asyncio.to_thread(say, url, "GET", f"/api/tasks/{task_id}")
                assert (shown["attempt"], shown["failures"]) == (1, 0)
    await asyncio.to_thread(say, url, "DELETE", path, None, token)
