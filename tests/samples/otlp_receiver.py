"""A receiver of OTLP over HTTP, which decodes what comes by OpenTelemetry's own protobuf."""

import gzip
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any, NamedTuple

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

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                assert (self.path, self.headers["Content-Type"]) == ("/v1/traces", "application/x-protobuf")
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if self.headers.get("Content-Encoding") == "gzip":
                    body = gzip.decompress(body)
                outer.take(ExportTraceServiceRequest.FromString(body))
                answer = ExportTraceServiceResponse().SerializeToString()
                self.send_response(200)
                self.send_header("Content-Type", "application/x-protobuf")
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self._thread = Thread(target=self.server.serve_forever, args=(0.05,), daemon=True)

    def take(self, request: ExportTraceServiceRequest) -> None:
        for part in request.resource_spans:
            resource = _values(part.resource.attributes)
            self.spans += [_span(told, resource) for scope in part.scope_spans for told in scope.spans]

    def __enter__(self) -> "OtlpReceiver":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self._thread.join()
        self.server.server_close()

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
