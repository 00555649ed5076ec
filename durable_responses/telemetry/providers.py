"""Exporting traces and metrics by OTLP: the providers of the process, and the metrics of Temporal's own SDK.

Nothing here is called, and no exporter is loaded, unless an OTLP endpoint is configured. Endpoints, headers, timeouts,
certificates and intervals are read by the exporters themselves, from the standard variables.
"""

import logging
import threading

import opentelemetry.metrics
import opentelemetry.trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import MetricExporter, PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from temporalio.contrib.opentelemetry import ReplaySafeMeterProvider, ReplaySafeTracerProvider, create_tracer_provider
from temporalio.runtime import (
    LogForwardingConfig,
    LoggingConfig,
    OpenTelemetryConfig,
    Runtime,
    TelemetryConfig,
    TelemetryFilter,
)

from durable_responses.telemetry.export import Export, Protocol, SdkMetrics
from durable_responses.telemetry.log_lines import EXPORTS_OF_THE_SDK

_FLUSH_SECONDS = 3.0


class ExporterMissing(Exception):
    """A required exporter is not installed."""


def begin(export: Export, service: str) -> None:
    """Set the providers of this process, once; `service` is its name when none is set. Raises `ExporterMissing`.

    To be called before the first client is made: the runtime of Temporal's SDK cannot be changed later.
    """
    resource = _resource(service)
    # Ids and times of spans that a workflow opens come out the same when another worker replays it.
    tracer_provider = create_tracer_provider(resource=resource, shutdown_on_exit=False)
    if export.traces:
        tracer_provider.add_span_processor(BatchSpanProcessor(_span_exporter(export.traces)))
    opentelemetry.trace.set_tracer_provider(tracer_provider)
    if export.metrics:
        reader = PeriodicExportingMetricReader(_metric_exporter(export.metrics))
        meter_provider = MeterProvider([reader], resource, shutdown_on_exit=False)
        opentelemetry.metrics.set_meter_provider(ReplaySafeMeterProvider(meter_provider))
    if export.sdk_metrics:
        Runtime.set_default(_runtime(export.sdk_metrics, resource))


def is_tracing() -> bool:
    """Whether this process has a tracer provider that workflows can use."""
    return isinstance(opentelemetry.trace.get_tracer_provider(), ReplaySafeTracerProvider)


def end(seconds: float = _FLUSH_SECONDS) -> None:
    """Export what has not been exported, for at most so many seconds, and stop."""
    # In a thread that may be left behind: an exporter whose collector is down keeps trying.
    sending = threading.Thread(target=_shut_down, daemon=True)
    sending.start()
    sending.join(seconds)


def _shut_down() -> None:
    tracer_provider, meter_provider = (
        opentelemetry.trace.get_tracer_provider(),
        opentelemetry.metrics.get_meter_provider(),
    )
    if isinstance(tracer_provider, ReplaySafeTracerProvider):
        tracer_provider.shutdown()
    if isinstance(meter_provider, ReplaySafeMeterProvider):
        meter_provider.shutdown()


def _resource(service: str) -> Resource:
    # What the environment says (OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES) goes before the name of the program.
    return Resource.create().merge(Resource({"service.name": service})).merge(OTELResourceDetector().detect())


def _span_exporter(protocol: Protocol) -> SpanExporter:
    try:
        if protocol is Protocol.GRPC:
            from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter as OverGrpc

            return OverGrpc()
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter as OverHttp

        return OverHttp()
    except ImportError as error:
        raise _missing(protocol) from error


def _metric_exporter(protocol: Protocol) -> MetricExporter:
    try:
        if protocol is Protocol.GRPC:
            from opentelemetry.exporter.otlp.proto.grpc.metric_exporter import OTLPMetricExporter as OverGrpc

            return OverGrpc()
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter as OverHttp

        return OverHttp()
    except ImportError as error:
        raise _missing(protocol) from error


def _missing(protocol: Protocol) -> ExporterMissing:
    return ExporterMissing(f"no exporter for OTLP over {protocol} is installed: pip install 'durable-responses[otel]'")


def _runtime(metrics: SdkMetrics, resource: Resource) -> Runtime:
    config = OpenTelemetryConfig(
        url=metrics.url,
        http=metrics.protocol is Protocol.HTTP,
        headers=_pairs(metrics.headers.get_secret_value()),
        metric_periodicity=metrics.interval,
        durations_as_seconds=True,
    )
    tags = {name: str(value) for name, value in resource.attributes.items()}
    # Its own way to write would complain of a receiver that takes no metrics at each export.
    logs = LoggingConfig(
        filter=TelemetryFilter(core_level="WARN", other_level="ERROR"),
        forwarding=LogForwardingConfig(logger=logging.getLogger(EXPORTS_OF_THE_SDK)),
    )
    telemetry = TelemetryConfig(logging=logs, metrics=config, global_tags=tags, attach_service_name=False)
    return Runtime(telemetry=telemetry)


def _pairs(headers: str) -> dict[str, str]:
    from opentelemetry.util.re import parse_env_headers

    return dict(parse_env_headers(headers, liberal=True))
