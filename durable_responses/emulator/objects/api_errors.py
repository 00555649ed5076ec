"""Errors of the API, in the shapes and words of the real one."""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

SUPPORTED = re.compile(r"'[^']*'")
EXPECTED_TYPES = {
    "string_type": "a string",
    "bool_type": "a boolean",
    "bool_parsing": "a boolean",
    "int_type": "an integer",
    "int_parsing": "an integer",
    "int_from_float": "an integer",
    "float_type": "a decimal",
    "float_parsing": "a decimal",
    "dict_type": "an object",
    "model_type": "an object",
    "list_type": "an array",
}
UNION_BRANCH = re.compile(r"str|int|float|bool|(list|dict)\[.*\]")


class ErrorBody(BaseModel):
    """The `error` object of an HTTP error answer, and of an error event."""

    message: str
    type: str = "invalid_request_error"
    param: str | None = None
    code: str | None = None


class ErrorAnswer(BaseModel):
    """The body of an HTTP error answer."""

    error: ErrorBody


class EventError(ErrorBody):
    """The `error` of an error event: that of HTTP, and the headers that HTTP would have had."""

    headers: dict[str, str] | None = None


class ErrorFrame(BaseModel):
    """An error over a WebSocket. `stream_id` where it concerns one named lane."""

    type: str = "error"
    status: int
    error: EventError
    stream_id: str | None = None


class ApiError(Exception):
    """The request ends with an HTTP error: a status, the API's error object and headers such as `Retry-After`."""

    def __init__(self, status: int, error: ErrorBody, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(error.message)
        self.status = status
        self.error = error
        self.headers = dict(headers or {})


def invalid(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """400: the request itself is wrong."""
    return ApiError(400, ErrorBody(message=message, param=param, code=code))


def response_not_found(response_id: str) -> ApiError:
    """404: no such response, or one that is no longer kept."""
    return ApiError(404, ErrorBody(message=f"Response with id '{response_id}' not found."))


def previous_response_not_found(response_id: str) -> ApiError:
    """400: `previous_response_id` names nothing that can be continued."""
    return invalid(
        f"Previous response with id '{response_id}' not found.", "previous_response_id", "previous_response_not_found"
    )


def model_not_found(model: str) -> ApiError:
    """404: the model does not exist, or the key has no access to it."""
    message = f"The model '{model}' does not exist or you do not have access to it."
    return ApiError(404, ErrorBody(message=message, param="model", code="model_not_found"))


def item_not_found(item_id: str, *, stored: bool) -> ApiError:
    """404: an item is only named, and was never stored."""
    message = f"Item with id '{item_id}' not found."
    if not stored:
        message += (
            " Items are not persisted when `store` is set to false. Try again with `store` set to true, or remove this "
            "item from your input."
        )
    return ApiError(404, ErrorBody(message=message, param="input"))


def context_exceeded() -> ApiError:
    """400: the input is longer than the model's context window."""
    message = "Your input exceeds the context window of this model. Please adjust your input and try again."
    return invalid(message, "input", "context_length_exceeded")


def unknown_compaction(param: str) -> ApiError:
    """400: the item was not made here."""
    message = "The encrypted content of the compaction item could not be verified."
    return invalid(message, param, "invalid_encrypted_content")


def connector_refused(server_label: str) -> ApiError:
    """424: a remote MCP server did not let the provider in."""
    message = f"Error retrieving tool list from MCP server: '{server_label}'. Http status code: 401 (Unauthorized)"
    return ApiError(424, ErrorBody(message=message, type="external_connector_error", param="tools", code="http_error"))


def no_such_url(method: str, path: str) -> ApiError:
    """404: nothing is served there."""
    return ApiError(404, ErrorBody(message=f"Invalid URL ({method} {path})"))


def wrong_method(method: str, path: str) -> ApiError:
    """405: something is served there, for other methods."""
    message = f"Not allowed to {method} on {path}. (HINT: Perhaps you meant to use a different HTTP method?)"
    return ApiError(405, ErrorBody(message=message, code="method_not_supported"))


def wrong_api_key() -> ApiError:
    """401: the key is missing or not ours. The key itself is not repeated."""
    return ApiError(401, ErrorBody(message="Incorrect API key provided.", code="invalid_api_key"))


def wrong_type(param: str, expected: str, given: Any) -> ApiError:
    """400: a value of another type than the expected one."""
    message = f"Invalid type for '{param}': expected {expected}, but got {_kind_of(given)} instead."
    return invalid(message, param, "invalid_type")


def from_validation(error: ValidationError) -> ApiError:
    """400 for a body that does not fit: names the parameter in the API's words, as the API does, one at a time."""
    problem = error.errors(include_url=False)[0]
    param = _path(problem["loc"])
    kind = problem["type"]
    if kind == "json_invalid":
        return invalid("We could not parse the JSON body of your request.")
    if kind == "missing":
        return invalid(f"Missing required parameter: '{param}'.", param, "missing_required_parameter")
    if kind == "extra_forbidden":
        return invalid(f"Unknown parameter: '{param}'.", param, "unknown_parameter")
    if kind in ("literal_error", "enum"):
        supported = SUPPORTED.findall(str(problem.get("ctx", {}).get("expected", "")))
        listed = f"{', '.join(supported[:-1])}{',' if len(supported) > 2 else ''} and {supported[-1]}"
        listed = listed if len(supported) > 1 else "".join(supported)
        if not isinstance(problem["input"], str):
            return wrong_type(param, f"one of {listed}", problem["input"])
        return invalid(
            f"Invalid value: '{_shown(problem['input'])}'. Supported values are: {listed}.", param, "invalid_value"
        )
    if expected := EXPECTED_TYPES.get(kind):
        return wrong_type(param, expected, problem["input"])
    if bounds := _out_of_bounds(problem):
        message, code = bounds
        return invalid(f"Invalid '{param}': {message}", param, code)
    return invalid(f"Invalid value for '{param}': {problem['msg']}.", param, "invalid_value")


def _out_of_bounds(problem: ErrorDetails) -> tuple[str, str] | None:
    """What is said of a value of the right type that is too small or too large, or of another form; and the code."""
    context, value = problem.get("ctx", {}), problem["input"]
    number = "integer" if isinstance(value, int) else "decimal"
    match problem["type"]:
        case "string_pattern_mismatch":
            pattern = context["pattern"]
            said = f"string does not match pattern. Expected a string that matches the pattern '{pattern}'."
            return said, "invalid_value"
        case "string_too_long":
            longest = context["max_length"]
            said = f"string too long. Expected a string with maximum length {longest}, but got a string with length "
            return f"{said}{len(value)} instead.", "string_above_max_length"
        case "string_too_short":
            said = (
                f"empty string. Expected a string with minimum length {context['min_length']}, but got an empty string"
            )
            return f"{said} instead.", "empty_string"
        case "greater_than_equal":
            said = f"{number} below minimum value. Expected a value >= {context['ge']}, but got {value} instead."
            return said, f"{number}_below_min_value"
        case "less_than_equal":
            said = f"{number} above maximum value. Expected a value <= {context['le']}, but got {value} instead."
            return said, f"{number}_above_max_value"
        case "too_long" if isinstance(value, dict):
            most = context["max_length"]
            said = f"too many properties. Expected an object with at most {most} properties, but got an object with "
            return f"{said}{len(value)} properties instead.", "object_above_max_properties"
        case _:
            return None


def _kind_of(value: Any) -> str:
    kinds = {
        str: "a string",
        bool: "a boolean",
        int: "an integer",
        float: "a decimal",
        dict: "an object",
        list: "an array",
    }
    return kinds.get(type(value), "null")


def _shown(value: Any) -> str:
    return value if isinstance(value, str) and len(value) < 100 else type(value).__name__


def _path(location: Sequence[int | str]) -> str:
    path = ""
    for part in location:
        if isinstance(part, str) and UNION_BRANCH.fullmatch(part):
            continue
        path += f"[{part}]" if isinstance(part, int) else f".{part}" if path else part
    return path
