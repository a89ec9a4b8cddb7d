"""One reader of the journal for all who watch: live streams get its events, long polls hear of ends.

An entry is taken apart and encoded once, however many listen, and not at all when nobody does. Each listener has a bounded queue;
one that doesn't keep up is dropped with a word that tells it to resume. Nothing here writes.
"""

import asyncio
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import contextmanager

from amas.engine.journal import Journal
from amas.engine.queue import TaskQueue
from amas.errors import EngineError
from amas.model.journal import JournalEntry, TaskChange, position_of
from amas.observe import events
from amas.observe.logging import process_log
from amas.records.history import History
from amas.records.views import EventRecord, TaskEvent
from amas.server.events import END, HEARTBEAT, Frame, changes_of, dropped, encode, events_of, for_all, for_workflow

READ_ENTRIES = 50
"""An entry may carry a thousand tasks of a kilobyte: 50 MB at the very worst."""
READ_WAIT_MS = 5000
"""Under the connection's own patience."""
LISTENER_FRAMES_MAX = 256
"""A second of a busy fleet; the bytes are shared between listeners."""
LISTENERS_MAX = 1000
HEARTBEAT_S = 15.0
"""Proxies cut silent connections after 30 to 60 s."""
PLACES_MAX = 200_000
"""Tasks whose workflow is remembered; of others the engine is asked."""
CANCEL_AGAIN_S = 0.1
PAUSE_S = 0.5
"""Between tries while the engine doesn't answer."""


_WAKE = Frame("0-0", b"")
"""Older than everything, so it is passed over: it only ends a wait."""


class Listener:
    """One live stream, of a workflow or ("") of everything."""

    def __init__(self, workflow_id: str) -> None:
        self.workflow_id = workflow_id
        self.frames: asyncio.Queue[Frame] = asyncio.Queue(LISTENER_FRAMES_MAX)
        self.over = False
        """Whether this server ended it: the reader was too slow, or the server stops."""

    def offer(self, frame: Frame) -> bool:
        """Return whether the frame found room."""
        try:
            self.frames.put_nowait(frame)
        except asyncio.QueueFull:
            self.over = True
        return not self.over

    async def next(self) -> Frame | None:
        """Return the next frame; None after `HEARTBEAT_S` without one."""
        try:
            async with asyncio.timeout(HEARTBEAT_S):
                return await self.frames.get()
        except TimeoutError:
            return None


async def end(following: "asyncio.Task[None]") -> None:
    """Cancel `LiveEvents.run` until it has ended.

    The driver writes under `asyncio.wait_for`, which before Python 3.12 loses a cancellation that comes as the write ends.
    """
    while not following.done():
        following.cancel()
        await asyncio.wait([following], timeout=CANCEL_AGAIN_S)


class LiveEvents:
    """The journal, followed from now on."""

    def __init__(self, journal: Journal, queue: TaskQueue) -> None:
        self._journal, self._queue = journal, queue
        self._listeners: dict[str, set[Listener]] = {}
        self._waiters: dict[str, set[asyncio.Event]] = {}
        self._places: dict[str, str] = {}
        self.position = ""
        """The last entry that was handed on; empty before `run` has begun."""
        self.following = asyncio.Event()

    async def run(self) -> None:
        """Follow the journal until cancelled; while the engine is away, wait for it."""
        while True:
            try:
                if not self.position:
                    self.position = await self._journal.last_id()
                    self.following.set()
                for entry in await self._journal.read(self.position, limit=READ_ENTRIES, wait_ms=READ_WAIT_MS):
                    await self._hand_on(entry)
            except EngineError as error:
                process_log().warning("the live events lost the engine", event=events.LIVE_WAITING, reason=str(error))
                await asyncio.sleep(PAUSE_S)

    def close(self) -> None:
        """End every stream; its reader is told to come again."""
        for listener in [listener for audience in self._listeners.values() for listener in audience]:
            listener.over = True
            listener.offer(_WAKE)

    @property
    def listeners(self) -> int:
        """How many streams are open."""
        return sum(map(len, self._listeners.values()))

    @contextmanager
    def listen(self, workflow_id: str = "") -> Iterator[Listener]:
        """Give a listener of one workflow or of everything."""
        listener = Listener(workflow_id)
        self._listeners.setdefault(workflow_id, set()).add(listener)
        try:
            yield listener
        finally:
            self._drop(listener)

    @contextmanager
    def end_of(self, task_id: str) -> Iterator[asyncio.Event]:
        """Give an event that is set when the task ends."""
        ended = asyncio.Event()
        self._waiters.setdefault(task_id, set()).add(ended)
        try:
            yield ended
        finally:
            waiting = self._waiters.get(task_id, set())
            waiting.discard(ended)
            if not waiting:
                self._waiters.pop(task_id, None)

    async def replay(self, history: History, workflow_id: str, after: str, until: str) -> AsyncIterator[Frame]:
        """Yield what came after one id, up to and with another: from the records what the journal no longer has, then from it."""
        while position_of(after) < position_of(await self._journal.first_id()):
            page = await history.events(after=after, workflow_id=workflow_id, limit=READ_ENTRIES)
            page = [event for event in page if position_of(event.id) <= position_of(until)]
            if not page:
                break
            for frame in _frames(page, workflow_id):
                yield frame
            after = page[-1].id
        while position_of(after) < position_of(until):
            entries = await self._journal.read(after, limit=READ_ENTRIES)
            if not entries:
                return
            for entry in entries:
                if position_of(entry.id) > position_of(until):
                    return
                for frame in _frames(await self._events(entry), workflow_id):
                    yield frame
            after = entries[-1].id

    async def _hand_on(self, entry: JournalEntry) -> None:
        if self._listeners or self._waiters:
            changes, notes = changes_of(entry)
            self._wake(changes)
            if self._listeners:
                self._send(entry.id, await self._events(entry, changes, notes))
        self.position = entry.id

    def _wake(self, changes: Iterable[TaskChange]) -> None:
        for change in changes if self._waiters else ():
            if change.state.terminal:
                for ended in self._waiters.get(change.task_id, ()):
                    ended.set()

    def _send(self, entry_id: str, events: list[EventRecord]) -> None:
        bodies = []
        for event in events:
            audience = self._listeners.get(event.workflow_id, ()) if event.workflow_id else ()
            if audience or "" in self._listeners:
                bodies.append(body := encode(event))
                self._offer(audience, for_workflow(event, body))
        if bodies and "" in self._listeners:
            self._offer(self._listeners[""], for_all(entry_id, bodies))

    def _offer(self, audience: Iterable[Listener], frame: Frame) -> None:
        for listener in list(audience):
            if not listener.offer(frame):
                self._drop(listener)

    def _drop(self, listener: Listener) -> None:
        audience = self._listeners.get(listener.workflow_id, set())
        audience.discard(listener)
        if not audience:
            self._listeners.pop(listener.workflow_id, None)

    async def _events(
        self, entry: JournalEntry, changes: list[TaskChange] | None = None, notes: list[TaskEvent] | None = None
    ) -> list[EventRecord]:
        if changes is None or notes is None:
            changes, notes = changes_of(entry)
        for change in changes:
            if change.spec is not None:
                self._places[change.task_id] = change.spec.workflow_id
        unknown = {change.task_id for change in changes} | {note.id for note in notes}
        unknown -= self._places.keys()
        if unknown:
            self._places |= dict.fromkeys(unknown, "") | await self._queue.workflows_of(sorted(unknown))
        events = events_of(entry, changes, notes, self._places)
        while len(self._places) > PLACES_MAX:
            del self._places[next(iter(self._places))]
        return events


def _frames(events: Iterable[EventRecord], workflow_id: str) -> Iterator[Frame]:
    """Yield the frames of events in their order; those of one entry are one frame for those who listen to everything."""
    bodies: list[bytes] = []
    last = ""
    for event in events:
        if workflow_id:
            if event.workflow_id == workflow_id:
                yield for_workflow(event, encode(event))
            continue
        if last not in ("", event.id):
            yield for_all(last, bodies)
            bodies = []
        last = event.id
        bodies.append(encode(event))
    if bodies:
        yield for_all(last, bodies)


async def stream(live: LiveEvents, history: History, workflow_id: str, after: str) -> AsyncIterator[bytes]:
    """Yield server-sent bytes: what came after an id ("" for nothing), then what comes, until the workflow has ended."""
    with live.listen(workflow_id) as listener:
        last = until = live.position
        yield b"retry: 2000\n\n"
        if after:
            last = after
            async for frame in live.replay(history, workflow_id, after, until):
                last = frame.id
                yield frame.data
                if frame.ends:
                    yield END
                    return
        while not listener.over or not listener.frames.empty():
            found = await listener.next()
            if found is None:
                yield HEARTBEAT
            elif position_of(found.id) > position_of(last):
                last = found.id
                yield found.data
                if found.ends:
                    yield END
                    return
        yield dropped(last)
