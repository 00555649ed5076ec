"""Log lines and the ids in them, as text and as JSON."""

import json
import logging
import sys
from collections.abc import Iterator
from datetime import datetime
from io import StringIO

import opentelemetry.context
import pytest
from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, set_span_in_context
from temporalio.exceptions import ApplicationError

from durable_responses.emulator.model.script import Script, Text
from durable_responses.responses_api.redaction import Secrets
from durable_responses.telemetry.log_lines import LogFormat, SaidOnce, current_response, log_handler
from durable_responses.workflows.contract import TransportChoice
from tests.support.deployment import Deployment, calls
from tests.support.receiver import Received
from tests.telemetry.conftest import exporting_worker

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


def logged(form: LogFormat, message: str = "Hello.", *, exc_info: bool = False) -> str:
    """What a handler writes of one message."""
    handler = log_handler(form)
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(written := StringIO())
    logger = logging.Logger("a.logger")
    logger.addHandler(handler)
    logger.warning(message, exc_info=exc_info)
    return written.getvalue()


def complaint(message: str, *arguments: object, name: str = "opentelemetry.exporter") -> logging.LogRecord:
    """What an exporter logs."""
    return logging.LogRecord(name, logging.ERROR, "exporter.py", 1, message, arguments, None)


def test_a_complaint_of_an_exporter_is_shown_once_until_it_has_not_been_made_for_an_hour() -> None:
    now = [0.0]
    once = SaidOnce(lambda: now[0])
    shown = []
    for now[0] in (0, 60, 3600, 7199, 7199 + 3600):
        shown.append(once.filter(complaint("Transient error %s, retrying in %.2fs.", 503, 1.5 + now[0])))
    assert shown == [True, False, False, False, True]


def failed_activity(error: Exception) -> str:
    """What a handler writes of an activity that the SDK says has failed."""
    handler = log_handler(LogFormat.TEXT)
    assert isinstance(handler, logging.StreamHandler)
    handler.setStream(written := StringIO())
    logger = logging.Logger("temporalio.activity")
    logger.addHandler(handler)
    try:
        raise error
    except Exception:
        logger.warning("Completing activity as failed", exc_info=True)
    return written.getvalue()


def test_a_failure_with_a_name_is_one_line_in_the_log() -> None:
    """What a provider or a caller has sent is no fault in the code."""
    line = failed_activity(ApplicationError("files[0].path: does not exist", type="invalid_input"))
    assert "invalid_input: files[0].path: does not exist: Completing activity as failed" in line
    assert line.count("\n") == 1


def test_a_failure_without_a_name_is_logged_with_its_traceback() -> None:
    assert "Traceback" in failed_activity(KeyError("a"))


def test_another_complaint_is_shown_beside_the_first() -> None:
    once = SaidOnce()
    assert [once.filter(complaint("Failed, code: %s", code)) for code in (503, 401, 503)] == [True, True, False]


def test_what_is_no_exporters_complaint_is_always_shown() -> None:
    once = SaidOnce()
    assert [once.filter(complaint("The same.", name="activities")) for _ in range(2)] == [True, True]


@pytest.mark.parametrize(
    ("message", "switch"),
    [
        ("Failed to export metrics batch code: 405, reason: Method Not Allowed", "OTEL_METRICS_EXPORTER=none"),
        ("Failed to export span batch code: 404, reason: Not Found", "OTEL_TRACES_EXPORTER=none"),
        (
            "Failed to export traces to host:4317, error code: StatusCode.UNIMPLEMENTED, error details: x",
            "OTEL_TRACES_EXPORTER=none",
        ),
        ("Failed to export metrics batch code: 500, reason: Oops", None),
    ],
)
def test_a_signal_that_is_not_taken_comes_with_its_switch(message: str, switch: str | None) -> None:
    record = complaint(message)
    SaidOnce().filter(record)
    assert record.getMessage().startswith(message)
    assert ("EXPORTER=none" in record.getMessage()) == (switch is not None)
    assert switch is None or switch in record.getMessage()


@pytest.fixture
def inside_a_trace() -> Iterator[None]:
    span = NonRecordingSpan(SpanContext(int(TRACE, 16), int(SPAN, 16), is_remote=False, trace_flags=TraceFlags(1)))
    token = opentelemetry.context.attach(set_span_in_context(span))
    response = current_response.set("resp_1")
    yield
    current_response.reset(response)
    opentelemetry.context.detach(token)


def test_a_line_of_text_ends_with_the_ids(inside_a_trace: None) -> None:
    line = logged(LogFormat.TEXT)
    assert line.endswith(f"WARNING a.logger: Hello. [response_id=resp_1 trace_id={TRACE} span_id={SPAN}]\n")


def test_a_line_about_nothing_has_no_ids() -> None:
    assert logged(LogFormat.TEXT).endswith("WARNING a.logger: Hello.\n")


def test_a_json_line_is_one_object(inside_a_trace: None) -> None:
    line = json.loads(logged(LogFormat.JSON))
    assert datetime.fromisoformat(line.pop("time")).tzinfo is not None
    assert line == {
        "level": "warning",
        "logger": "a.logger",
        "message": "Hello.",
        "response_id": "resp_1",
        "trace_id": TRACE,
        "span_id": SPAN,
    }


def test_an_exception_and_a_line_break_stay_inside_the_object() -> None:
    try:
        raise ValueError("broken")
    except ValueError:
        written = logged(LogFormat.JSON, "two\nlines", exc_info=True)
    assert written.count("\n") == 1
    assert "ValueError: broken" in json.loads(written)["exception"]


@pytest.mark.parametrize("transport", [TransportChoice.BACKGROUND, TransportChoice.STREAM])
async def test_what_a_worker_logs_of_a_response_names_trace_run_and_response(
    apart: Deployment, received: Received, transport: TransportChoice
) -> None:
    turns = [Script(output=[calls("explode", "now")], write=0), Script(output=[Text(text="Done.")], write=0)]
    settings = {"AGENT_LOG_FORMAT": "json", "AGENT_TOOL_MODULES": "tests.support.leaking_tools"}
    async with exporting_worker(apart, received, **settings) as worker:
        run = await apart.start(f"logged-{transport}", turns, transport=transport)
        await run.result()
        await worker.wait_for_line("explode raised an exception")
    lines = [json.loads(line) for line in worker.output.splitlines()]
    [line] = [line for line in lines if "explode raised" in line["message"]]
    assert line["workflow_id"] == run.handle.id
    assert len(line["trace_id"]) == 32


def test_the_handler_writes_to_standard_error() -> None:
    handler = log_handler(LogFormat.TEXT)
    assert isinstance(handler, logging.StreamHandler)
    assert handler.stream is sys.stderr


@pytest.mark.parametrize("form", LogFormat)
def test_neither_message_nor_traceback_shows_a_secret(form: LogFormat) -> None:
    """Libraries have URLs with passwords in their exceptions."""
    formatter = log_handler(form, Secrets(("my-own-key-7",))).formatter
    assert formatter is not None
    try:
        raise ValueError("http://me:pass/word@proxy.example is not a URL, and my\\u002down-key-7 not a key")
    except ValueError:
        record = logging.LogRecord("x", logging.ERROR, "", 0, "\x1b[2Jsent\u202e %s", ("my-own-key-7",), sys.exc_info())
    line = formatter.format(record)
    assert "is not a URL" in line
    assert "Traceback" in line
    assert "sent ***" in line
    assert not any(character in line for character in ("\x1b", "[2J", "\u202e"))
    assert not any(secret in line for secret in ("own-key", "word@", "me:"))
