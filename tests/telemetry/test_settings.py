"""OpenTelemetry's variables, as far as we read them ourselves."""

from datetime import timedelta

import pytest

from durable_responses.settings import OtelSettings, Settings, SettingsError
from durable_responses.telemetry.export import Content, Export, Protocol

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
COLLECTOR = "http://collector:4318"


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    monkeypatch.setenv(ENDPOINT, COLLECTOR)
    return monkeypatch


def exported() -> Export:
    export = OtelSettings.load().export()
    assert export is not None
    return export


def test_nothing_is_exported_without_an_endpoint() -> None:
    assert OtelSettings.load().export() is None


def test_traces_and_metrics_go_over_http_where_nothing_else_is_said(environment: pytest.MonkeyPatch) -> None:
    assert (exported().traces, exported().metrics) == (Protocol.HTTP, Protocol.HTTP)


def test_a_protocol_can_be_set_for_one_signal(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "grpc")
    assert (exported().traces, exported().metrics) == (Protocol.HTTP, Protocol.GRPC)


def test_an_endpoint_for_traces_alone_sends_traces_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", f"{COLLECTOR}/v1/traces")
    assert exported() == Export(traces=Protocol.HTTP)


@pytest.mark.parametrize(
    ("variables", "url"),
    [
        ({}, f"{COLLECTOR}/v1/metrics"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, COLLECTOR),
        ({"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://other/mine"}, "http://other/mine"),
    ],
    ids=["http", "grpc", "own endpoint"],
)
def test_the_metrics_of_the_sdk_go_where_ours_go(
    environment: pytest.MonkeyPatch, variables: dict[str, str], url: str
) -> None:
    """https://opentelemetry.io/docs/specs/otel/protocol/exporter/#endpoint-urls-for-otlphttp"""
    for name, value in variables.items():
        environment.setenv(name, value)
    sdk_metrics = exported().sdk_metrics
    assert sdk_metrics is not None
    assert sdk_metrics.url == url


def test_the_metrics_of_the_sdk_go_as_often_as_ours(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("OTEL_METRIC_EXPORT_INTERVAL", "5000")
    sdk_metrics = exported().sdk_metrics
    assert sdk_metrics is not None
    assert sdk_metrics.interval == timedelta(seconds=5)


def test_headers_are_not_shown(environment: pytest.MonkeyPatch) -> None:
    environment.setenv("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20secret-1")
    assert "secret-1" not in repr(OtelSettings.load()) + repr(exported())


@pytest.mark.parametrize(
    ("value", "content"),
    [
        ("", Content.NONE),
        ("no_content", Content.NONE),
        ("event_only", Content.NONE),
        ("SPAN_ONLY", Content.SPANS),
        ("span_and_event", Content.SPANS),
        ("true", Content.SPANS),
        ("false", Content.NONE),
    ],
)
def test_content_is_shown_in_spans_where_it_is_asked_for(
    environment: pytest.MonkeyPatch, value: str, content: Content
) -> None:
    environment.setenv("OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT", value)
    assert exported().content is content


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        (ENDPOINT, "collector"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "often"),
    ],
)
def test_a_value_that_cannot_be_used_is_named_by_its_variable(
    environment: pytest.MonkeyPatch, variable: str, value: str
) -> None:
    environment.setenv(variable, value)
    with pytest.raises(SettingsError, match=f"^{variable} cannot be used: ") as raised:
        OtelSettings.load()
    assert value not in str(raised.value)


def test_a_worker_started_with_other_variables_is_told_apart(environment: pytest.MonkeyPatch) -> None:
    """A stack in the background that exports elsewhere, or nowhere, is an outdated one."""
    before = Settings.load().fingerprints()
    environment.setenv(ENDPOINT, "http://elsewhere:4318")
    after = Settings.load().fingerprints()
    assert {name for name in after if after[name] != before.get(name)} == {ENDPOINT}
    assert "elsewhere" not in repr(after)
