"""A receiver of OTLP over HTTP, which decodes what comes by OpenTelemetry's own protobuf."""

import gzip
from contextlib import ExitStack
from typing import Any, NamedTuple

from http_served import Whole, bound, running
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest, ExportTraceServiceResponse
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Told


class Span(NamedTuple):
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: str
    attributes: dict[str, Any]
    start_ns: int
    end_ns: int
    error: str
    resource: dict[str, Any]


class OtlpReceiver:
    """Keeps every span; set OTEL_EXPORTER_OTLP_ENDPOINT to `url`."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        outer = self

        class Handler(Whole):
            def do_POST(self) -> None:
                assert (self.path, self.headers["Content-Type"]) == ("/v1/traces", "application/x-protobuf")
                body = self.read()
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                outer.take(ExportTraceServiceRequest.FromString(body))
                self.say(200, ExportTraceServiceResponse().SerializeToString(), {"Content-Type": "application/x-protobuf"})

        self.server = bound(Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self._running = ExitStack()

    def take(self, request: ExportTraceServiceRequest) -> None:
        for part in request.resource_spans:
            resource = _values(part.resource.attributes)
            self.spans += [_span(told, resource) for scope in part.scope_spans for told in scope.spans]

    def __enter__(self) -> "OtlpReceiver":
        self._running.enter_context(running(self.server))
        return self

    def __exit__(self, *_: object) -> None:
        self._running.close()

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: _value(each.value) for each in attributes}


def _value(told: Any) -> Any:
    value = getattr(told, told.WhichOneof("value"))
    return [_value(each) for each in value.values] if told.HasField("array_value") else value


def _span(told: Told, resource: dict[str, Any]) -> Span:
    return Span(
        told.name,
        told.trace_id.hex(),
        told.span_id.hex(),
        told.parent_span_id.hex(),
        Told.SpanKind.Name(told.kind).removeprefix("SPAN_KIND_"),
        _values(told.attributes),
        told.start_time_unix_nano,
        told.end_time_unix_nano,
        told.status.message,
        resource,
    )
