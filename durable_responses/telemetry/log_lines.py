"""Log lines that say which trace, run and response they are about; as text, or as one JSON object each."""

import json
import logging
import re
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from enum import StrEnum

import opentelemetry.trace
from temporalio import activity, workflow
from temporalio.exceptions import ApplicationError

from durable_responses.responses_api.redaction import NO_SECRETS, Secrets, masked
from durable_responses.shown_text import shown

Mask = Callable[[str], str]


class LogFormat(StrEnum):
    """The format of log lines."""

    TEXT = "text"
    JSON = "json"


current_response: ContextVar[str | None] = ContextVar("current_response", default=None)
"""The response that an activity is about, once its id is known."""


def current_ids() -> Mapping[str, str]:
    """The ids that the running code is about, by name; those that there are."""
    ids = {"workflow_id": _workflow_id(), "response_id": current_response.get()}
    span = opentelemetry.trace.get_current_span().get_span_context()
    if span.is_valid:
        ids |= {
            "trace_id": opentelemetry.trace.format_trace_id(span.trace_id),
            "span_id": opentelemetry.trace.format_span_id(span.span_id),
        }
    return {name: value for name, value in ids.items() if value}


def _workflow_id() -> str | None:
    if workflow.in_workflow():
        return workflow.info().workflow_id
    return activity.info().workflow_id if activity.in_activity() else None


def remember_ids(record: logging.LogRecord) -> bool:
    """A filter that keeps every record and notes its ids: a formatter may run later, and elsewhere."""
    record.ids = current_ids()
    return True


def _ids_of(record: logging.LogRecord) -> Mapping[str, str]:
    ids: Mapping[str, str] = getattr(record, "ids", {})
    return ids


EXPORTS_OF_THE_SDK = "temporalio.core"
"""The logger that gets what Temporal's core says, where it exports metrics."""

_EXPORTERS = ("opentelemetry.", EXPORTS_OF_THE_SDK)
_QUIET_SECONDS = 3600.0
_NOT_TAKEN = re.compile(r"code: (404|405|501|\S*UNIMPLEMENTED)\b")


class SaidOnce(logging.Filter):
    """Lets a complaint of an exporter pass once, and again only after it has not been made for an hour.

    A receiver that takes no metrics, or is gone, is complained about at each export: every minute, for ever.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._clock = clock
        self._last_made: dict[tuple[str, str], float] = {}

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether it is shown; the first time it says what to do, too."""
        if not record.name.startswith(_EXPORTERS):
            return True
        said = record.getMessage()
        complaint = (record.name, re.sub(r"\d+\.\d+", "", said))  # the seconds until the next attempt differ
        now = self._clock()
        is_new = now - self._last_made.get(complaint, -_QUIET_SECONDS) >= _QUIET_SECONDS
        self._last_made[complaint] = now
        if is_new and _NOT_TAKEN.search(said):
            signal = "metrics" if "metrics" in said else "traces"
            hint = f"The receiver takes no {signal}: OTEL_{signal.upper()}_EXPORTER=none turns them off."
            record.msg, record.args = f"{said}. {hint}", ()
        return is_new


def without_what_is_named(record: logging.LogRecord) -> bool:
    """A filter that keeps every record; of an error that has a name its sentence says it all, and where it was raised
    nothing. The SDK logs both of every activity that fails, whatever a provider or a caller has sent.
    """
    error = record.exc_info[1] if record.exc_info else None
    if record.name == "temporalio.activity" and isinstance(error, ApplicationError) and error.type:
        record.msg, record.args, record.exc_info = f"{error}: {record.getMessage()}", (), None
    return True


class TextFormatter(logging.Formatter):
    """One line of text with the ids at its end; a traceback follows below."""

    def __init__(self, mask: Mask) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._mask = mask

    def format(self, record: logging.LogRecord) -> str:
        """The line and the traceback, without secrets."""
        return self._mask(super().format(record))

    def formatMessage(self, record: logging.LogRecord) -> str:
        """The line without its traceback."""
        line = super().formatMessage(record)
        ids = " ".join(f"{name}={value}" for name, value in _ids_of(record).items())
        return f"{line} [{ids}]" if ids else line


class JsonFormatter(logging.Formatter):
    """One JSON object on one line: `time` (RFC 3339), `level`, `logger`, `message`, `exception`, and the ids."""

    def __init__(self, mask: Mask) -> None:
        super().__init__()
        self._mask = mask

    def format(self, record: logging.LogRecord) -> str:
        """The object."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": self._mask(record.getMessage()),
            **_ids_of(record),
        }
        if record.exc_info:
            line["exception"] = self._mask(self.formatException(record.exc_info))
        return json.dumps(line, ensure_ascii=False)


def log_handler(format: LogFormat, secrets: Secrets = NO_SECRETS) -> logging.Handler:  # noqa: A002 the word of logging
    """A handler that writes to standard error what is not secret: not `secrets`, and nothing that looks like one.

    The last net: tracebacks repeat what libraries of others have in their exceptions.
    """

    def mask(text: str) -> str:
        return masked(secrets.mask_refusal(shown(text)))

    handler = logging.StreamHandler()
    handler.addFilter(SaidOnce())
    handler.addFilter(without_what_is_named)
    handler.addFilter(remember_ids)
    handler.setFormatter(JsonFormatter(mask) if format is LogFormat.JSON else TextFormatter(mask))
    return handler
