"""A foreign A2A agent made with the protocol's own SDK, on a free port of loopback, in a thread of the test's process.

What a message says is what the agent does with it: see `Remote.execute`.
"""

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
from a2a.helpers.proto_helpers import (
    get_data_parts,
    get_message_text,
    new_data_part,
    new_message,
    new_raw_part,
    new_task_from_user_message,
    new_text_part,
    new_url_part,
)
from a2a.server.agent_execution import AgentExecutor, RequestContext
from a2a.server.events import EventQueue
from a2a.server.request_handlers import DefaultRequestHandler
from a2a.server.routes import create_agent_card_routes, create_jsonrpc_routes
from a2a.server.tasks import InMemoryTaskStore, TaskUpdater
from a2a.types import AgentCapabilities, AgentCard, AgentInterface, AgentSkill, Part
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

LIMIT_S = 60.0


class Remote(AgentExecutor):
    """The agent, and what a test knows of it."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.executed: list[str] = []
        """What it was told to do, once for each time that it began."""
        self.answers: list[str] = []
        self.cancelled = threading.Event()
        self.begun, self.go_on = threading.Event(), threading.Event()
        self.failures = 0
        """How often it fails before it does something."""
        self.headers: list[dict[str, str]] = []
        self.asked_for: list[str] = []
        """Paths of requests, and methods of calls."""

    async def execute(self, context: RequestContext, event_queue: EventQueue) -> None:
        assert context.message is not None
        text, data = get_message_text(context.message), get_data_parts(context.message.parts)
        if context.current_task is not None:  # the answer to a question of ours
            self.answers.append(text)
            updater = TaskUpdater(event_queue, context.task_id, context.context_id)
            if len(self.answers) < 2:
                await updater.requires_input(self._says(updater, "And how many?"))
            else:
                await updater.add_artifact([new_text_part(" ".join(self.answers))])
                await updater.complete()
            return
        self.executed.append(text)
        if text == "message only":
            await event_queue.enqueue_event(new_message([new_text_part("no task was needed")]))
            return
        task = new_task_from_user_message(context.message)
        await event_queue.enqueue_event(task)
        updater = TaskUpdater(event_queue, task.id, task.context_id)
        await updater.start_work(self._says(updater, "at \x1b[31mwork"))
        self.begun.set()
        await self._do(text, data, updater)

    async def _do(self, text: str, data: list[Any], updater: TaskUpdater) -> None:
        match text:
            case "wait":
                await asyncio.to_thread(self.go_on.wait, LIMIT_S)
                await updater.add_artifact([new_text_part("waited")])
                await updater.complete()
            case "fail" if self.failures:
                self.failures -= 1
                await updater.failed(self._says(updater, "my \x1b[2Jmodel broke"))
            case "reject":
                await updater.reject(self._says(updater, "not my trade"))
            case "ask":
                await updater.requires_input(self._says(updater, "Which colour?"))
            case "let me in":
                await updater.requires_auth(self._says(updater, "sign in at https://elsewhere.example"))
            case "file":
                files = [new_raw_part(b"\x00\x01", filename="../a\x1b[31m.bin", media_type="application/x-own")]
                files.append(new_url_part("http://169.254.169.254/latest", filename="b"))
                await updater.add_artifact(files)
                await updater.complete()
            case _:
                parts: list[Part] = [new_text_part(text[::-1])] if text else []
                await updater.add_artifact([*parts, *(new_data_part({"got": each}) for each in data)])
                await updater.complete()

    async def cancel(self, context: RequestContext, event_queue: EventQueue) -> None:
        self.cancelled.set()
        await TaskUpdater(event_queue, context.task_id or "", context.context_id or "").cancel()

    def _says(self, updater: TaskUpdater, text: str) -> Any:
        return updater.new_agent_message([new_text_part(text)])


class _Noting:
    """Notes what requests say of themselves."""

    def __init__(self, app: ASGIApp, remote: Remote) -> None:
        self._app, self._remote = app, remote

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            self._remote.headers.append({name.decode(): value.decode() for name, value in scope["headers"]})
            self._remote.asked_for.append(scope["path"])
        await self._app(scope, receive, send)


@contextmanager
def remote_agent() -> Iterator[Remote]:
    """Serve a remote agent for the block."""
    listening = socket.create_server(("127.0.0.1", 0))
    remote = Remote(listening.getsockname()[1])
    card = AgentCard(
        name="Reverser",
        description="Says it backwards",
        version="1",
        supported_interfaces=[AgentInterface(url=f"{remote.url}/a2a", protocol_binding="JSONRPC", protocol_version="1.0")],
        capabilities=AgentCapabilities(streaming=True),
        skills=[AgentSkill(id="reverse", name="Reverse", description="backwards", tags=["text"])],
        default_input_modes=["text/plain"],
        default_output_modes=["text/plain"],
    )
    handler = DefaultRequestHandler(remote, InMemoryTaskStore(), card)
    app = Starlette(
        routes=[*create_agent_card_routes(card), *create_jsonrpc_routes(handler, "/a2a")],
        middleware=[Middleware(_Noting, remote)],
    )
    with serving(app, listening):
        try:
            yield remote
        finally:
            remote.go_on.set()


@contextmanager
def serving(app: ASGIApp, listening: socket.socket) -> Iterator[None]:
    """Serve an application for the block."""
    server = uvicorn.Server(uvicorn.Config(app, log_level="error", lifespan="off", timeout_graceful_shutdown=1))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
    thread.start()
    try:
        yield
    finally:
        server.should_exit = True
        thread.join(LIMIT_S)
        listening.close()
