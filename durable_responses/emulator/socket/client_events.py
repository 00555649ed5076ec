"""Events of a client over a WebSocket, checked. The shapes and words are those of the real API.

https://platform.openai.com/docs/guides/websocket-mode
"""

import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError

from durable_responses.emulator.objects.api_errors import ApiError, from_validation, invalid
from durable_responses.emulator.objects.request_bodies import CreateBody, Item, Options, input_items
from durable_responses.emulator.objects.request_checks import check
from durable_responses.responses_api.models import read_json

STREAM_ID = re.compile(r"[A-Za-z0-9_.-]{1,256}")


class ClientEventType(StrEnum):
    """The kinds of events of a client."""

    CREATE = "response.create"
    STEER = "response.steer"


@dataclass(frozen=True)
class ClientEvent:
    """An event as it came. `stream_id` names the lane, None the default one; `fields` are the rest."""

    type: ClientEventType
    stream_id: str | None
    fields: dict[str, Any]


@dataclass(frozen=True)
class ResponseCreate:
    """A checked `response.create`."""

    request: CreateBody
    generate: bool


class SteerMessage(Options):
    """A message that steers."""

    type: Literal["message"] = "message"
    role: Literal["user"]
    content: str | list[Item]


class ResponseSteer(Options):
    """A checked `response.steer`."""

    previous_response_id: str
    input: str | Annotated[list[SteerMessage], Field(min_length=1)]

    @property
    def items(self) -> list[Item]:
        """The input as items."""
        given = self.input if isinstance(self.input, str) else [message.model_dump() for message in self.input]
        return input_items(given)


def parse_event(message: str | bytes) -> ClientEvent:
    """An event whose kind and lane are known. Raises: ApiError 400."""
    try:
        fields = read_json(message)
    except ValueError as error:
        raise invalid("We could not parse the JSON body of your request.") from error
    if not isinstance(fields, dict):
        raise invalid("The event must be a JSON object.")
    kind = fields.pop("type", None)
    if kind is None:
        raise invalid("Missing required parameter: 'type'.", "type", "missing_required_parameter")
    if kind not in tuple(ClientEventType):
        known = " and ".join(f"'{known}'" for known in ClientEventType)
        raise invalid(f"Invalid value: '{str(kind)[:100]}'. Supported values are: {known}.", "type", "invalid_value")
    return ClientEvent(ClientEventType(kind), _lane(fields), fields)


def _lane(fields: dict[str, Any]) -> str | None:
    stream_id = fields.pop("stream_id", None)
    if stream_id is None or (isinstance(stream_id, str) and STREAM_ID.fullmatch(stream_id)):
        return stream_id
    message = (
        "The 'stream_id' field must be a non-empty string with at most 256 characters and may only contain letters, "
        "numbers, underscores, hyphens, and periods."
    )
    raise invalid(message, "stream_id", "invalid_stream_id")


def parse_create(event: ClientEvent) -> ResponseCreate:
    """The request in a `response.create`. Raises: ApiError 400."""
    fields = {"input": [], **event.fields}
    # Implied here; the API's own clients may still send them.
    fields.pop("stream", None)
    if fields.pop("background", None):
        raise invalid("'background' is not supported over WebSocket.", "background", "unsupported_parameter")
    generate = fields.pop("generate", None)
    if generate is not None and not isinstance(generate, bool):
        raise invalid("Invalid type for 'generate': expected a boolean.", "generate", "invalid_type")
    try:
        request = CreateBody.model_validate(fields)
    except ValidationError as error:
        raise from_validation(error) from error
    check(request)
    return ResponseCreate(request, generate is not False)


def parse_steer(event: ClientEvent) -> ResponseSteer:
    """The input in a `response.steer`. Raises: ApiError 400."""
    if event.stream_id is not None:
        raise invalid("Unknown parameter: 'stream_id'.", "stream_id", "unknown_parameter")
    try:
        return ResponseSteer.model_validate(event.fields)
    except ValidationError as error:
        raise from_validation(error) from error


def stream_limit_reached(limit: int) -> ApiError:
    """400: the connection has used as many lanes as it may."""
    message = (
        f"This WebSocket connection has reached its maximum number of distinct stream IDs ({limit}). Reuse an existing "
        "stream_id or open a new WebSocket connection."
    )
    return invalid(message, "stream_id", "websocket_stream_limit_reached")


def connection_limit_reached() -> ApiError:
    """400: the connection is too old."""
    message = (
        "Responses websocket connection limit reached (60 minutes). Create a new websocket connection to continue."
    )
    return invalid(message, code="websocket_connection_limit_reached")
