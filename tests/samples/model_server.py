"""An OpenAI-compatible model server on loopback, for tests: answers by a script, counts requests, fails or holds on demand.

It works in a thread of the test's process, so it stays when a host is killed.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Json = Any


def text(content: str) -> Json:
    """An answer in words."""
    return {"role": "assistant", "content": content}


def call(name: str, arguments: Json, call_id: str = "call_1") -> Json:
    """An answer that asks for a tool."""
    function = {"name": name, "arguments": json.dumps(arguments)}
    return {"role": "assistant", "content": None, "tool_calls": [{"id": call_id, "type": "function", "function": function}]}


class ModelServer:
    """`answers[n]` answers a conversation that has n answers already, so that a repeated request gets the same one."""

    def __init__(self, answers: list[Json], *, tokens: tuple[int, int] | None = (100, 20)) -> None:
        """`tokens`: of each request and its answer, as reported; None: not reported."""
        self.answers, self.tokens = answers, tokens
        self.requests: list[Json] = []
        """Every request that came, in order."""
        self.status: dict[str, int] = {}
        """By model: the HTTP status to fail with."""
        self.headers: dict[str, str] = {}
        """Of such a failure."""
        self.hold: set[int] = set()
        """Requests that wait, by their place in `requests`, until `let_go` is set."""
        self.let_go = threading.Event()
        self.url = ""
        self._lock = threading.Lock()

    def asked(self) -> list[int]:
        """Return how many answers each request's conversation had already: [0, 1] for two calls that went well."""
        return [_turn(request) for request in self.requests]

    def answer(self, request: Json) -> tuple[int, dict[str, str], Json]:
        """Return status, headers and body."""
        with self._lock:
            self.requests.append(request)
            place = len(self.requests) - 1
        if place in self.hold:
            self.let_go.wait(30)
        if status := self.status.get(request["model"]):
            return status, self.headers, {"error": {"message": "as asked", "type": "test", "code": None}}
        message = self.answers[_turn(request)]
        body = {
            "id": f"chat-{place}",
            "object": "chat.completion",
            "created": 1_700_000_000,
            "model": request["model"],
            "choices": [{"index": 0, "finish_reason": "tool_calls" if message.get("tool_calls") else "stop", "message": message}],
        }
        if self.tokens:
            prompt, completion = self.tokens
            body["usage"] = {"prompt_tokens": prompt, "completion_tokens": completion, "total_tokens": prompt + completion}
        return 200, {}, body


def _turn(request: Json) -> int:
    return sum(message["role"] == "assistant" for message in request["messages"])


@contextmanager
def model_server(answers: list[Json], **more: Any) -> Iterator[ModelServer]:
    """Serve for the body on a free port."""
    model = ModelServer(answers, **more)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            request = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status, headers, body = model.answer(request)
            packed = json.dumps(body).encode()
            try:
                self.send_response(status)
                for name, value in {**headers, "content-type": "application/json", "content-length": str(len(packed))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(packed)
            except OSError:
                pass  # whoever asked is dead

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    model.url = f"http://127.0.0.1:{server.server_port}/v1"
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    serving.start()
    try:
        yield model
    finally:
        model.let_go.set()
        server.shutdown()
        serving.join()
        server.server_close()
