"""A span for each HTTP request, and a `traceparent` header on it, so that the provider's own spans join the trace.

By OpenTelemetry's API alone: without a tracer provider in the process there are no spans and no header. Names are those
of the conventions: https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-client
"""

import re
import time
from collections.abc import Callable

import httpx
from opentelemetry.metrics import get_meter
from opentelemetry.semconv.attributes import error_attributes, http_attributes, server_attributes, url_attributes
from opentelemetry.trace import SpanKind, Status, StatusCode, get_tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import AttributeValue

_SCOPE = "responses_api"
_PORTS = {"http": 80, "https": 443}
_propagator = TraceContextTextMapPropagator()
_tracer = get_tracer(_SCOPE)
_duration = get_meter(_SCOPE).create_histogram(
    "http.client.request.duration",
    "s",
    "HTTP requests to the provider, to the headers of their answers.",
    explicit_bucket_boundaries_advisory=[0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10],
)


def trace_headers() -> dict[str, str]:
    """The headers that tell a server what trace a request belongs to; none outside a trace."""
    headers: dict[str, str] = {}
    _propagator.inject(headers)
    return headers


class TracedTransport(httpx.AsyncBaseTransport):
    """Sends requests over another transport, each in a span that ends with the headers of its answer.

    `clock`: seconds from an arbitrary point, for the durations.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport, clock: Callable[[], float] = time.perf_counter) -> None:
        self._transport = transport
        self._clock = clock

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request."""
        template = _template(request.url.path)
        labels: dict[str, AttributeValue] = {
            http_attributes.HTTP_REQUEST_METHOD: request.method,
            server_attributes.SERVER_ADDRESS: request.url.host,
            server_attributes.SERVER_PORT: request.url.port or _PORTS[request.url.scheme],
            "url.template": template,
        }
        began = self._clock()
        with _tracer.start_as_current_span(
            f"{request.method} {template}",
            kind=SpanKind.CLIENT,
            attributes={**labels, url_attributes.URL_FULL: str(_without_query(request.url))},
            record_exception=False,
            set_status_on_exception=False,
        ) as span:
            request.headers.update(trace_headers())
            outcome: dict[str, AttributeValue] = {}
            try:
                answer = await self._transport.handle_async_request(request)
                outcome[http_attributes.HTTP_RESPONSE_STATUS_CODE] = answer.status_code
                if answer.is_error:
                    outcome[error_attributes.ERROR_TYPE] = str(answer.status_code)
            except BaseException as error:
                outcome[error_attributes.ERROR_TYPE] = type(error).__name__
                raise
            finally:
                span.set_attributes(outcome)
                if error_attributes.ERROR_TYPE in outcome:
                    span.set_status(Status(StatusCode.ERROR))
                _duration.record(self._clock() - began, {**labels, **outcome})
            return answer

    async def aclose(self) -> None:
        """Close the other transport."""
        await self._transport.aclose()


def _without_query(url: httpx.URL) -> httpx.URL:
    return url.copy_with(query=None) if url.query else url


def _template(path: str) -> str:
    return re.sub(r"/responses/[^/]+", "/responses/{id}", path)
