"""What an attempt that is traced tells: its task, itself, its steps, its requests to models, its uses of tools, its messages.

Only for attempts whose task came with a `traceparent` that is kept; all others have None in the place of an `AttemptTrace`. The
task's span is told by the attempt that ends it, so a task that ends without one (cancelled, overdue) has none of its own.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec

from amas.clock import now_ns
from amas.errors import AmasError
from amas.model.blob import unwrap
from amas.model.cost import ModelCall
from amas.model.message import Message
from amas.model.numbers import pool_named
from amas.model.task import Claimed, Completion, FailedAttempt, Failure, Json
from amas.model.tools import STEPS, use_step
from amas.model.trace import TraceContext, attempt_name, span_of
from amas.observe import gen_ai, tracing
from amas.observe.tracing import Attributes, Span, Tracing, known, within

STEPS_BEGUN_MAX = 1000
"""Of an attempt, begun and not kept: agents may look for any number of steps."""

_TOLD = -1
"""In the place of when a step began that another span tells of."""

_failure = msgspec.msgpack.Decoder(Failure)


class AttemptTrace:
    """One attempt's spans."""

    __slots__ = ("_begun", "_claimed", "_host_id", "_place", "_tracing")

    def __init__(self, to: Tracing, place: TraceContext, claimed: Claimed, host_id: str) -> None:
        """`place`: where the task was submitted."""
        self._tracing, self._claimed, self._host_id = to, claimed, host_id
        self._place = place._replace(span_id=span_of(attempt_name(claimed.id, claimed.attempt)))
        self._begun: dict[str, int] = {}

    @classmethod
    def of(cls, to: Tracing | None, claimed: Claimed, host_id: str) -> "AttemptTrace | None":
        """Return what tells of an attempt; None where nobody listens or its trace isn't kept."""
        place = known(claimed.spec.traceparent) if to is not None else None
        return cls(to, place, claimed, host_id) if to is not None and place is not None else None

    @property
    def traceparent(self) -> str:
        """What belongs to this attempt goes on with this."""
        return str(self._place)

    # -- within

    def begin_step(self, name: str) -> None:
        """Note when a step that isn't known began."""
        if len(self._begun) < STEPS_BEGUN_MAX:
            self._begun[name] = now_ns()

    def end_step(self, name: str, result: Json, calls: Sequence[ModelCall]) -> None:
        """Tell of a step that was kept, and of the requests that it took, one after the other: of each the duration is known."""
        end_ns = now_ns()
        if name.startswith(STEPS) or (start_ns := self._begun.pop(name, end_ns)) == _TOLD:  # a tool's use is told by `using`
            return
        step = self._place._replace(span_id=self._id_of(name))
        self._tell(*_of_step(name, result), self._place, step.span_id, start_ns, end_ns)
        for number, call in reversed(list(enumerate(calls))):
            start_ns = end_ns - call.duration_ms * 1_000_000
            span_id = span_of(f"{step.span_id}/{number}")
            about, error = gen_ai.asked(call), ""
            if number == len(calls) - 1 and (answer := gen_ai.answered(result)):
                about |= answer
            elif number < len(calls) - 1:  # whoever was asked next was asked because this one didn't answer
                about[gen_ai.ERROR_TYPE], error = gen_ai.ERROR_OTHER, "not answered"
            self._tracing.tell(Span(f"chat {call.model}", step, span_id, start_ns, end_ns, about, kind="CLIENT", error=error))
            end_ns = start_ns

    @contextmanager
    def using(self, tool: str, key: str, kind: str) -> Iterator[None]:
        """Tell of one use of a tool of the fleet, unless the journal has it; what the tool asks of others goes on with its span.

        `kind`: the tool's, "" for one that there is none of.

        A model's call is journaled as a step around it, for which this span stands, too.
        """
        step, asked, error, failed = use_step(tool, key), f"tool/{key}", "", ""
        place = self._place._replace(span_id=self._id_of(step))
        try:
            with within(str(place)):
                yield
        except BaseException as raised:
            error, failed = repr(raised), _type_of(raised)
            raise
        finally:
            if start_ns := self._begun.pop(step, 0):
                by_model = asked in self._begun
                if by_model:
                    self._begun[asked] = _TOLD
                called = _of_tool(tool, asked if by_model else "", gen_ai.TOOL_TYPES.get(kind, ""))
                about = {"amas.step": step, **called, gen_ai.ERROR_TYPE: failed}
                self._tell(f"execute_tool {tool}", about, self._place, place.span_id, start_ns, now_ns(), error)

    @contextmanager
    def mailing(self, what: str, *, sends: bool) -> Iterator[None]:
        """Tell of an agent that sends or receives messages in the block; those that it sends go on with the span."""
        start_ns, (_, place), error = now_ns(), self._tracing.begin(self._place, what), ""
        try:
            with within(str(place)):
                yield
        except Exception as raised:
            error = repr(raised)
            raise
        finally:
            kind: tracing.Kind = "PRODUCER" if sends else "CONSUMER"
            about = {"messaging.operation.name": what, "messaging.system": "amas"}
            self._tracing.tell(
                Span(f"{what} message", self._place, place.span_id, start_ns, now_ns(), about, kind=kind, error=error)
            )

    # -- the end

    def ended(self, outcome: Completion | FailedAttempt | None, *, took_s: float, suspended: bool) -> None:
        """Tell of the attempt, and of its task where that ends with it."""
        claimed, spec = self._claimed, self._claimed.spec
        end_ns, error, code, final = now_ns(), "", "", isinstance(outcome, Completion)
        said = "succeeded" if final else "suspended" if suspended else "stopped"
        if isinstance(outcome, FailedAttempt):
            failure = _failure.decode(unwrap(outcome.failure))
            said, code, error = "failed", failure.code, f"{failure.code}: {failure.message}"
            counts = not outcome.later and outcome.provider is None
            final = outcome.final or (counts and claimed.failures >= spec.retry.retries)
        start_ns = end_ns - round(took_s * 1e9)
        agent = pool_named(claimed.agent_id) or claimed.agent_id
        about: Attributes = {
            gen_ai.OPERATION: "invoke_agent",
            gen_ai.PROVIDER: gen_ai.OURS,
            gen_ai.AGENT_ID: claimed.agent_id,
            gen_ai.AGENT_NAME: agent,
            tracing.ATTEMPT: claimed.attempt,
            tracing.HOST_ID: self._host_id,
            tracing.OUTCOME: said,
            gen_ai.ERROR_TYPE: code,
        }
        task = self._place._replace(span_id=span_of(claimed.id))
        self._tell(f"invoke_agent {agent}", about, task, self._place.span_id, start_ns, end_ns, error)
        if final:
            start_ns = spec.submitted_ms * 1_000_000 or start_ns
            named = {tracing.CAPABILITY: spec.capability, tracing.TENANT: spec.tenant, "amas.task.key": spec.key}
            named |= {tracing.OUTCOME: said, gen_ai.ERROR_TYPE: code}
            name = f"task {spec.title or spec.key or spec.capability}"
            self._tell(name, named, self._parent(), task.span_id, start_ns, end_ns, error)

    def _parent(self) -> TraceContext:
        """Return the task's parent: another task, its workflow, or who submitted it."""
        spec = self._claimed.spec
        place = known(spec.traceparent)
        assert place is not None, "it was when the attempt began"
        above = spec.parent_id or spec.workflow_id
        return place._replace(span_id=span_of(above)) if above else place

    def _id_of(self, step: str) -> str:
        return span_of(f"{self._place.span_id}/{step}")

    def _tell(  # noqa: PLR0913, PLR0917  a span's parts
        self, name: str, about: Attributes, parent: TraceContext, span_id: str, start_ns: int, end_ns: int, error: str = ""
    ) -> None:
        ours = {tracing.TASK_ID: self._claimed.id, tracing.WORKFLOW_ID: self._claimed.spec.workflow_id}
        self._tracing.tell(Span(name, parent, span_id, start_ns, end_ns, {**ours, **about}, error=error))


def place_of(claimed: Claimed) -> str:
    """Return what an attempt that another process works at goes on with; empty where its task came with no trace."""
    trace = AttemptTrace.of(tracing.process_tracing(), claimed, "")
    return trace.traceparent if trace else claimed.spec.traceparent


def _of_step(name: str, result: Json) -> tuple[str, Attributes]:
    """Return how a step's span is called, and what its name and result say: a model agent's calls keep the tool's name."""
    tool = result.get("tool") if name.startswith("tool/") and isinstance(result, dict) else None
    if not isinstance(tool, str) or name.count("/") < 3:
        return f"step {name}", {"amas.step": name}
    return f"execute_tool {tool}", {"amas.step": name, **_of_tool(tool, name, "function")}


def _of_tool(tool: str, asked: str, kind: str) -> Attributes:
    """Return what a tool's span says; `asked`: the step of a model's call, `tool/<request>/<call>/<retry>`, empty without one."""
    call = asked.removeprefix("tool/").partition("/")[2].rpartition("/")[0]
    return {gen_ai.OPERATION: "execute_tool", gen_ai.TOOL: tool, gen_ai.TOOL_TYPE: kind, gen_ai.TOOL_CALL: call}


def _type_of(error: BaseException) -> str:
    return error.code if isinstance(error, AmasError) else type(error).__name__


@contextmanager
def handling(to: Tracing | None, message: Message, agent_id: str) -> Iterator[None]:
    """Tell of an agent's work on a message as a part of its sender's trace; what it sends meanwhile goes on with that."""
    place = known(message.traceparent) if to is not None else None
    if to is None or place is None:
        yield
        return
    start_ns, (_, own) = now_ns(), to.begin(place, "process")
    error = ""
    try:
        with within(str(own)):
            yield
    except BaseException as raised:
        error = repr(raised)
        raise
    finally:
        about = {
            "messaging.system": "amas",
            "messaging.operation.name": "process",
            "messaging.message.id": message.id,
            gen_ai.AGENT_ID: agent_id,
        }
        name = f"process message {message.type}"
        to.tell(Span(name, place, own.span_id, start_ns, now_ns(), about, kind="CONSUMER", error=error))
