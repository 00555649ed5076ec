"""A tap on a WebSocket connection, to see what goes over the wire. Off unless a hook is given.

Frames hold what users and models wrote; headers, and with them the API key, are never part of a record.
"""

import logging
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from durable_responses.responses_api.protocol import Close
from durable_responses.responses_api.redaction import redact

PREVIEW_BYTES = 8192

_log = logging.getLogger(__name__)


class Direction(StrEnum):
    """Who caused a record: the client, the server, or neither."""

    OUTBOUND = "outbound"
    INBOUND = "inbound"
    LOCAL = "local"


class CaptureKind(StrEnum):
    """What a record is about."""

    OPEN = "open"
    FRAME = "frame"
    CLOSE = "close"
    ERROR = "error"


@dataclass(frozen=True)
class CaptureRecord:
    """One thing that happened to a connection. Records of one manager, or of one pooled connection, share `flow_id`."""

    flow_id: str
    direction: Direction
    kind: CaptureKind
    preview: str | None = None
    """The beginning of a frame's text, at most `PREVIEW_BYTES` of UTF-8."""
    size: int | None = None
    """Bytes of the whole frame."""
    close_code: int | None = None
    error: str | None = None
    """Why it closed, or what went wrong."""


CaptureHook = Callable[[CaptureRecord], None]
"""Called on the event loop, after the frame was passed on: be quick. What it raises is logged and goes no further."""


class Tap:
    """Passes what happens to a hook, if there is one."""

    def __init__(self, hook: CaptureHook | None) -> None:
        self._hook = hook
        self.flow_id = secrets.token_hex(8)

    def opened(self) -> None:
        """The connection is open."""
        self._tell(Direction.LOCAL, CaptureKind.OPEN)

    def frame(self, direction: Direction, data: str | bytes) -> None:
        """A message was sent or received."""
        if self._hook is None:
            return
        encoded = data.encode(errors="replace") if isinstance(data, str) else data
        preview = encoded[:PREVIEW_BYTES].decode(errors="ignore")
        self._tell(direction, CaptureKind.FRAME, preview=preview, size=len(encoded))

    def closed(self, close: Close, direction: Direction) -> None:
        """The connection is closed; `direction` says by whom."""
        self._tell(direction, CaptureKind.CLOSE, close_code=close.code, error=redact(close.reason) or None)

    def failed(self, error: Exception) -> None:
        """Something went wrong: an attempt to connect, or an unreadable frame."""
        self._tell(Direction.LOCAL, CaptureKind.ERROR, error=str(error))

    def _tell(
        self,
        direction: Direction,
        kind: CaptureKind,
        *,
        preview: str | None = None,
        size: int | None = None,
        close_code: int | None = None,
        error: str | None = None,
    ) -> None:
        if self._hook is None:
            return
        try:
            self._hook(CaptureRecord(self.flow_id, direction, kind, preview, size, close_code, error))
        except Exception:
            _log.exception("The capture hook failed.")
