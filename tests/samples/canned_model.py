"""A server on loopback that speaks OpenAI's chat completions and gives prepared answers, one after the other."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class ModelServer:
    """`answers`: a text is what the model says, a number is an HTTP status to fail with; the last one is given again and again.

    `asked` holds the requests' bodies and `keys` their Authorization headers. While `hold` is clear, requests wait, from
    the one with the number `hold_from` on.
    """

    def __init__(self, *answers: str | int) -> None:
        self._answers = list(answers)
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.hold = threading.Event()
        self.hold.set()
        self.hold_from = 1
        self.url = ""

    def answer(self, body: dict[str, Any], key: str) -> tuple[int, dict[str, Any]]:
        """Return the next status and body."""
        self.asked.append(body)
        self.keys.append(key)
        said = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if len(self.asked) >= self.hold_from:
            self.hold.wait(60)
        if isinstance(said, int):
            return said, {"error": {"message": "canned", "type": "server_error"}}
        return 200, {
            "id": f"answer-{len(self.asked)}",
            "object": "chat.completion",
            "created": 1,
            "model": body["model"],
            "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": said}}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 20, "total_tokens": 120},
        }


@contextmanager
def model_server(*answers: str | int) -> Iterator[ModelServer]:
    """Serve `answers` at `.url` until the block ends."""
    model = ModelServer(*answers)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status, said = model.answer(body, self.headers.get("Authorization", ""))
            payload = json.dumps(said).encode()
            try:
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(payload)))
                self.end_headers()
                self.wfile.write(payload)
            except (BrokenPipeError, ConnectionResetError):
                pass  # who asked has lost patience

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    model.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield model
    finally:
        model.hold.set()
        server.shutdown()
        thread.join()
        server.server_close()
