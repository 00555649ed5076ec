"""What can go wrong with a request to the Responses API, named by what the caller does next.

ResponsesError
├── NotProcessed            the provider did not take the request: send it again, after `retry_after`
│   ├── Unreachable           no connection: refused, DNS, TLS, proxy; nothing was sent
│   │   ├── NotConnected          the WebSocket is not open, so nothing was sent over it
│   │   ├── RetriesExhausted      every attempt to open the WebSocket failed; `__cause__` is the last failure
│   │   └── ClosedByClient        `close()` ended the attempt to open the WebSocket
│   ├── NotSent               the connection broke before the last byte of the request was sent
│   └── Busy                  turned away for now: 429, 503, a locked conversation
├── OutcomeUnknown          it may have been taken: never send a create again; look for the response by id
│   ├── ConnectionLost        the connection, or a stream, was cut or fell silent after sending
│   │   └── TurnLost              the same over a WebSocket; `loss` says how
│   ├── ServerFailed          5xx, 408, 409, or an error in the middle of a stream
│   │   └── EndedByError          an error event ended a response that had an id; `detail` is the error
│   └── MalformedAnswer       a success, but not the object that was asked for
│       ├── AnswerTooLarge        more than the budget of an answer; nothing of it was kept
│       └── InvalidFrame          a WebSocket message that is not an event; the connection lives
├── ChainRejected           `previous_response_id` is not accepted: send the full input instead, once
└── GiveUp                  sending it again will not help
    ├── Misconfigured         an option of the client is wrong: the text names it
    ├── BadRequest            the request is wrong: `param` may name the field
    ├── AuthenticationFailed  401, 403, 407: the key, or its permissions
    ├── QuotaExhausted        no credit, or a spend limit is reached
    ├── NotFound              no such response or model (or not yet: just after its create)
    └── NoSuchEndpoint        the server does not have this part of the API: check the base URL
        └── HttpOnly              the server answers here, but over HTTP only

For reads (and cancel and delete, which may be repeated as well) the question is a different one: `retry_read` of each
class says whether the same request may succeed later. Every error carries status, code, request id and delay; texts are
redacted and capped (`redaction.py`). Sources: https://platform.openai.com/docs/guides/error-codes and what
servers were seen to send.
"""

import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from enum import StrEnum
from typing import Any, ClassVar

from pydantic import ValidationError

from durable_responses.responses_api.body_kinds import is_markup
from durable_responses.responses_api.events import ErrorEvent
from durable_responses.responses_api.foreign_errors import LONGEST_SENTENCE, error_in_body
from durable_responses.responses_api.models import ErrorDetail, Response, read_json
from durable_responses.responses_api.redaction import MAX_TEXT_BYTES, redact


class ResponsesError(Exception):
    """Any failure of a request. `str()` gives the text with status, code and request id, fit to be shown and stored.

    `retry_after` is in seconds; `response_id` is set if a stream named it before it failed, `answer` if nothing but the
    last event of the stream is missing. `is_a_page`: a page for browsers came, perhaps of somebody before the provider.
    """

    retry_read: ClassVar[bool] = False
    answer: Response | None = None
    is_a_page: bool = False

    def __init__(
        self,
        text: str,
        *,
        status: int | None = None,
        code: str | None = None,
        param: str | None = None,
        request_id: str | None = None,
        retry_after: float | None = None,
        response_id: str | None = None,
    ) -> None:
        self.status = status
        self.code = code and redact(code, limit=200)
        self.param = param and redact(param, limit=200)
        self.request_id = request_id and redact(request_id, limit=200)
        self.retry_after = retry_after
        self.response_id = response_id
        facts = self._facts()
        super().__init__(redact(text, limit=MAX_TEXT_BYTES - len(facts.encode())) + facts)

    def _facts(self) -> str:
        named = {"status": self.status, "code": self.code, "param": self.param, "request id": self.request_id}
        known = [f"{name} {value}" for name, value in named.items() if value is not None]
        return f" ({', '.join(known)})" if known else ""


class NotProcessed(ResponsesError):
    """The provider did not take the request; it may be sent again after `retry_after`."""

    retry_read = True


class Unreachable(NotProcessed):
    """There was no connection to send it over: refused, DNS, TLS, proxy, or none in time."""


class NotConnected(Unreachable):
    """The WebSocket is not open, so nothing was sent over it."""


class RetriesExhausted(Unreachable):
    """Every attempt to open the WebSocket has failed; `__cause__` is the last failure."""


class ClosedByClient(Unreachable):
    """`close()` was called while the WebSocket was being opened."""


class NotSent(NotProcessed):
    """The connection broke or stood still before the last byte of the request was sent: nobody can have taken it."""


class Busy(NotProcessed):
    """The provider turned the request away for now."""


class OutcomeUnknown(ResponsesError):
    """The provider may have taken the request. A create is not sent again; its response may be found by id."""

    retry_read = True


class ConnectionLost(OutcomeUnknown):
    """The connection was cut or fell silent after the request was sent, or a stream ended before its last event."""


class LossCause(StrEnum):
    """Why the end of a turn that was sent over a WebSocket is not known."""

    CLOSED = "closed"
    STALLED = "stalled"
    DEADLINE = "deadline"
    ABANDONED = "abandoned"
    ERROR = "error"
    UNREADABLE = "unreadable"


class TurnLost(ConnectionLost):
    """A turn was sent over a WebSocket and its end did not come. With a `response_id`, read it over HTTP first."""

    def __init__(self, text: str, *, loss: LossCause, response_id: str | None = None) -> None:
        self.loss = loss
        super().__init__(text, response_id=response_id)


class ServerFailed(OutcomeUnknown):
    """The provider failed while it worked on the request."""


class EndedByError(ServerFailed):
    """An error event ended a response that had begun. `detail`: the error, as the provider gave it."""

    detail = ErrorDetail()


class MalformedAnswer(OutcomeUnknown):
    """A successful answer that is not what the API sends. Reading it again will not change it."""

    retry_read = False


class AnswerTooLarge(MalformedAnswer):
    """The answer has more bytes, packed or unpacked, than the budget of an answer allows."""


class InvalidFrame(MalformedAnswer):
    """A WebSocket message is not an event; its first 200 characters are in the text. The connection stays up."""


class ChainRejected(ResponsesError):
    """The provider does not accept the previous response, or what answers its calls: send the full input."""


class GiveUp(ResponsesError):
    """Sending the request again will not help; the error is for a person."""


class Misconfigured(GiveUp):
    """An option of the client is wrong; the text names it."""


class BadRequest(GiveUp):
    """The request is wrong."""


class AuthenticationFailed(GiveUp):
    """The key is missing, wrong, or not allowed to do this."""


class QuotaExhausted(GiveUp):
    """There is no credit left, or a spend limit is reached."""


class NotFound(GiveUp):
    """There is no such response or model. A response may take a moment to be found after its create."""


class NoSuchEndpoint(GiveUp):
    """The server does not have this part of the API."""


class HttpOnly(NoSuchEndpoint):
    """The server does not speak WebSocket here: use HTTP."""


# --- which error it is -------------------------------------------------------------------------------------------

_BY_CODE: dict[str, type[ResponsesError]] = {
    "rate_limit_exceeded": Busy,
    "slow_down": Busy,
    "server_is_overloaded": Busy,
    "conversation_locked": Busy,
    "websocket_connection_limit_reached": Busy,
    "insufficient_quota": QuotaExhausted,
    "credit_balance_exhausted": QuotaExhausted,
    "organization_usage_limit_exceeded": QuotaExhausted,
    "billing_hard_limit_reached": QuotaExhausted,
    "billing_not_active": QuotaExhausted,
    "billing_limit_reached": QuotaExhausted,
    "insufficient_credits": QuotaExhausted,
    "exceeded_current_quota_error": QuotaExhausted,
    "insufficient_balance": QuotaExhausted,
    "insufficient_funds": QuotaExhausted,
    "Arrearage": QuotaExhausted,
    "AccountOverdueError": QuotaExhausted,
    "rate_limit_error": Busy,
    "too_many_requests": Busy,
    "overloaded_error": Busy,
    "engine_overloaded": Busy,
    "ServerOverloaded": Busy,
    "service_unavailable": Busy,
    "capacity_exceeded": Busy,
    "ThrottlingException": Busy,
    "account_deactivated": AuthenticationFailed,
    "account_suspended": AuthenticationFailed,
    "organization_deactivated": AuthenticationFailed,
    "organization_restricted": AuthenticationFailed,
    "access_terminated": AuthenticationFailed,
    "previous_response_not_found": ChainRejected,
    "invalid_api_key": AuthenticationFailed,
}

_BY_STATUS: dict[int, type[ResponsesError]] = {
    401: AuthenticationFailed,
    402: QuotaExhausted,
    403: AuthenticationFailed,
    404: NotFound,
    405: NoSuchEndpoint,
    407: AuthenticationFailed,
    408: ServerFailed,
    409: ServerFailed,
    425: Busy,
    429: Busy,
    499: ServerFailed,  # nginx: whoever was before the server has left, which need not have stopped it
    498: Busy,  # Groq: no capacity in this service tier
    501: NoSuchEndpoint,
    503: Busy,
    # Cloudflare: the server was not reached, so it has not got the request.
    521: Busy,
    523: Busy,
    525: Busy,
    526: Busy,
    530: Busy,
    529: Busy,  # turned away under load
}

# For error events, which often come without a status.
_BY_TYPE: dict[str, type[ResponsesError]] = {
    "invalid_request_error": BadRequest,
    "authentication_error": AuthenticationFailed,
}

# The API gives the first two no code of their own; the third comes from servers that give none at all.
_CHAIN_REJECTED = re.compile(
    r"No tool call found for .*call output|No tool output found for .*call|Previous response with id .* not found"
)

# Refusals with 429 that no waiting cures, by their words, since their codes are often those of a plain rate limit.
_NEVER_PAID = re.compile(
    r"account is not active|exceeded your current quota|check your (?:plan|billing)|spend(?:ing)? limit|out of credits"
    r"|insufficient (?:quota|credits?|balance)|billing (?:is )?(?:not active|hard limit|inactive)",
    re.IGNORECASE,
)
# The same with a status that would mean the key or the request: gateways and resellers have no status for it.
_NOT_PAID = re.compile(
    r"out of (?:call )?(?:volume )?quota|key limit exceeded|(?:monthly|weekly|daily) (?:spend|usage|budget)\w* limit"
    r"|does(?:n't| not) have any credits|(?:no|not enough|insufficient) (?:credits?|funds|balance)\b"
    r"|account (?:is )?(?:not )?in good standing|overdue (?:balance|payment|invoice)|past invoices"
    r"|free (?:tier|quota|credits?)\b[^.]{0,40}\b(?:exhausted|used up)|payment (?:is )?required"
    r"|used up your (?:\w+ ){0,2}free (?:allocation|quota|credits?)|\blimited to [\d,]+ (?:\w+ ){1,3}/ ?month"
    r"|(?:credits?|balance|funds)\b(?: \w+){0,2} (?:depleted|exhausted|used up|too low)"
    r"|budget has been exceeded|\bover budget\b|Exceeded\w*Budget\b|(?:budget|credit) limit (?:has been )?exceeded"
    r"|(?:monthly|weekly) (?:\w+ )?(?:limit|cap|budget)\b|\bbilling limit\b|specified (?:API )?usage limits"
    r"|(?:requires|enable) billing\b|(?:credit card|payment method) on file",
    re.IGNORECASE,
)
_NAMES_OF_UNPAID = re.compile(
    r"(?:budget|credits?|spend|spending|billing|balance)_?(?:limit|cap)?_?(?:exceeded|exhausted|reached|depleted)$"
    r"|^(?:no|out_of|not_enough)_credits?$|payment_(?:method_)?required$",
    re.IGNORECASE,
)
# Whoever may not do anything at all, where the status would mean the request.
_SHUT_OUT = re.compile(
    r"\b(?:organization|account|project|team|workspace|key|user)\b(?: \S+)? (?:has been|is|was) (?:temporarily )?"
    r"(?:disabled|restricted|suspended|deactivated|archived|terminated|blocked|banned)",
    re.IGNORECASE,
)
_BAD_KEY = re.compile(
    r"\b(?:invalid|incorrect|wrong|expired|missing|no) api[ _-]?key"
    r"|\bapi[ _-]?key (?:is |has )?(?:not valid|invalid|incorrect|expired|missing)",
    re.IGNORECASE,
)
_MAY_NOT = (400, 403, 412, 429)  # statuses with which that is said

# What gateways say with 503 although the request was passed on, so that nobody knows what became of it.
_PASSED_ON = re.compile(
    r"reset reason: (?:connection termination|remote reset|local reset|protocol error)|backend fetch failed"
    r"|connection to the instance had an error|(?:request|response|read|upstream|gateway|processing) timed? ?-?out",
    re.IGNORECASE,
)
_TOO_LARGE = re.compile(
    r"request too large|request is too large|must be reduced|reduce your (?:prompt|input)", re.IGNORECASE
)
_LIMIT_AND_REQUESTED = re.compile(r"\blimit:?\s+([\d,]+).*?\brequested:?\s+([\d,]+)", re.IGNORECASE | re.DOTALL)


# What servers call a failure of their own although the request was never worked on (LiteLLM, with 500).
_NOT_SUPPORTED = re.compile(
    r"Unsupported_?Params|does not support parameters?\b|unsupported parameter|unexpected keyword argument"
    r"|unknown field|extra inputs are not permitted|unrecognized (?:request )?(?:argument|key)"
    r"|\b(?:reasoning|thinking|background|streaming|stream|store|metadata)\b(?: \w+)? (?:is|are) not"
    r" (?:supported|implemented)",
    re.IGNORECASE,
)


def _is_larger_than_its_limit(message: str) -> bool:
    """Whether one request alone asks for more than the limit ever gives: "Limit 30000, Requested 45000"."""
    if found := _LIMIT_AND_REQUESTED.search(message):
        limit, requested = (float(number.replace(",", "") or 0) for number in found.groups())
        return requested > limit
    return _TOO_LARGE.search(message) is not None


_ADVICE: dict[type[ResponsesError], str] = {
    NoSuchEndpoint: ", so check the base URL",
    AuthenticationFailed: ", so check the API key and its permissions",
    QuotaExhausted: " until there is credit again",
}


def is_quota_exhausted(error: ErrorDetail) -> bool:
    """Whether an error, of an HTTP answer or of a failed response, says that nothing will work until someone pays."""
    names = (error.code or "", error.type or "")
    return any(_BY_CODE.get(name) is QuotaExhausted or _NAMES_OF_UNPAID.search(name) for name in names)


_LONGEST_READ = 4000  # characters of a sentence: some patterns take a time that grows with its square


def classify(status: int | None, error: ErrorDetail) -> type[ResponsesError]:
    """The class for an answer with this HTTP status, or for an error event with or without one.

    Of the server's own failures only 503 and its like prove that the request was not taken, whatever code is given,
    unless their words say that it was passed on; and words of a gateway that has looked at the parameters only.
    """
    if len(error.message) > _LONGEST_READ:
        error = error.model_copy(update={"message": error.message[:_LONGEST_READ]})
    if is_quota_exhausted(error) or (status in _MAY_NOT and _NOT_PAID.search(error.message)):
        return QuotaExhausted
    if status == 429 or "rate_limit_exceeded" in (error.code, error.type):
        if _NEVER_PAID.search(error.message):
            return QuotaExhausted
        if _is_larger_than_its_limit(error.message):
            return BadRequest
    if status is not None and status >= 500:
        if _PASSED_ON.search(error.message):
            return ServerFailed
        return BadRequest if _NOT_SUPPORTED.search(error.message) else _BY_STATUS.get(status, ServerFailed)
    if _CHAIN_REJECTED.search(error.message):
        return ChainRejected
    for name in (error.code, error.type):
        if name in _BY_CODE:
            return _BY_CODE[name]
    if status in _MAY_NOT and (_SHUT_OUT.search(error.message) or _BAD_KEY.search(error.message)):
        return AuthenticationFailed
    if status is None:
        return _BY_TYPE.get(error.type or "", ServerFailed)
    return _BY_STATUS.get(status, BadRequest if status >= 400 else NoSuchEndpoint)


_NAMES_OF_THE_PREVIOUS = ("previous_response_id", "previous_response_not_found", "previous response", "response_id")
_ID_CHARACTERS = 64  # of a long id, enough to see that a text names it


def names_the_previous(text: str, response_id: str) -> bool:
    """Whether the text of a refusal is about the response that was to be continued from."""
    return response_id[:_ID_CHARACTERS] in text or any(name in text.lower() for name in _NAMES_OF_THE_PREVIOUS)


def error_for_answer(request: str, status: int, headers: Mapping[str, str], body: bytes) -> ResponsesError:
    """The error for an HTTP answer that is not a success.

    `request` names it for the reader ("POST /responses"), `headers` is case-insensitive (or lower-case).
    """
    api_error = read_error(body)
    error = api_error or error_in_body(body) or ErrorDetail(message=_plain_text(body))
    if status < 400:
        error = ErrorDetail(message=f"it redirects to {headers.get('location', 'another address')}")
    kind = classify(status, error)
    if status == 404 and kind is NotFound and not _is_about_a_thing(api_error, error):
        kind = NoSuchEndpoint
    raised = kind(
        f"The provider refused {request}{_ADVICE.get(kind, '')}: {error.message or 'it gave no reason'}",
        status=status,
        code=error.code or error.type,
        param=error.param,
        request_id=headers.get("x-request-id"),
        retry_after=retry_after(headers),
    )
    raised.is_a_page = is_markup(body)
    return raised


def refusal(request: str, error: ErrorDetail, headers: Mapping[str, str]) -> ResponsesError:
    """The error for a success that holds an error and no response: nothing was created, whatever the status says.

    A code that is an HTTP status counts as one. What the server blames on itself may be sent again.
    """
    kind = _kind_of_refusal(error)
    if kind is ServerFailed:
        kind = Busy
    return kind(
        f"The provider refused {request}{_ADVICE.get(kind, '')}: {error.message or 'it gave no reason'}",
        status=200,
        code=error.code or error.type,
        param=error.param,
        request_id=headers.get("x-request-id"),
        retry_after=retry_after(headers),
    )


def _kind_of_refusal(error: ErrorDetail) -> type[ResponsesError]:
    """The class for an error that came instead of a response; ServerFailed where the server blames itself."""
    status = status_in(error)
    kind = classify(status, error)
    if not issubclass(kind, OutcomeUnknown):
        return kind
    named = f"{error.code or ''} {error.type or ''} {error.message}"
    return ServerFailed if (status or 0) >= 500 or _THE_SERVER_S_OWN.search(named) else BadRequest


def status_in(error: ErrorDetail) -> int | None:
    """The HTTP status that some servers give as the error's code."""
    code = error.code or ""
    return int(code) if re.fullmatch("[45][0-9]{2}", code) else None


_THE_SERVER_S_OWN = re.compile(r"server_?error|internal|overload|unavailable|capacity|time(?:d )?_?out", re.IGNORECASE)


def error_for_event(event: ErrorEvent, response_id: str | None = None) -> ResponsesError:
    """The error for an `error` event. Once a response has an id its fate is read by that id, whatever the code says.

    Before that, what the server does not blame on itself is a refusal, also by a code that nobody has heard of.
    """
    error = event.error
    headers = _event_headers(error)
    is_refusal = event.status is None and bool(error.message or error.code or error.type)
    kind = _kind_of_refusal(error) if is_refusal else classify(event.status, error)
    raised = (EndedByError if response_id else kind)(
        f"The provider ended the response with an error: {error.message or 'it gave no reason'}",
        status=event.status,
        code=error.code or error.type,
        param=error.param,
        request_id=headers.get("x-request-id"),
        retry_after=retry_after(headers),
        response_id=response_id,
    )
    if isinstance(raised, EndedByError):
        raised.detail = error
    return raised


def _event_headers(error: ErrorDetail) -> dict[str, str]:
    """Over WebSocket the HTTP headers come inside the error."""
    headers = (error.model_extra or {}).get("headers")
    return {str(name).lower(): str(value) for name, value in headers.items()} if isinstance(headers, dict) else {}


_NO_SUCH_PATH = re.compile(
    r"Invalid URL|404 page not found|cannot (?:GET|POST) /|no (?:such )?route|unexpected endpoint|resource not found$",
    re.IGNORECASE,
)
_A_THING = re.compile(r"\b(?:response|model|id)\b|resp_", re.IGNORECASE)


def _is_about_a_thing(api_error: ErrorDetail | None, error: ErrorDetail) -> bool:
    """Whether a 404 is about a response or a model, not about the path."""
    if api_error is None:
        return _A_THING.search(error.message) is not None and _NO_SUCH_PATH.search(error.message) is None
    return _NO_SUCH_PATH.match(error.message) is None


def read_error(body: bytes) -> ErrorDetail | None:
    """The error object of the API, or None if the body is something else."""
    answer = _object_in(body)
    fields = answer if answer.get("object") == "error" else answer.get("error")
    if not isinstance(fields, dict) or not isinstance(fields.get("message"), str):
        return None
    try:
        return ErrorDetail.model_validate(fields)
    except ValidationError:
        return ErrorDetail(message=fields["message"])


def _object_in(body: bytes) -> dict[str, Any]:
    try:
        answer = read_json(body)
    except ValueError:
        return {}
    return answer if isinstance(answer, dict) else {}


_READ_OF_A_PAGE = 65_536  # bytes
_NOT_SHOWN = re.compile(r"<(style|script|svg)\b.*?(?:</\1\s*>|$)|<!--.*?(?:-->|$)", re.IGNORECASE | re.DOTALL)


def _plain_text(body: bytes) -> str:
    text = re.sub(r"<[^>]*>", " ", _NOT_SHOWN.sub(" ", body[:_READ_OF_A_PAGE].decode(errors="replace")))
    return " ".join(text.split())[:LONGEST_SENTENCE]


LONGEST_DELAY = 86_400.0
"""Seconds. A server that asks for more has confused its units, or has a date that no calendar holds."""


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds to wait, from `retry-after-ms`, or `Retry-After` as seconds or HTTP date (RFC 9110, 10.2.3).

    A date counts from the answer's own `Date`, which a server with a clock has to send (RFC 9110, 6.6.1): so neither a
    clock of ours is read, nor does it matter if one of the two is wrong. Without it the date says nothing.
    """
    if (seconds := delay(headers.get("retry-after-ms"), per_second=1000)) is not None:
        return seconds
    value = headers.get("retry-after", "")
    if (seconds := delay(value.partition(",")[0])) is not None:  # a proxy may have added one of its own
        return seconds
    when, sent = _http_date(value), _http_date(headers.get("date", ""))
    return min(max(0.0, (when - sent).total_seconds()), LONGEST_DELAY) if when and sent else None


def _http_date(value: str) -> datetime | None:
    try:
        date = parsedate_to_datetime(value)
        return date if date.tzinfo else date.replace(tzinfo=UTC)
    except (ValueError, OverflowError):  # numbers that no date has
        return None


def delay(value: str | None, *, per_second: float = 1) -> float | None:
    """Seconds from a header's number, at least 0 and at most a day; None if it is not a number.

    `per_second` is 1000 for milliseconds.
    """
    try:
        number = float(value or "nan")
    except ValueError:
        return None
    return min(max(0.0, number / per_second), LONGEST_DELAY) if math.isfinite(number) else None
