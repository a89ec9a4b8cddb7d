"""The rules of tasks and workflows in plain Python, as ARCHITECTURE.md ("A task's life") and docs/workflows.md state them.

Nothing here counts down, keeps lists of who waits, or knows of keys: a task looks at those that it needs, and `settle` applies
the rules until nothing changes any more. So it agrees with the engine only where both are right.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from amas.model.states import TERMINAL, TaskState

S = TaskState
HOSTS_LOST_MAX = 8
AT_A_TIME = 3
"""Workflows that take turns and may be open together."""
REFUSAL = {"approved": False, "by": "ada"}


@dataclass
class Plain:
    """A task: what its submitter said, and where it stands."""

    id: str
    workflow: str = ""
    needs: frozenset[str] = frozenset()
    quorum: int = 0
    kind: str = "work"
    key: str = ""
    skip: bool = False
    retries: int = 3
    delay_ms: int = 0
    expires_ms: int = 0
    parent: str = ""

    state: TaskState = S.WAITING
    attempt: int = 0
    failures: int = 0
    hosts_lost: int = 0
    host: str = ""
    why: str = ""
    """The code of its failure."""
    heard: dict[str, TaskState] = field(default_factory=dict)
    """How those of its needs ended that have."""
    cleared: bool = False
    """Its needs stand in its way no more."""
    children: set[str] = field(default_factory=set)
    awaits: set[str] = field(default_factory=set)
    due_ms: int = 0
    deadline_ms: int = 0
    answers: list[object] = field(default_factory=list)
    """A signal's: none or one."""
    outlived: bool = False
    """Cancelled only because what it belongs to ended."""
    nobodys: bool = False
    """What had spawned it has started anew."""
    past: set[int] = field(default_factory=set)
    """Generations in which it spawned, before it started anew."""
    generation: int = 0

    def __str__(self) -> str:
        said = {name: getattr(self, name) for name in ("kind", "quorum", "skip", "delay_ms", "expires_ms", "parent", "retries")}
        return f"{self.id}({','.join(sorted(self.needs))} {' '.join(f'{name}={value}' for name, value in said.items() if value)})"

    @property
    def open(self) -> bool:
        return self.state not in TERMINAL

    @property
    def begun(self) -> bool:
        return self.state is not S.QUEUED and not (self.state is S.WAITING and not self.attempt)


@dataclass
class Flow:
    """A workflow."""

    id: str
    root: str = ""
    in_turn: bool = False
    """It counts among those of which only so many may be open."""
    waits: bool = False
    paused: bool = False
    ended: str = ""
    early: dict[str, object] = field(default_factory=dict)
    """Answers whose signals weren't there yet."""

    @property
    def held(self) -> bool:
        return self.waits or self.paused

    @property
    def state(self) -> str:
        return self.ended or ("paused" if self.paused else "waiting" if self.waits else "running")


class Rules:
    """What must be true. Each method is a call; `settle` has to follow it."""

    def __init__(self) -> None:
        self.tasks: dict[str, Plain] = {}
        self.flows: dict[str, Flow] = {}
        self.members: dict[str, list[Plain]] = {}
        self.dead: set[str] = set()
        self.now = 0
        self._touched: set[str] = set()
        """Workflows of which a task has ended in this call."""

    # What follows from what

    def settle(self) -> None:
        moved = True
        while moved:
            moved = sum(self._follow(one) for one in self.tasks.values() if one.state is S.WAITING) > 0
            if not moved:
                moved = self._close_workflows()
        self._touched.clear()
        self._admit()

    def _follow(self, one: Plain) -> bool:
        """Let a waiting task go on, or fail, when it can be told; return whether it moved."""
        if not one.cleared:
            verdict = self._needs_of(one)
            if verdict is None:
                return False
            if not verdict:
                self.end(one, S.FAILED, "dependency_failed")
                return True
            one.cleared = True
            if one.kind == "signal" and one.expires_ms:
                one.deadline_ms = self.now + one.expires_ms
        if any(self.tasks[child].open for child in one.awaits):
            return False
        if one.kind == "signal":
            if one.answers:
                refused = one.answers[0] == REFUSAL
                self.end(one, S.FAILED if refused else S.SUCCEEDED, "refused" if refused else "")
            return bool(one.answers)
        self._go_on(one)
        return True

    def _needs_of(self, one: Plain) -> bool | None:
        """Return whether it may run; None while that can't be told."""
        for need in one.needs - one.heard.keys():
            if not self.tasks[need].open:
                one.heard[need] = self.tasks[need].state
        left = len(one.needs) - len(one.heard)
        if one.quorum:
            well = list(one.heard.values()).count(S.SUCCEEDED)
            return True if well >= one.quorum else False if well + left < one.quorum else None
        if any(state is not S.SUCCEEDED and not self.tasks[need].skip for need, state in one.heard.items()):
            return False
        return None if left else True

    def _go_on(self, one: Plain) -> None:
        if one.kind == "timer" and not one.delay_ms:
            self.end(one, S.SUCCEEDED)
        elif one.delay_ms:
            one.state, one.due_ms = S.DELAYED, self.now + one.delay_ms
            one.delay_ms = one.delay_ms if one.kind == "timer" else 0  # work is put off once, a timer whenever it begins
        else:
            one.state = S.QUEUED

    def end(self, one: Plain, state: TaskState, why: str = "") -> None:
        """End a task, and with it what it spawned."""
        one.state, one.why, one.host, one.due_ms, one.deadline_ms = state, why, "", 0, 0
        self._touched.add(one.workflow)
        for child in self._open_among(one.children):
            self.end(child, S.CANCELLED)
            child.outlived = True

    def _open_among(self, ids: Iterable[str]) -> list[Plain]:
        return [self.tasks[one] for one in ids if self.tasks[one].open]

    def _close_workflows(self) -> bool:
        closed = False
        for flow in [self.flows[name] for name in self._touched - {""}]:
            state = self._verdict(flow)
            if state and not flow.ended:
                self.close(flow, state)
                closed = True
        return closed

    def _verdict(self, flow: Flow) -> str:
        if flow.root:
            root = self.tasks[flow.root]
            return "" if root.open else root.state.value
        members = self.members[flow.id]
        if any(one.open for one in members):
            return ""
        first = [one for one in members if not one.parent]
        if any(one.state is S.FAILED and not one.skip for one in first):
            return "failed"
        return "cancelled" if any(one.state is S.CANCELLED for one in first) else "succeeded"

    def close(self, flow: Flow, state: str) -> None:
        """End a workflow and cancel what is open in it."""
        flow.ended, flow.paused, flow.waits = state, False, False
        for one in [one for one in self.members[flow.id] if one.open]:
            if one.open:
                self.end(one, S.CANCELLED)
            one.outlived = True

    def _admit(self) -> None:
        """Let in whose turn it is: in the order in which they came."""
        for flow in self.flows.values():
            if (
                flow.waits
                and sum(other.in_turn and not other.ended and not other.waits for other in self.flows.values()) < AT_A_TIME
            ):
                flow.waits = False

    # What is asked for

    def add(self, new: Plain) -> None:
        self.tasks[new.id] = new
        if new.workflow:
            self.members.setdefault(new.workflow, []).append(new)
            if new.kind == "signal" and new.key in self.flows[new.workflow].early:
                new.answers = [self.flows[new.workflow].early.pop(new.key)]
        if new.expires_ms and new.kind != "signal":
            new.deadline_ms = self.now + new.expires_ms
        if new.kind == "timer" and not new.delay_ms and self._needs_of(new):
            new.state, new.cleared, new.due_ms = S.DELAYED, True, self.now  # `promote` ends it, as any other

    def open_flow(self, flow: Flow) -> None:
        self.flows[flow.id] = flow
        self.members.setdefault(flow.id, [])
        flow.waits = flow.in_turn

    def claimable(self) -> set[str]:
        held = {flow.id for flow in self.flows.values() if flow.held}
        return {one.id for one in self.tasks.values() if one.state is S.QUEUED and one.workflow not in held}

    def fail(self, one: Plain, *, final: bool, delay_ms: int) -> None:
        one.failures += 1
        if final or one.failures > one.retries:
            self.dead.add(one.id)
            self.end(one, S.FAILED, "boom")
        else:
            one.state, one.due_ms = S.DELAYED, self.now + delay_ms

    def lose(self, one: Plain) -> None:
        """Its host died."""
        one.hosts_lost += 1
        if one.hosts_lost > HOSTS_LOST_MAX:
            self.dead.add(one.id)
            self.end(one, S.FAILED, "host_lost")
        else:
            one.state = S.QUEUED

    def promote(self) -> int:
        due = [one for one in self.tasks.values() if one.state is S.DELAYED and one.due_ms <= self.now]
        for one in due:
            if one.kind == "timer":
                self.end(one, S.SUCCEEDED)
            else:
                one.state = S.QUEUED
        return len(due)

    def expire(self) -> int:
        due = [one for one in self.tasks.values() if one.open and 0 < one.deadline_ms <= self.now]
        for one in due:
            if one.kind == "work":
                self.dead.add(one.id)
            self.end(one, S.FAILED, "expired" if one.kind == "signal" else "deadline_exceeded")
        return len(due)

    def answer(self, one: Plain | None, payload: object) -> str:
        """Answer a signal; return what the one who says it hears: "" or why not."""
        if not one:
            return "unknown"
        if one.kind != "signal":
            return "refused"
        if one.answers:
            return "" if one.answers[0] == payload else "refused"
        if not one.open:
            return "refused"
        one.answers = [payload]
        return ""

    def answer_key(self, flow: Flow | None, key: str, payload: object) -> str:
        if not flow:
            return "unknown"
        named = [one for one in self.members[flow.id] if one.kind == "signal" and one.key == key]
        if named:
            return self.answer(named[0], payload)
        if key in flow.early:
            return "" if flow.early[key] == payload else "refused"
        if flow.ended:
            return "unknown"
        flow.early[key] = payload
        return ""

    # Ends that are undone

    def rerun(self, start: Plain) -> int | None:
        """A task and all that came of it are done again; return how many tasks that are, None when it is nobody's any more."""
        if not start.begun:
            return 0
        if start.nobodys:
            return None
        return self._reset(start.workflow, anew={start.id}, again=set(), everything=True)

    def put_back(self, ids: list[str]) -> list[str]:
        """Dead letters get all their retries, and what failed because of them waits again; return which of the ids are none."""
        letters = {one for one in ids if one in self.dead}
        homes = {self.tasks[one].workflow for one in letters}
        for home in homes - {""}:
            self._reset(home, anew=set(), again={one for one in letters if self.tasks[one].workflow == home}, everything=False)
        for one in [self.tasks[one] for one in letters if not self.tasks[one].workflow]:
            self._begin_again(one)
            if one.parent and not self.tasks[one.parent].open:  # it stands by itself from now on
                self.tasks[one.parent].children.discard(one.id)
                one.parent = ""
        return [one for one in ids if one not in letters]

    def _reset(self, home: str, *, anew: set[str], again: set[str], everything: bool) -> int:
        members = {one.id: one for one in self.members[home] if not one.nobodys}
        dropped = self._mark_downstream(members, anew, again, everything=everything)
        flow = self.flows[home]
        reopened, flow.ended = bool(flow.ended), ""
        for one in members.values():  # parents come before what they spawned
            parent = members.get(one.parent)
            goes_on = (parent.id in again | anew or parent.open) if parent else reopened
            if one.outlived and goes_on and one.id not in dropped | anew:
                again.add(one.id)
        for one in [members[name] for name in dropped]:
            one.outlived, one.nobodys = False, True
            self.dead.discard(one.id)
            if one.open:
                self.end(one, S.CANCELLED)
        for one in [members[name] for name in anew | again]:
            if one.id in anew:
                one.past |= {one.generation} if one.children else set()
                one.children, one.awaits = set(), set()
            else:
                one.children -= dropped
            self._begin_again(one)
        for one in [members[name] for name in again]:
            one.awaits = {child.id for child in self._open_among(one.children)}
        return len(anew | again)

    def _mark_downstream(self, members: dict[str, Plain], anew: set[str], again: set[str], *, everything: bool) -> set[str]:
        """Add to `anew` what starts anew and to `again` what goes through its code again; return what is nobody's any more."""
        dropped: set[str] = set()
        size = -1
        while size != (size := len(anew) + len(again) + len(dropped)):
            for one in members.values():
                if one.parent in anew | dropped:
                    dropped.add(one.id)
                elif one.needs & dropped or (one.needs & (anew | again) and (everything or self._was_for_want(one))):
                    anew.add(one.id)
                children = {child.id for child in members.values() if child.parent == one.id}
                if children & (anew | again) and (everything or one.state in {S.FAILED, S.WAITING}):
                    again.add(one.id)
            anew -= dropped
            again -= dropped | anew
        return dropped

    def _was_for_want(self, one: Plain) -> bool:
        """Whether a need that is put back is a second chance for it."""
        undecided = one.state is S.WAITING and one.quorum > 0 and not one.cleared
        return undecided or (one.state is S.FAILED and one.why == "dependency_failed")

    def _begin_again(self, one: Plain) -> None:
        one.state, one.why, one.host, one.failures, one.hosts_lost, one.due_ms = S.WAITING, "", "", 0, 0, 0
        one.heard, one.cleared, one.answers, one.outlived = {}, False, [], False
        one.deadline_ms = self.now + one.expires_ms if one.expires_ms and one.kind != "signal" else 0
        self.dead.discard(one.id)
