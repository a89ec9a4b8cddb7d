"""OpenTelemetry traces: told by each process when ORCHESTRATION_ENABLE_TRACING is on, sent by OTLP over HTTP.

Spans are told when they have ended, with ids that follow from tasks' ids (`model/trace.py`), so nothing is kept open meanwhile
and no context object travels. Where they go and what each process is called say the OTEL_* variables, which the exporter reads.
OpenTelemetry is an extra and imported by `open_tracing` alone: a process without tracing pays one comparison with None.

`current` is the place in a trace to which belongs whatever is submitted or sent now: the request's, the attempt's, or a span of
the program that uses the client.
"""

import os
import secrets
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from contextvars import ContextVar
from functools import cache
from typing import Any, Literal, NamedTuple

from amas.clock import now_ns
from amas.errors import SettingInvalid
from amas.model.trace import TraceContext, parse
from amas.settings import TracingSettings

Attributes = Mapping[str, str | int | float | bool | tuple[str, ...]]
Kind = Literal["INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER"]

FLUSH_S = 5.0
"""Seconds for the last spans when a process ends; a receiver that is away mustn't hold it up."""

WORKFLOW_ID, TASK_ID, ATTEMPT, HOST_ID = "amas.workflow.id", "amas.task.id", "amas.task.attempt", "amas.host.id"
CAPABILITY, TENANT, OUTCOME, GOAL = "amas.task.capability", "amas.tenant", "amas.outcome", "amas.goal"

_ambient: ContextVar[str] = ContextVar("traceparent", default="")


def current() -> str:
    """Return the `traceparent` of what goes on here, "" for none."""
    if (said := _ambient.get()) or "opentelemetry.trace" not in sys.modules:
        return said
    from opentelemetry import trace

    found = trace.get_current_span().get_span_context()
    if not found.is_valid:
        return ""
    return str(TraceContext(f"{found.trace_id:032x}", f"{found.span_id:016x}", found.trace_flags.sampled))


@contextmanager
def within(traceparent: str) -> Iterator[None]:
    """Have `current` return this in the block, and in the tasks that it starts."""
    before = _ambient.set(traceparent)
    try:
        yield
    finally:
        _ambient.reset(before)


class Span(NamedTuple):
    """Something that took its time and is over."""

    name: str
    parent: TraceContext
    """Its trace, and in it the span that it is part of; one without a parent has its own id there."""
    span_id: str
    start_ns: int
    """Since the epoch."""
    end_ns: int
    attributes: Attributes
    kind: Kind = "INTERNAL"
    error: str = ""
    """Why it failed; empty: it didn't."""


class Tracing:
    """Where a process's spans go; made by `open_tracing`."""

    def __init__(self, provider: Any, processor: Any) -> None:
        self._provider, self._processor = provider, processor

    def begin(self, parent: TraceContext | None, name: str) -> tuple[TraceContext, TraceContext]:
        """Return the parent and the place of a span that begins here; where there is no parent, the sampler has decided."""
        if parent is None:
            span_id = secrets.token_hex(8)
            trace_id = secrets.token_hex(16)
            decision = self._provider.sampler.should_sample(None, int(trace_id, 16), name).decision
            parent = TraceContext(trace_id, span_id, bool(decision.is_sampled()))
            return parent, parent
        return parent, parent._replace(span_id=secrets.token_hex(8))

    def tell(self, span: Span) -> None:
        """Hand a span over, from any thread; one of a trace that isn't kept is dropped."""
        if not span.parent.sampled:
            return
        from opentelemetry import trace
        from opentelemetry.sdk.trace import ReadableSpan

        def place(span_id: str, *, remote: bool) -> trace.SpanContext:
            flags = trace.TraceFlags(trace.TraceFlags.SAMPLED)
            return trace.SpanContext(int(span.parent.trace_id, 16), int(span_id, 16), is_remote=remote, trace_flags=flags)

        status = trace.Status(trace.StatusCode.ERROR, span.error) if span.error else trace.Status()
        self._processor.on_end(
            ReadableSpan(
                span.name,
                context=place(span.span_id, remote=False),
                parent=place(span.parent.span_id, remote=True) if span.parent.span_id != span.span_id else None,
                resource=self._provider.resource,
                attributes={name: value for name, value in span.attributes.items() if value not in ("", None)},
                kind=trace.SpanKind[span.kind],
                status=status,
                start_time=span.start_ns,
                end_time=max(span.end_ns, span.start_ns),
                instrumentation_scope=_scope(),
            )
        )

    def close(self) -> None:
        """Send what is left; blocking, at most about `FLUSH_S` seconds."""
        self._processor.force_flush(round(FLUSH_S * 1000))
        self._provider.shutdown()


@cache
def _scope() -> Any:
    """Return what all our spans come from: one, which the exporter groups them by."""
    from opentelemetry.sdk.util.instrumentation import InstrumentationScope

    return InstrumentationScope("amas")


def open_tracing(part: str, instance: str, environ: Mapping[str, str] | None = None) -> Tracing | None:
    """Return where the spans of this process go, None where tracing is off; SettingInvalid where the extra is missing.

    `part`: `control_plane` or `host`. `instance`: which one, such as a host's id.
    """
    settings = TracingSettings.read(environ)
    if not settings.enabled:
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
    except ImportError as error:
        raise SettingInvalid(
            "ORCHESTRATION_ENABLE_TRACING is true, but OpenTelemetry isn't installed: pip install 'amas[tracing]'"
        ) from error
    own = {"service.name": os.environ.get("OTEL_SERVICE_NAME", "amas"), "service.instance.id": instance, "amas.part": part}
    sampler = None if settings.sampler else ParentBased(TraceIdRatioBased(settings.ratio))  # None: as OTEL_TRACES_SAMPLER says
    provider = TracerProvider(sampler=sampler, resource=Resource.create(own), shutdown_on_exit=False)
    processor = BatchSpanProcessor(OTLPSpanExporter(timeout=FLUSH_S))
    provider.add_span_processor(processor)
    return Tracing(provider, processor)


_of_process: Tracing | None = None


def use_tracing(tracing: Tracing | None) -> None:
    """Make it this process's own: what `process_tracing` returns from now on."""
    global _of_process  # noqa: PLW0603  a process has one
    _of_process = tracing


def process_tracing() -> Tracing | None:
    """Return where this process's spans go; None where tracing is off."""
    return _of_process


@contextmanager
def beginning(name: str, about: Attributes) -> Iterator[None]:
    """Have a trace begin with this block, where tracing is on; what is submitted in it goes on with that, if it is kept."""
    tracing = process_tracing()
    if tracing is None:
        yield
        return
    _, place = tracing.begin(None, name)
    start_ns, error = now_ns(), ""
    try:
        with within(str(place) if place.sampled else ""):
            yield
    except Exception as raised:
        error = repr(raised)
        raise
    finally:
        tracing.tell(Span(name, place, place.span_id, start_ns, now_ns(), about, error=error))


def known(traceparent: str) -> TraceContext | None:
    """Return the place in a trace that is kept, None for any other text."""
    found = parse(traceparent) if traceparent else None
    return found if found is not None and found.sampled else None


@contextmanager
def tracing_of(part: str, instance: str) -> Iterator[None]:
    """Have this process tell its spans within the block, where tracing is on."""
    tracing = open_tracing(part, instance)
    use_tracing(tracing)
    try:
        yield
    finally:
        use_tracing(None)
        if tracing is not None:
            with suppress(Exception):  # a receiver that is away is nobody's mistake here
                tracing.close()
