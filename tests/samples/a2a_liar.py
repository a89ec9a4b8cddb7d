"""A foreign A2A agent by script: it says what a test wants, as an agent that means harm would, or one that is in trouble."""

import json
import threading
from contextlib import suppress
from http.server import ThreadingHTTPServer
from typing import Any

from http_served import Whole


class Liar:
    """An agent by script: a card, and answers to calls; keeps what it was asked."""

    def __init__(self, address: str = "127.0.0.1") -> None:
        self.asked: list[tuple[str, Any]] = []
        self.card: Any = None
        """None for an honest one; bytes as they are."""
        self.card_status, self.location = 200, ""
        self.results: dict[str, list[Any]] = {}
        """By method; an integer is the code of an error, a callable gets the parameters, and a pair is a stream of events with
        what comes after them, as it is. The last one stands."""
        self.drops: list[str] = []
        """Methods whose connection ends without an answer, each once."""
        self.drip: threading.Event | None = None
        """Where there is one, a card comes a byte at a time until it is set."""
        liar = self

        class Handler(Whole):
            def do_GET(self) -> None:
                liar.asked.append(("GET", self.path))
                headers = {"Location": liar.location} if liar.location else {}
                with suppress(ConnectionError):  # who waits for no byte at a time has gone
                    while liar.drip is not None and not liar.drip.wait(0.05):
                        self.wfile.write(b"H")
                    self.say(liar.card_status, liar.card_body(), headers)

            def do_POST(self) -> None:
                call = json.loads(self.read())
                liar.asked.append((call["method"], call["params"]))
                answers = liar.results.get(call["method"], [-32601])
                answer = answers.pop(0) if len(answers) > 1 else answers[0]
                answer = answer(call["params"]) if callable(answer) else answer
                if call["method"] in liar.drops:
                    liar.drops.remove(call["method"])
                    self.close_connection = True
                    return
                if isinstance(answer, tuple):
                    events = [b"data: " + json.dumps({"id": call["id"], "result": each}).encode() for each in answer[0]]
                    body = b": hello\n\n" + b"".join(event + b"\r\n\r\n" for event in events) + answer[1]
                    with suppress(ConnectionError):  # who has heard enough goes
                        self.say(200, body, {"Content-Type": "text/event-stream"})
                elif isinstance(answer, bytes):
                    self.say(200, answer)
                elif isinstance(answer, int) and answer > 0:
                    self.say(answer, b"trouble", {"Retry-After": "0"})
                else:
                    outcome = (
                        {"error": {"code": answer, "message": "no\x1b[31m"}} if isinstance(answer, int) else {"result": answer}
                    )
                    self.say(200, json.dumps({"jsonrpc": "2.0", "id": call["id"], **outcome}).encode())

        self.http = ThreadingHTTPServer((address, 0), Handler)
        self.url = f"http://{address}:{self.http.server_port}"

    def card_body(self) -> bytes:
        card = honest_card(f"{self.url}/rpc") if self.card is None else self.card
        return card if isinstance(card, bytes) else json.dumps(card).encode()

    def called(self, method: str) -> list[Any]:
        return [said for name, said in self.asked if name == method]


def honest_card(url: str, **more: Any) -> dict[str, Any]:
    interface = {"url": url, "protocolBinding": "JSONRPC", "protocolVersion": "1.0"}
    return {"name": "Liar", "supportedInterfaces": [interface], "capabilities": {}, "skills": [], "mystery": 1, **more}


def task_at(state: str, **more: Any) -> dict[str, Any]:
    return {"id": "r-1", "contextId": "c", "status": {"state": f"TASK_STATE_{state}"}, **more}


COMPLETED = task_at("COMPLETED", artifacts=[{"artifactId": "a", "parts": [{"text": "made"}]}])
