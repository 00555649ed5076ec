"""What is exported, and how. `telemetry.providers` does it; only settings.py reads it from the environment."""

from datetime import timedelta
from enum import StrEnum

from pydantic import BaseModel, ConfigDict, SecretStr


class Protocol(StrEnum):
    """The OTLP protocol, in the words of `OTEL_EXPORTER_OTLP_PROTOCOL`."""

    GRPC = "grpc"
    HTTP = "http/protobuf"


class Content(StrEnum):
    """Whether spans show content: what was asked and answered, arguments and results of function calls."""

    NONE = "no_content"
    SPANS = "span_only"


class SdkMetrics(BaseModel):
    """Where the metrics of Temporal's SDK go. Its core exports them, and reads none of OpenTelemetry's variables."""

    model_config = ConfigDict(frozen=True)

    url: str
    protocol: Protocol
    headers: SecretStr = SecretStr("")
    interval: timedelta = timedelta(seconds=60)


class Export(BaseModel):
    """Traces and metrics, each by a protocol or not at all.

    `sdk_metrics`: those of Temporal's SDK, when metrics are sent.
    """

    model_config = ConfigDict(frozen=True)

    traces: Protocol | None = None
    metrics: Protocol | None = None
    sdk_metrics: SdkMetrics | None = None
    content: Content = Content.NONE
