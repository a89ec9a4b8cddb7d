"""A model server on loopback that gives prepared answers, one after the other; see `model_server.py`."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from model_server import serving


class ModelServer:
    """`answers`: a text is what the model says, a number is an HTTP status to fail with; the last one is given again and again.

    `asked` holds the requests' bodies and `keys` their Authorization headers. While `hold` is clear, requests wait, from
    the one with the number `hold_from` on.
    """

    def __init__(self, *answers: str | int) -> None:
        self._answers = list(answers)
        self.asked: list[dict[str, Any]] = []
        self.keys: list[str] = []
        self.hold = self.let_go = threading.Event()
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

    def reply(self, request: dict[str, Any], key: str) -> tuple[int, dict[str, str], dict[str, Any]]:
        """Return status, headers and body."""
        status, body = self.answer(request, key)
        return status, {}, body

    def between(self, _: dict[str, Any]) -> None:
        """Go on."""


@contextmanager
def model_server(*answers: str | int) -> Iterator[ModelServer]:
    """Serve `answers` at `.url` until the block ends."""
    model = ModelServer(*answers)
    with serving(model):
        yield model
