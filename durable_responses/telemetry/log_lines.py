"""Log lines that say which trace, run and response they are about; as text, or as one JSON object each."""

import json
import logging
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from enum import StrEnum

import opentelemetry.trace
from temporalio import activity, workflow

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
    handler.addFilter(remember_ids)
    handler.setFormatter(JsonFormatter(mask) if format is LogFormat.JSON else TextFormatter(mask))
    return handler
