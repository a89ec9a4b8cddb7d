"""Foreign agents behind a URL, on a real host against a real server."""

import json
import shutil
import socket
import ssl
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from host_bench import Bench
from http_served import Whole, bound, running

from amas.agents.http_agent import HttpAgent, HttpSpec
from amas.agents.pinned import Pinned
from amas.errors import FleetError, FleetFileInvalid
from amas.fleet.load import load_fleet
from amas.model.fleet import FleetSpec, PoolSpec
from amas.model.states import AgentStatus, TaskState
from amas.model.task import RetryPolicy, TaskView

pytestmark = pytest.mark.requirement("T1")
CAN = "text.translate"


class Server:
    """A foreign agent: answers by a script, and keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str], Any]] = []
        self.script: list[tuple[int, dict[str, str], Any]] = []
        """Answers to POST in order; then the text backwards."""
        self.healthy = True
        server = self

        class Handler(Whole):
            protocol_version = "HTTP/1.1"

            def _answer(self, status: int, headers: dict[str, str], body: Any) -> None:
                self.say(status, body if isinstance(body, bytes) else json.dumps(body).encode(), headers)

            def do_GET(self) -> None:
                self._answer(200 if server.healthy else 503, {}, {})

            def do_POST(self) -> None:
                body = json.loads(self.read())
                server.asked.append(("POST", self.path, dict(self.headers), body))
                if server.script:
                    self._answer(*server.script.pop(0))
                else:
                    self._answer(200, {}, {"translation": body["text"][::-1]})

        self.http = bound(Handler)
        self.url = f"http://127.0.0.1:{self.http.server_port}/translate?v=1"

    @property
    def bodies(self) -> list[Any]:
        return [body for *_, body in self.asked]


@pytest.fixture
def server() -> Iterator[Server]:
    made = Server()
    with running(made.http):
        yield made


def pool(url: str, **http: Any) -> PoolSpec:
    said = {
        "url": url,
        "private": True,
        "request": {"text": {"$": "input.text"}},
        "result": "translation",
        "timeout_s": 30,
        **http,
    }
    return PoolSpec(
        name="translator",
        agent="amas.agents.http_agent:HttpAgent",
        capabilities=(CAN,),
        options={"http": said},
    )


async def done(bench: Bench, pool: PoolSpec) -> TaskView:
    """Return what became of one task."""
    async with bench.host([pool]):
        return await bench.ended(await bench.submit(CAN, {"text": "abc"}))


async def test_a_task_is_a_request_and_the_answer_its_result(
    bench: Bench, server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TRANSLATE_AUTH", "Bearer its-own-secret")
    task = await done(bench, pool(server.url, headers={"Authorization": "env:TRANSLATE_AUTH"}))
    assert task.result == "cba"
    ((_, path, headers, body),) = server.asked
    assert (path, body, headers["Authorization"]) == ("/translate?v=1", {"text": "abc"}, "Bearer its-own-secret")
    assert headers["idempotency-key"] == task.id


async def test_without_a_mapping_it_gets_and_gives_everything(bench: Bench, server: Server) -> None:
    server.script = [(200, {}, [1, {"a": None}])]
    task = await done(bench, pool(server.url, request=None, result=""))
    assert task.result == [1, {"a": None}]
    (body,) = server.bodies
    assert (body["input"], body["needs"], body["task"]["attempt"], body["task"]["capability"]) == ({"text": "abc"}, {}, 1, CAN)


async def test_a_server_in_trouble_is_asked_again_under_the_same_key(bench: Bench, server: Server) -> None:
    server.script = [(500, {}, "oh"), (503, {"Retry-After": "0"}, "busy")]
    task = await done(bench, pool(server.url))
    assert (task.result, task.failures) == ("cba", 2)
    assert len({headers["idempotency-key"] for _, _, headers, _ in server.asked}) == 1


async def test_a_busy_servers_tasks_wait_and_none_has_failed(bench: Bench, server: Server) -> None:
    server.script = [(429, {"Retry-After": "1"}, "slowly")] * 2
    task = await done(bench, pool(server.url))
    assert (task.result, task.failures, task.attempt) == ("cba", 0, 3)


async def test_a_server_that_keeps_failing_is_left_alone(bench: Bench, server: Server) -> None:
    server.script = [(500, {"Retry-After": "0"}, "oh")] * 9
    async with bench.host([pool(server.url)]):
        task_id = await bench.submit(CAN, {"text": "abc"}, retry=RetryPolicy(retries=20, backoff_s=0.0, backoff_max_s=0.0))
        await bench.until(lambda: _turned_away(bench, task_id))
    assert len(server.asked) == 5, "the breaker opened"
    view = await bench.queue.task(task_id)
    assert view is not None
    assert (view.state, view.failures) == (TaskState.DELAYED, 5), "being turned away is no failure"


async def _turned_away(bench: Bench, task_id: str) -> bool:
    view = await bench.queue.task(task_id)
    return view is not None and view.attempt == 6 and view.state is TaskState.DELAYED


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        ((400, {}, "what?"), "request_refused"),
        ((302, {"Location": "/elsewhere"}, ""), "redirect_refused"),
        ((307, {"Location": "http://127.0.0.1:9/secrets"}, ""), "redirect_refused"),
        ((307, {}, ""), "redirect_refused"),
        ((200, {}, b"<html>"), "answer_unreadable"),
    ],
)
async def test_what_no_attempt_can_help_fails_at_once(bench: Bench, server: Server, answer: Any, code: str) -> None:
    server.script = [answer] * 3
    task = await done(bench, pool(server.url))
    assert task.failure is not None and (task.failure.code, task.attempt) == (code, 1)
    assert len(server.asked) == 1


async def test_a_redirect_within_the_server_is_followed(bench: Bench, server: Server) -> None:
    server.script = [(307, {"Location": "/v2/translate"}, "")]
    assert (await done(bench, pool(server.url))).result == "cba"
    assert [path for _, path, *_ in server.asked] == ["/translate?v=1", "/v2/translate"]


async def test_redirects_in_circles_end(bench: Bench, server: Server) -> None:
    server.script = [(308, {"Location": server.url}, "")] * 20
    task = await done(bench, pool(server.url))
    assert task.failure is not None and task.failure.code == "redirect_refused"
    assert len(server.asked) == 4


@pytest.mark.parametrize(
    "name", ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "169.254.169.254", "10.0.0.1", "2130706433", "[64:ff9b::7f00:1]"]
)
async def test_private_addresses_are_for_those_who_declare_them(bench: Bench, server: Server, name: str) -> None:
    task = await done(bench, pool(f"http://{name}:{server.http.server_port}/translate", private=name == "169.254.169.254"))
    assert task.failure is not None and (task.failure.code, task.attempt) == ("address_refused", 1)
    assert server.asked == []


async def test_an_agent_whose_server_is_ill_gets_no_tasks(bench: Bench, server: Server) -> None:
    server.healthy = False
    async with bench.host([pool(server.url, health="/health")]) as host:
        task_id = await bench.submit(CAN, {"text": "abc"})

        async def known() -> bool:
            return host.seats["translator-1"].agent.status is AgentStatus.ERROR

        await bench.until(known)
        assert server.asked == []
        server.healthy = True
        assert (await bench.ended(task_id)).result == "cba"


async def test_a_server_that_is_not_there_is_tried_as_often_as_the_task_may(bench: Bench, server: Server) -> None:
    nobody = socket.create_server(("127.0.0.1", 0))
    port = nobody.getsockname()[1]
    nobody.close()
    task = await done(bench, pool(f"http://127.0.0.1:{port}/"))
    assert task.failure is not None and (task.failure.code, task.failures) == ("retry_later", 3)


def test_nothing_is_sent_once_nobody_waits(server: Server) -> None:
    connection = Pinned("localhost", server.http.server_port, "127.0.0.1", secure=False, timeout_s=60)
    connection.end()
    with pytest.raises(ConnectionAbortedError):
        connection.ask("POST", "/", {}, b"{}", bytes_max=1)
    assert server.asked == []


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is missing")
def test_another_hosts_certificate_is_refused(server: Server, tmp_path: Path) -> None:
    """A server that nobody vouches for gets to see nothing."""
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost", "-days", "2"]
    paths = ["-keyout", str(tmp_path / "key.pem"), "-out", str(tmp_path / "certificate.pem")]
    subprocess.run([*made, *paths], check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")
    server.http.socket = context.wrap_socket(server.http.socket, server_side=True)
    connection = Pinned("localhost", server.http.server_port, "127.0.0.1", secure=True, timeout_s=60)
    with pytest.raises(ssl.SSLCertVerificationError):
        connection.ask("POST", "/", {}, b"{}", bytes_max=1)
    connection.end()
    assert server.asked == []


FLEET = """
name: proxied
pools:
  - {name: chief, layer: executive, agent: "sample_agents:echo", capabilities: [test.echo]}
  - name: translator
    lead: chief
    capabilities: [text.translate]
    http: {url: "https://translate.example/run", timeout: 30s, health: /health, enabled: %s}
"""


def fleet(folder: Path, enabled: str) -> FleetSpec:
    path = folder / "fleet.yaml"
    path.write_text(FLEET % enabled)
    return load_fleet(path, agents=True, environ={})


def test_a_fleet_file_switches_it_on_and_off(tmp_path: Path) -> None:
    spec = fleet(tmp_path, "true")
    assert HttpAgent("translator-1", spec.pool("translator")).spec == HttpSpec(
        url="https://translate.example/run", timeout_s=30.0, health="/health"
    )
    assert fleet(tmp_path, "false").capabilities == {"test.echo"}


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("ftp://x/y", "no address"),
        ("https://me:secret@x/y", "no address"),
        ("http://[x/", "no address"),
        ("https:///y", "no address"),
    ],
)
def test_a_wrong_address_is_told_before_the_fleet_starts(tmp_path: Path, url: str, why: str) -> None:
    with pytest.raises(FleetError, match=why):
        HttpAgent.check(pool(url))
    path = tmp_path / "fleet.yaml"
    path.write_text((FLEET % "true").replace("https://translate.example/run", url))
    with pytest.raises(FleetFileInvalid, match=why):
        load_fleet(path, agents=True, environ={})


def test_a_secret_that_is_not_there_is_told_too() -> None:
    with pytest.raises(FleetError, match="env:NO_SUCH_SECRET"):
        HttpAgent.check(pool("https://x/y", headers={"Authorization": "env:NO_SUCH_SECRET"}))
