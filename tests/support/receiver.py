"""A receiver of OTLP in this process, over HTTP or gRPC, that keeps what it was sent."""

import gzip
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2 as metrics_service
from opentelemetry.proto.collector.metrics.v1 import metrics_service_pb2_grpc as metrics_grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2 as trace_service
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc as trace_grpc

from durable_responses.telemetry.export import Protocol


@dataclass(frozen=True)
class ReceivedSpan:
    """One span; ids in hexadecimal, times in seconds since the epoch."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    start: float
    end: float
    is_error: bool
    attributes: dict[str, Any]
    links: tuple[tuple[str, str], ...]
    """The ids, of trace and span, that it is linked to."""


@dataclass
class Received:
    """What came so far. Safe to read while more comes."""

    endpoint: str
    protocol: Protocol
    spans: list[ReceivedSpan] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    metrics: dict[str, Any] = field(default_factory=dict)
    """The last message of each metric, by name: it has its unit and kind."""
    refused: int = 0
    """How many messages were refused."""
    _points: list[tuple[str, Any]] = field(default_factory=list)

    @property
    def variables(self) -> dict[str, str]:
        """The environment of a process that sends here."""
        return {
            "OTEL_EXPORTER_OTLP_ENDPOINT": self.endpoint,
            "OTEL_EXPORTER_OTLP_PROTOCOL": self.protocol,
            "OTEL_BSP_SCHEDULE_DELAY": "100",
            "OTEL_METRIC_EXPORT_INTERVAL": "250",
        }

    def take_traces(self, request: trace_service.ExportTraceServiceRequest) -> None:
        """Keep the spans of a message."""
        self.bodies.append(request.SerializeToString())
        for resource in request.resource_spans:
            service = _attributes(resource.resource.attributes)["service.name"]
            for scope in resource.scope_spans:
                self.spans += [_span(service, span) for span in scope.spans]

    def take_metrics(self, request: metrics_service.ExportMetricsServiceRequest) -> None:
        """Keep the points of a message."""
        self.bodies.append(request.SerializeToString())
        for resource in request.resource_metrics:
            for scope in resource.scope_metrics:
                for metric in scope.metrics:
                    self.metrics[metric.name] = metric
                    points = getattr(metric, metric.WhichOneof("data") or "").data_points
                    self._points += [(metric.name, point) for point in points]

    def metric_names(self) -> set[str]:
        """The names of all metrics that came."""
        return {name for name, _ in list(self._points)}

    def labels(self, name: str) -> set[str]:
        """The names of the labels that points of a metric came with."""
        return {key for found, point in list(self._points) if found == name for key in _attributes(point.attributes)}

    def metric(self, name: str, **labels: str) -> float:
        """The last value with these labels, summed over the others; of a histogram, its count. 0 at first."""
        last: dict[tuple[tuple[str, Any], ...], float] = {}
        for found, point in list(self._points):
            attributes = _attributes(point.attributes)
            if found == name and labels.items() <= attributes.items():
                is_histogram = hasattr(point, "bucket_counts")
                value = point.count if is_histogram else point.as_int or point.as_double
                last[tuple(sorted(attributes.items()))] = value
        return sum(last.values())

    def sum_of(self, name: str, **labels: str) -> float:
        """The last sum of a histogram, over all labels but these."""
        last: dict[tuple[tuple[str, Any], ...], float] = {}
        for found, point in list(self._points):
            attributes = _attributes(point.attributes)
            if found == name and labels.items() <= attributes.items():
                last[tuple(sorted(attributes.items()))] = point.sum
        return sum(last.values())


def _span(service: str, span: Any) -> ReceivedSpan:
    return ReceivedSpan(
        service=service,
        name=span.name,
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        start=span.start_time_unix_nano / 1e9,
        end=span.end_time_unix_nano / 1e9,
        is_error=span.status.code == 2,
        attributes=_attributes(span.attributes),
        links=tuple((link.trace_id.hex(), link.span_id.hex()) for link in span.links),
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return tuple(_value(item) for item in value.array_value.values)
    return getattr(value, kind)


@contextmanager
def receiving(protocol: Protocol, *, metrics: HTTPStatus = HTTPStatus.OK) -> Iterator[Received]:
    """Receive on a free port of 127.0.0.1. `metrics`: what metrics are answered; anything but OK refuses them."""
    with {Protocol.HTTP: _over_http, Protocol.GRPC: _over_grpc}[protocol](metrics) as received:
        yield received


@contextmanager
def _over_http(metrics: HTTPStatus) -> Iterator[Received]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            if self.path == "/v1/traces":
                received.take_traces(trace_service.ExportTraceServiceRequest.FromString(body))
            elif self.path == "/v1/metrics" and metrics is not HTTPStatus.OK:
                received.refused += 1
                self.send_error(metrics)
                return
            elif self.path == "/v1/metrics":
                received.take_metrics(metrics_service.ExportMetricsServiceRequest.FromString(body))
            else:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("content-type", "application/x-protobuf")
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    received = Received(f"http://127.0.0.1:{server.server_port}", Protocol.HTTP)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield received
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextmanager
def _over_grpc(metrics: HTTPStatus) -> Iterator[Received]:
    server = grpc.server(ThreadPoolExecutor(4))
    port = server.add_insecure_port("127.0.0.1:0")
    received = Received(f"http://127.0.0.1:{port}", Protocol.GRPC)
    trace_grpc.add_TraceServiceServicer_to_server(_Traces(received.take_traces), server)  # type: ignore[no-untyped-call]
    taking = _Metrics(received.take_metrics) if metrics is HTTPStatus.OK else _NoMetrics(received)
    metrics_grpc.add_MetricsServiceServicer_to_server(taking, server)  # type: ignore[no-untyped-call]
    server.start()
    try:
        yield received
    finally:
        server.stop(None).wait()


class _Traces(trace_grpc.TraceServiceServicer):
    def __init__(self, take: Callable[[trace_service.ExportTraceServiceRequest], None]) -> None:
        self._take = take

    def Export(self, request: Any, _: Any) -> Any:
        self._take(request)
        return trace_service.ExportTraceServiceResponse()


class _Metrics(metrics_grpc.MetricsServiceServicer):
    def __init__(self, take: Callable[[metrics_service.ExportMetricsServiceRequest], None]) -> None:
        self._take = take

    def Export(self, request: Any, _: Any) -> Any:
        self._take(request)
        return metrics_service.ExportMetricsServiceResponse()


class _NoMetrics(metrics_grpc.MetricsServiceServicer):
    def __init__(self, received: Received) -> None:
        self._received = received

    def Export(self, _: Any, context: Any) -> Any:
        self._received.refused += 1
        context.abort(grpc.StatusCode.UNIMPLEMENTED, "Traces only.")
