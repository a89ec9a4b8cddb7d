"""One task of ours at a foreign A2A agent: begun once, followed to its end over many attempts if need be, called off with ours.

What must outlive a host is journaled, by turn (a task that failed there is begun anew in the next turn, by our task's retries):
`a2a/1/begun` before the first message, `a2a/1/task` the id of the task there, `a2a/1/failed`, and `a2a/1/question/N` with its
`a2a/1/answered/N`.
The ids of the message and its context are our task's, whatever the attempt. So where an attempt died before it knew the id of the
task there, the next one finds it by the context; an agent that offers no list may know the message by its id.
"""

import asyncio
from contextlib import suppress

from amas.agents.a2a_wire import NOT_OFFERED, TASK_NOT_FOUND, Endpoint, ForeignTask, Listed, Message, RequestRefused, Sent, Status
from amas.agents.context import Context
from amas.agents.skills.safe_text import plain
from amas.clock import monotonic_s
from amas.errors import GiveUp, RateLimited, RetryLater
from amas.model.task import Json

POLL_MIN_S = 0.1
"""Before the first look; each pause is half as long again as the one before, so that a look comes late by a third at most."""
POLL_GROWS = 1.5
SILENCE_S = 60.0
"""Seconds for which a foreign agent may be away while it has a task of ours, before that is a failed attempt."""
STREAM_S = 60.0
"""Between two looks at a task, although its stream says nothing."""
CANCEL_S = 1.5
"""Within the time that a stopped attempt has for its clean-up."""
WORKING = frozenset({"TASK_STATE_SUBMITTED", "TASK_STATE_WORKING"})
ID_CHARS_MAX = 256
NOTE_CHARS = 200
QUESTION_CHARS = 2000
QUESTIONS_MAX = 20
"""In one task: an agent that asks for ever would keep people at it for ever."""


class ForeignFailed(RetryLater):
    """The foreign agent tried, and failed; what another try is worth, the task's retries say."""

    code = "foreign_failed"


class ForeignWork:
    """What one attempt does of it."""

    def __init__(self, task: Context, endpoint: Endpoint, parts: list[Json], *, poll_max_s: float, escalates: bool) -> None:
        """`parts`: of the message, as the protocol writes them; `escalates`: whether the foreign agent's questions go up."""
        self._task, self._endpoint, self._parts = task, endpoint, parts
        self._poll_max_s, self._escalates = poll_max_s, escalates
        self._turn, self._questions, self._id = 1, 0, ""
        self._answered: set[str] = set()
        """Ids of the foreign agent's questions; it may take a moment until it goes on from one."""
        self._listens, self._rung = endpoint.streams, False
        """Whether its stream is any good, and has said that its task doesn't go on."""

    async def begin(self) -> ForeignTask | Message:
        """Return the foreign task, begun now or by an earlier attempt; or the answer, where the agent needed no task for it."""
        task = self._task
        while (await task.recall(self._step("failed")))[0]:
            self._turn += 1
        known, their_id = await task.recall(self._step("task"))
        if known:
            self._id = str(their_id)
            return await self._look()
        begun, _ = await task.recall(self._step("begun"))
        if begun and (found := await self._find()):
            await self._keep(found)
            return await self._look()
        if not begun:
            await task.keep(self._step("begun"), True)
        sent = await self._send(self._parts, self._name)
        if sent.task is not None:
            await self._keep(sent.task)
            return sent.task
        if sent.message is None:
            raise _unreadable("the foreign agent answered neither with a task nor with a message")
        return sent.message

    async def follow(self, theirs: ForeignTask) -> ForeignTask:
        """Return the foreign task once it is completed; raises what any other end means."""
        pause_s = POLL_MIN_S
        while (state := theirs.status.state) != "TASK_STATE_COMPLETED":
            asks = state == "TASK_STATE_INPUT_REQUIRED" and self._escalates
            if state in WORKING or (asks and _message_id(theirs) in self._answered):
                self._task.progress(0.0, _said(theirs, NOTE_CHARS))
                await self._wait(pause_s)
                pause_s = min(pause_s * POLL_GROWS, self._poll_max_s)
                theirs = await self._look()
            elif asks:
                theirs, pause_s = await self._answer(theirs), POLL_MIN_S
            else:
                await self._end(theirs)
        return theirs

    async def cancel(self) -> None:
        """Call the foreign task off, as well as that can be done in the time that there is."""
        with suppress(RetryLater, RateLimited, GiveUp, TimeoutError):
            async with asyncio.timeout(CANCEL_S):
                if not self._id and (found := await self._find()):
                    self._id = found.id
                if self._id:
                    await self._endpoint.call("CancelTask", {"id": self._id}, ForeignTask)

    @property
    def _name(self) -> str:
        """What the message and its context are called, on every attempt."""
        return self._task.id if self._turn == 1 else f"{self._task.id}.{self._turn}"

    def _step(self, name: str) -> str:
        return f"a2a/{self._turn}/{name}"

    async def _keep(self, found: ForeignTask) -> None:
        if not 0 < len(found.id) <= ID_CHARS_MAX:
            raise _unreadable(f"a foreign task's id has {len(found.id)} characters, and may have 1 to {ID_CHARS_MAX}")
        self._id = found.id
        await self._task.keep(self._step("task"), found.id)

    async def _send(self, parts: list[Json], message_id: str) -> Sent:
        message: dict[str, Json] = {"messageId": message_id, "contextId": self._name, "role": "ROLE_USER", "parts": parts}
        if self._id:
            message["taskId"] = self._id
        waits_for_nothing: Json = {"returnImmediately": True, "historyLength": 0}
        return await self._endpoint.call("SendMessage", {"message": message, "configuration": waits_for_nothing}, Sent)

    async def _find(self) -> ForeignTask | None:
        """Return the foreign task that an earlier attempt's message began, where the agent lists its tasks and there is one."""
        wanted: dict[str, Json] = {"contextId": self._name, "pageSize": 10, "historyLength": 0}
        try:
            listed = await self._endpoint.call("ListTasks", wanted, Listed)
        except RequestRefused as error:
            if error.number not in NOT_OFFERED:
                raise
            return None
        return next((each for each in listed.tasks if each.context_id == self._name), None)

    async def _look(self) -> ForeignTask:
        """Return the foreign task as it is now; an agent that is away for a moment costs no attempt."""
        until_s, pause_s = monotonic_s() + SILENCE_S, POLL_MIN_S
        while True:
            try:
                theirs = await self._endpoint.call("GetTask", {"id": self._id, "historyLength": 0}, ForeignTask)
            except RequestRefused as error:
                if error.number == TASK_NOT_FOUND:
                    raise GiveUp(f"the foreign agent knows nothing of its task any more: {error}", code="foreign_lost") from error
                raise
            except (RetryLater, RateLimited) as error:
                asked_s = error.retry_after_s if isinstance(error, RateLimited) else error.delay_s
                pause_s = min(pause_s * POLL_GROWS, self._poll_max_s) if asked_s is None else max(asked_s, POLL_MIN_S)
                if monotonic_s() + pause_s > until_s:
                    raise
                await asyncio.sleep(pause_s)
                continue
            if theirs.id != self._id:
                raise _unreadable("the foreign agent answered with another task than the one that it was asked about")
            return theirs

    async def _wait(self, pause_s: float) -> None:
        """Wait until the agent's stream says that something has come of it; where there is none, or it breaks off, for a while.

        What a stream says is a bell and no more: the task's own word counts. One that rings for nothing isn't listened to again.
        """
        loop = asyncio.get_running_loop()

        def told(status: Status) -> bool:
            loop.call_soon_threadsafe(self._task.progress, 0.0, _words(status, NOTE_CHARS))
            return status.state not in WORKING

        if self._listens and not self._rung:
            try:
                async with asyncio.timeout(STREAM_S):
                    self._rung = await self._endpoint.watch(self._id, told)
            except TimeoutError:
                return
            except (RetryLater, RateLimited, GiveUp):
                self._listens = False
            if self._rung:
                return
        await asyncio.sleep(pause_s)

    async def _answer(self, theirs: ForeignTask) -> ForeignTask:
        """Have those above answer the foreign agent's question, and return its task as it is after that.

        Every attempt comes through all questions in their order, as `escalate` wants it; what was answered isn't said again.
        """
        task, asks = self._task, _message_id(theirs)
        while self._questions < QUESTIONS_MAX:
            self._questions += 1
            question, done = (self._step(f"{name}/{self._questions}") for name in ("question", "answered"))
            known, asked = await task.recall(question)
            if not known:
                asked = [asks, _said(theirs, QUESTION_CHARS) or "the foreign agent asks for more, and doesn't say what"]
                await task.keep(question, asked)
            assert isinstance(asked, list), "as it was kept"
            given = await task.escalate(str(asked[1]), about={"foreign_task": self._id})
            known, _ = await task.recall(done)
            if not known:
                if asked[0] == asks:  # else it has it: the attempt that sent it died before it could say so
                    await self._send([_answer_part(given.answer)], f"{self._name}/{done}")
                await task.keep(done, True)
            self._answered.add(str(asked[0]) or done)
            self._rung = False
            if not known or asks in self._answered:
                return await self._look()
        await self.cancel()
        raise GiveUp(f"the foreign agent asked more than {QUESTIONS_MAX} questions", code="input_required")

    async def _end(self, theirs: ForeignTask) -> None:
        """Raise what an end means that isn't the one that was wanted."""
        said = _said(theirs, QUESTION_CHARS) or "it doesn't say why"
        match theirs.status.state:
            case "TASK_STATE_FAILED":
                await self._task.keep(self._step("failed"), True)
                raise ForeignFailed(f"the foreign agent failed: {said}")
            case "TASK_STATE_REJECTED":
                raise GiveUp(f"the foreign agent won't do it: {said}", code="foreign_rejected")
            case "TASK_STATE_CANCELED":
                raise GiveUp(f"the task was cancelled at the foreign agent: {said}", code="foreign_cancelled")
            case "TASK_STATE_INPUT_REQUIRED":
                await self.cancel()
                raise GiveUp(
                    f"the foreign agent asks, and nobody is to answer (questions: escalate): {said}", code="input_required"
                )
            case "TASK_STATE_AUTH_REQUIRED":
                await self.cancel()
                raise GiveUp(f"the foreign agent wants to be let in somewhere: {said}", code="auth_required")
            case state:
                raise _unreadable(f"a foreign task is in a state that A2A 1.0 doesn't have: {plain(state, chars_max=50)!r}")


def _answer_part(answer: Json) -> dict[str, Json]:
    """Return an answer as a part of a message: of a person's the comment, since who they are is nobody's business there."""
    match answer:
        case str(text) | {"approved": _, "by": _, "comment": str(text)}:
            return {"text": text}
        case {"approved": yes, "by": _}:
            return {"text": "yes" if yes else "no"}
        case _:
            return {"data": answer}


def _message_id(theirs: ForeignTask) -> str:
    return theirs.status.message.message_id[:ID_CHARS_MAX] if theirs.status.message else ""


def _said(theirs: ForeignTask, chars_max: int) -> str:
    return _words(theirs.status, chars_max)


def _words(status: Status, chars_max: int) -> str:
    """Return what the foreign agent says about its task's state, in one line."""
    parts = status.message.parts if status.message else ()
    return plain(" ".join(part.text for part in parts if part.text)[: chars_max * 4], chars_max=chars_max)


def _unreadable(why: str) -> GiveUp:
    return GiveUp(why, code="answer_unreadable")
