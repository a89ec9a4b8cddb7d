"""An OpenAI-compatible model server on loopback, for tests: answers by a script, counts requests, fails or holds on demand.

It works in a thread of the test's process, so it stays when a host is killed. `serving` is the server; `ModelServer` answers by
a conversation's length, `canned_model.ModelServer` with one prepared answer after the other.
"""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from http_served import Whole, bound, running

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
        self.streams = True
        """Else a stream that is wanted comes whole, as from a server that doesn't know the wish."""
        self.stream_status = 0
        """The HTTP status with which streams are refused; 0: they aren't."""
        self.halves: set[int] = set()
        """Streams that wait halfway, by their request's place in `requests`, until `let_go` is set."""
        self.url = ""
        self._lock = threading.Lock()

    def asked(self) -> list[int]:
        """Return how many answers each request's conversation had already: [0, 1] for two calls that went well."""
        return [_turn(request) for request in self.requests]

    def reply(self, request: Json, _: str) -> tuple[int, dict[str, str], Json]:
        """Return status, headers and body."""
        return self.answer(request)

    def between(self, request: Json) -> None:
        """Wait where a test says so."""
        if self.requests.index(request) in self.halves:
            self.let_go.wait(30)

    def answer(self, request: Json) -> tuple[int, dict[str, str], Json]:
        """Return status, headers and body."""
        with self._lock:
            self.requests.append(request)
            place = len(self.requests) - 1
        if place in self.hold:
            self.let_go.wait(30)
        if status := self.status.get(request["model"]):
            return status, self.headers, {"error": {"message": "as asked", "type": "test", "code": None}}
        if request.get("stream") and self.stream_status:
            return self.stream_status, {}, {"error": {"message": "no streams here", "type": "test", "code": None}}
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


class Script(Protocol):
    """Decides what is answered."""

    url: str
    let_go: threading.Event
    """Set at the end, so that nothing that is held stays."""

    def reply(self, request: Json, key: str) -> tuple[int, dict[str, str], Json]:
        """Return status, headers and body for a request that came with the Authorization `key`."""

    def between(self, request: Json) -> None:
        """Hear that the first half of a streamed answer was sent."""


def chunks(body: Json, *, usage: bool) -> list[Json]:
    """Return an answer as the pieces of its stream: words, or halves of a call's arguments; then the end, then the usage."""
    message = body["choices"][0]["message"]
    deltas: list[Json] = [{"role": "assistant", "content": ""}]
    for index, asked in enumerate(message.get("tool_calls") or []):
        arguments = asked["function"]["arguments"]
        first, rest = arguments[: len(arguments) // 2], arguments[len(arguments) // 2 :]
        deltas.append({"tool_calls": [{**asked, "index": index, "function": {**asked["function"], "arguments": first}}]})
        deltas.append({"tool_calls": [{"index": index, "function": {"arguments": rest}}]})
    words = (message.get("content") or "").split(" ")
    deltas += [{"content": word if n == 0 else f" {word}"} for n, word in enumerate(words) if word or n]
    head = {name: body[name] for name in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    pieces = [{**head, "choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    pieces.append({**head, "choices": [{"index": 0, "delta": {}, "finish_reason": body["choices"][0]["finish_reason"]}]})
    return [*pieces, {**head, "choices": [], "usage": body["usage"]}] if usage and "usage" in body else pieces


@contextmanager
def serving(script: Script) -> Iterator[None]:
    """Serve a script for the body, on a free port; a request that wants a stream gets one."""

    class Handler(Whole):
        def do_POST(self) -> None:
            request = json.loads(self.read())
            status, headers, body = script.reply(request, self.headers.get("Authorization", ""))
            try:
                if status == 200 and request.get("stream") and getattr(script, "streams", True):
                    self._stream(request, body)
                else:
                    self.say(status, json.dumps(body).encode(), {**headers, "content-type": "application/json"})
            except OSError:
                pass  # whoever asked is dead, or has lost patience

        def _stream(self, request: Json, body: Json) -> None:
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            pieces = chunks(body, usage=bool((request.get("stream_options") or {}).get("include_usage")))
            for n, piece in enumerate(pieces):
                if n == len(pieces) // 2:
                    script.between(request)
                self.wfile.write(f"data: {json.dumps(piece)}\n\n".encode())
                self.wfile.flush()
            self.wfile.write(b"data: [DONE]\n\n")

    with running(bound(Handler)) as url:
        script.url = f"{url}/v1"
        try:
            yield
        finally:
            script.let_go.set()


@contextmanager
def model_server(answers: list[Json], **more: Any) -> Iterator[ModelServer]:
    """Serve for the body on a free port."""
    model = ModelServer(answers, **more)
    with serving(model):
        yield model
