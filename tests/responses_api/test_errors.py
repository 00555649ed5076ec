import json
import re
from typing import Any

import pytest

from durable_responses.responses_api import errors
from durable_responses.responses_api.errors import (
    AuthenticationFailed,
    BadRequest,
    Busy,
    ChainRejected,
    EndedByError,
    GiveUp,
    MalformedAnswer,
    NoSuchEndpoint,
    NotFound,
    NotProcessed,
    OutcomeUnknown,
    QuotaExhausted,
    ResponsesError,
    ServerFailed,
    error_for_answer,
    error_for_event,
    is_quota_exhausted,
)
from durable_responses.responses_api.events import ErrorEvent
from durable_responses.responses_api.models import ErrorDetail
from durable_responses.responses_api.redaction import MAX_TEXT_BYTES


def refusal(status: int, body: Any = None, **headers: str) -> ResponsesError:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return error_for_answer("POST /v1/responses", status, named, data)


def api_error(message: str = "Something.", **fields: Any) -> dict[str, Any]:
    return {"error": {"message": message, "type": None, "param": None, "code": None} | fields}


# --- which class --------------------------------------------------------------------------------------------------

TOO_LARGE = (
    "Request too large for gpt-5.4 in organization org-1 on tokens per min (TPM): Limit 30000, Requested 45,000. "
    "The input or output tokens must be reduced in order to run successfully."
)

ANSWERS: list[tuple[int, Any, type[ResponsesError]]] = [
    (400, api_error(type="invalid_request_error", param="tools[0]"), BadRequest),
    (400, api_error(code="conversation_locked"), Busy),
    (400, api_error(code="previous_response_not_found"), ChainRejected),
    (404, api_error(code="previous_response_not_found"), ChainRejected),
    (400, api_error("Previous response with id 'resp_1' not found.", code=None), ChainRejected),
    (400, api_error("No tool call found for function call output with call_id call_1.", param="input"), ChainRejected),
    (400, api_error("No tool output found for function call call_1.", param="input"), ChainRejected),
    (400, api_error("No tool output found for custom tool call call_1.", param="input"), ChainRejected),
    (400, b"", BadRequest),
    (400, api_error("API key not valid. Please pass a valid API key."), AuthenticationFailed),
    (400, api_error("Invalid API-key provided."), AuthenticationFailed),
    (400, api_error("tools[0].api_key_header: unknown field"), BadRequest),
    (429, {"error": {"code": "insufficient_quota"}}, QuotaExhausted),
    (429, {"code": "insufficient_credits"}, QuotaExhausted),
    (401, api_error(code="invalid_api_key"), AuthenticationFailed),
    (401, b"", AuthenticationFailed),
    (402, b"", QuotaExhausted),
    (403, api_error(code="unsupported_country_region_territory"), AuthenticationFailed),
    (404, api_error("Response with id 'resp_1' not found.", type="invalid_request_error"), NotFound),
    (404, api_error("The model `gpt-x` does not exist.", code="model_not_found"), NotFound),
    (404, {"object": "error", "message": "The model `x` does not exist.", "code": 404}, NotFound),
    (404, api_error("Invalid URL (POST /v1/responses)", type="invalid_request_error"), NoSuchEndpoint),
    (404, {"detail": "Not Found"}, NoSuchEndpoint),
    (404, {"error": "Unexpected endpoint or method."}, NoSuchEndpoint),
    (404, {"detail": "Response resp_1 does not exist."}, NotFound),
    (404, api_error("Not found", code=404, type="not_found"), NotFound),
    (404, api_error("404 page not found"), NoSuchEndpoint),
    (404, b"<html>404</html>", NoSuchEndpoint),
    (405, {"detail": "Method Not Allowed"}, NoSuchEndpoint),
    (405, api_error(), NoSuchEndpoint),
    (407, b"", AuthenticationFailed),
    (408, b"", ServerFailed),
    (409, api_error(), ServerFailed),
    (409, api_error(code="conversation_locked"), Busy),
    (413, b"", BadRequest),
    (422, api_error(), BadRequest),
    (422, {"detail": [{"loc": ["body", "stream"], "msg": "unexpected value"}]}, BadRequest),
    (429, api_error(code="rate_limit_exceeded", type="requests"), Busy),
    (429, api_error(code="slow_down"), Busy),
    (429, api_error(type="insufficient_quota", code="insufficient_quota"), QuotaExhausted),
    (429, api_error(type="insufficient_quota", code="credit_balance_exhausted"), QuotaExhausted),
    (429, api_error(type="insufficient_quota", code="project_spend_limit_exceeded"), QuotaExhausted),
    (429, api_error(code="organization_spend_limit_exceeded"), QuotaExhausted),
    (429, api_error(code="billing_not_active", message="Your account is not active"), QuotaExhausted),
    (429, api_error(code="rate_limit_exceeded", message="You exceeded your current quota"), QuotaExhausted),
    (429, api_error(message="Insufficient credits. Add more."), QuotaExhausted),
    (429, api_error(code="rate_limit_exceeded", message=TOO_LARGE), BadRequest),
    (429, api_error(type="tokens", message="Request too large for this model."), BadRequest),
    (429, api_error(code="rate_limit_exceeded", message="Limit 30,000, Used 29000, Requested 2,000."), Busy),
    (429, api_error(message="Limit " + 5000 * "9" + ", Requested " + 5000 * "8", code="rate_limit_exceeded"), Busy),
    (429, api_error(code="organization_usage_limit_exceeded"), QuotaExhausted),
    (429, b"", Busy),
    (425, b"too early", Busy),
    (500, api_error(type="server_error"), ServerFailed),
    (500, api_error(code="rate_limit_exceeded"), ServerFailed),
    (501, b"", NoSuchEndpoint),
    (502, b"<html>Bad Gateway</html>", ServerFailed),
    (503, api_error(code="server_is_overloaded"), Busy),
    (503, b"upstream connect error", Busy),
    (504, b"", ServerFailed),
    (524, b"", ServerFailed),
    (307, b"", NoSuchEndpoint),
    # No credit, in the words of those who have no status for it.
    (403, api_error("Out of call volume quota. Quota will be replenished in 02:03:04.", code="403"), QuotaExhausted),
    (403, api_error("Key limit exceeded (total limit).", code=403), QuotaExhausted),
    (403, {"code": "no permission", "error": "Your team doesn't have any credits yet."}, QuotaExhausted),
    (412, api_error("Account x is suspended: failure to pay past invoices.", code="INVALID"), QuotaExhausted),
    (400, api_error("Make sure your account is in good standing.", code="Arrearage"), QuotaExhausted),
    (403, api_error("The free tier of the model has been exhausted."), QuotaExhausted),
    (403, api_error("Your account has an overdue balance.", code="AccountOverdueError"), QuotaExhausted),
    (400, api_error("Insufficient funds. Add more.", type="insufficient_funds"), QuotaExhausted),
    (400, api_error("Your credit balance is too low to access the API.", type="invalid_request_error"), QuotaExhausted),
    (400, api_error("Budget has been exceeded! Current cost: 0.02, Max budget: 0.01", code="400"), QuotaExhausted),
    (400, api_error(type="budget_exceeded", code="400"), QuotaExhausted),
    (429, api_error("ExceededBudget: User=abc over budget. Spend=12, Budget=10"), QuotaExhausted),
    (400, api_error("ExceededTokenBudget: Current spend for token: 7.2", type="auth_error"), QuotaExhausted),
    (412, {"status": "failure", "message": "Budget limit exceeded for virtual key"}, QuotaExhausted),
    (429, {"message": "You are using a Trial key, limited to 1,000 API calls / month."}, QuotaExhausted),
    (429, {"errors": [{"message": "You have used up your daily free allocation of 10,000 neurons."}]}, QuotaExhausted),
    (429, api_error("Your prepayment credits are depleted.", code=429), QuotaExhausted),
    (400, api_error("You have reached your specified API usage limits."), QuotaExhausted),
    (400, api_error(code="project_spending_cap_reached"), QuotaExhausted),
    (403, api_error("This would exceed your account's monthly limit."), QuotaExhausted),
    (403, api_error("A valid credit card on file is needed."), QuotaExhausted),
    (403, api_error("This method requires billing to be enabled."), QuotaExhausted),
    (400, api_error(code="payment_method_required"), QuotaExhausted),
    # A limit that is given again by itself is waited for.
    (429, api_error("Rate limit reached on requests per day (RPD): Limit 200, Used 200, Requested 1."), Busy),
    (429, api_error("Rate limit of 50 per 86400s exceeded. Please wait 54321 seconds.", code="RateLimitReached"), Busy),
    (400, api_error("thinking.budget_tokens must be less than max_tokens."), BadRequest),
    (400, api_error("The balance of brackets is wrong, and the key is missing."), BadRequest),
    # Shut out, with a status that would mean the request.
    (400, api_error("This organization has been disabled.", type="invalid_request_error"), AuthenticationFailed),
    (400, api_error("Refused.", code="organization_restricted"), AuthenticationFailed),
    (412, api_error("Account x is suspended."), AuthenticationFailed),
    (400, api_error("This parameter has been disabled for the model."), BadRequest),
    # Turned away, with statuses of their own.
    (498, api_error("Flex tier capacity exceeded", code="capacity_exceeded"), Busy),
    (529, {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}, Busy),
    (400, {"type": "error", "error": {"type": "rate_limit_error", "message": "Slow."}}, Busy),
    (400, {"__type": "com.amazon.coral#ThrottlingException", "message": "Rate exceeded"}, Busy),
    # The gateway did not reach the server; but 520, 522 and 524 may mean one that has got the request.
    (521, b"<title>521: Web server is down</title>", Busy),
    (523, b"error code: 523", Busy),
    (525, b"", Busy),
    (526, b"", Busy),
    (530, b"error code: 1033", Busy),
    (520, b"", ServerFailed),
    (522, b"", ServerFailed),
    # A 503 of a gateway that has passed the request on.
    (503, b"upstream connect error or disconnect/reset before headers. reset reason: remote reset", ServerFailed),
    (503, b"disconnect/reset before headers. reset reason: connection termination", ServerFailed),
    (503, b"reset before headers. reset reason: connection failure", Busy),
    (503, b"reset before headers. reset reason: remote connection failure, delayed connect error: 111", Busy),
    (503, b"reset before headers. reset reason: overflow", Busy),
    (503, b"<title>503 Backend fetch failed</title>", ServerFailed),
    (503, b"The response was malformed or the connection to the instance had an error.", ServerFailed),
    (503, api_error("Request timed out.", code="timeout"), ServerFailed),
    (404, api_error("Resource not found", code="404"), NoSuchEndpoint),
]


def test_an_answer_is_named_by_what_to_do_next() -> None:
    assert [(status, body, type(refusal(status, body))) for status, body, _ in ANSWERS] == ANSWERS


@pytest.mark.parametrize("words", ["limit 1,", "limit: 1 ", "requested 1", "previous response with id ", "model "])
def test_a_sentence_of_any_length_is_read_at_its_beginning(words: str) -> None:
    """Some patterns take a time that grows with the square of its length, and the worker waits meanwhile."""
    for status in (400, 429, 500):
        assert str(refusal(status, json.dumps(api_error(words * 30_000)).encode()))


def test_a_body_of_any_shape_still_gives_an_error_with_its_status() -> None:
    bodies = [b"", b"\xff\xfe", b"[1]", b"7", b'"x"', b"null", {}, {"error": {}}, {"error": None}]
    assert [body for body in bodies if refusal(500, body).status != 500] == []


EVENTS: list[tuple[dict[str, Any], type[ResponsesError]]] = [
    ({"error": {"code": "previous_response_not_found", "message": "no"}, "status": 400}, ChainRejected),
    ({"error": {"code": "websocket_connection_limit_reached", "message": "60 min"}, "status": 400}, Busy),
    ({"error": {"type": "invalid_request_error", "message": "bad"}}, BadRequest),
    ({"error": {"type": "authentication_error", "message": "bad"}}, AuthenticationFailed),
    ({"code": "rate_limit_exceeded", "message": "slow"}, Busy),
    ({"code": "insufficient_quota", "message": "pay"}, QuotaExhausted),
    ({"code": "server_error", "message": "sorry"}, ServerFailed),
    ({"error": {"type": "overloaded_error", "message": "Overloaded"}}, Busy),
    ({"code": "too_many_requests", "message": "slow"}, Busy),
    ({"code": "service_unavailable", "message": "later"}, Busy),
    ({"error": {"type": "overloaded_error", "message": "Overloaded"}, "status": 500}, ServerFailed),
    ({"message": "sorry"}, BadRequest),
    ({"error": {"code": "no_such_thing", "message": "what?"}}, BadRequest),
    ({"error": {"code": 404, "message": "Model 'x' not found."}}, NotFound),
    ({"error": {"code": 500, "message": "what?"}}, ServerFailed),
    ({"error": {"code": "x", "message": "UnsupportedParamsError: no `reasoning`"}, "status": 500}, BadRequest),
    ({"message": "sorry", "status": 502}, ServerFailed),
]


def event_error(event: dict[str, Any], response_id: str | None = None) -> ResponsesError:
    return error_for_event(ErrorEvent.model_validate(event), response_id)


def test_an_error_event_is_named_by_what_to_do_next() -> None:
    assert [(event, type(event_error(event))) for event, _ in EVENTS] == EVENTS


def test_an_error_event_of_a_response_with_an_id_is_settled_by_that_id() -> None:
    """A27: the response exists, so it is read by id, whatever the error's code."""
    errors = [event_error(event, "resp_1") for event, _ in EVENTS]
    assert {(type(error), error.response_id) for error in errors} == {(EndedByError, "resp_1")}


def test_an_error_event_over_a_websocket_brings_its_headers() -> None:
    headers = {"X-Request-Id": "req_7", "Retry-After-Ms": "1500"}
    event = ErrorEvent.model_validate({"status": 429, "error": {"message": "slow", "headers": headers}})
    error = error_for_event(event)
    assert (error.request_id, error.retry_after) == ("req_7", 1.5)


def test_a_quota_error_is_recognised_in_a_failed_response() -> None:
    quota = {"insufficient_quota", "credit_balance_exhausted", "monthly_spend_limit_exceeded"}
    others = {None, "rate_limit_exceeded", "server_error"}
    assert {code for code in quota | others if is_quota_exhausted(ErrorDetail(code=code))} == quota


# --- what may be repeated -----------------------------------------------------------------------------------------


def subclasses(kind: type[ResponsesError]) -> set[type[ResponsesError]]:
    return {kind}.union(*(subclasses(child) for child in kind.__subclasses__()))


def test_every_error_says_what_becomes_of_a_create() -> None:
    branches = [subclasses(branch) for branch in (NotProcessed, OutcomeUnknown, ChainRejected, GiveUp)]
    assert subclasses(ResponsesError) - set().union(*branches) == {ResponsesError}
    assert sum(map(len, branches)) == len(set().union(*branches))


def test_every_error_is_drawn_in_the_tree() -> None:
    drawn = set(re.findall(r"[A-Z]\w+", str(errors.__doc__)))
    assert {kind.__name__ for kind in subclasses(ResponsesError)} - drawn == set()


def test_a_read_is_repeated_after_a_passing_failure_and_not_where_the_answer_would_be_the_same() -> None:
    """A7: 408, 409, 429, 5xx and transport errors; 401 and 403 end it, and so does what is not there."""
    repeated = {kind for kind in subclasses(ResponsesError) if kind.retry_read}
    passing = subclasses(NotProcessed) | subclasses(OutcomeUnknown)
    assert repeated == passing - subclasses(MalformedAnswer)


# --- what an error carries ----------------------------------------------------------------------------------------


def test_an_error_carries_what_the_provider_said_of_it() -> None:
    """A25: status, code and request id are kept."""
    error = refusal(400, api_error("Bad.", code="bad_tool", param="tools[0]"), x_request_id="req_7")
    assert (error.status, error.code, error.param, error.request_id) == (400, "bad_tool", "tools[0]", "req_7")


def test_the_text_of_an_error_is_one_sentence_with_its_facts() -> None:
    error = refusal(400, api_error("Bad.", code="bad_tool", param="tools[0]"), x_request_id="req_7")
    assert str(error) == (
        "The provider refused POST /v1/responses: Bad. (status 400, code bad_tool, param tools[0], request id req_7)"
    )


def test_a_page_of_html_is_shown_as_its_words() -> None:
    error = refusal(502, b"<html><h1>Bad\n Gateway</h1></html>")
    assert str(error) == "The provider refused POST /v1/responses: Bad Gateway (status 502)"


STYLE = f"<!-- {300 * 'x'} --><style>{'a { b: c }' * 300}</style><script>if (a < b) {'{}' * 300}</script>"


@pytest.mark.parametrize(
    "page", [f"<html><head>{STYLE}</head><p>No access.</p></html>", f"<p>No access.</p>{STYLE[:-20]}"]
)
def test_of_a_page_only_what_is_seen_is_shown(page: str) -> None:
    assert str(refusal(403, page.encode())).endswith("permissions: No access. (status 403)")


OTHER_WORDS: list[tuple[Any, str, str | None]] = [
    ({"success": False, "errors": [{"code": 2001, "message": "No gateway."}]}, "No gateway.", "2001"),
    ({"success": False, "result": [], "error": [{"code": 10000, "message": "No access."}]}, "No access.", "10000"),
    ({"error": "invalid_token", "error_description": "The token expired."}, "The token expired.", "invalid_token"),
    ([{"error": {"code": 400, "message": "No such field.", "status": "INVALID"}}], "No such field.", "400"),
    ({"fault": {"faultstring": "Wrong.", "detail": {"errorcode": "oauth.v2"}}}, "Wrong.", None),
    ({"Message": "Wrong."}, "Wrong.", None),
    ({"msg": "Wrong."}, "Wrong.", None),
    ({"error_code": 17, "error_msg": "Wrong."}, "Wrong.", "17"),
    ({"base_resp": {"status_code": 1008, "status_msg": "Wrong."}}, "Wrong.", "1008"),
    ({"detail": ["First.", "Second."]}, "First.; Second.", None),
    ({"detail": {"msg": "Wrong."}}, "Wrong.", None),
    ({"errors": ["Wrong."]}, "Wrong.", None),
    ({"title": "Errors.", "status": 400, "errors": {"model": ["Is missing."]}}, "model: Is missing.", None),
    ({"title": "Wrong.", "type": "https://tools.ietf.org/html/rfc9110#section-15.5.5"}, "Wrong.", None),
    ({"error": {"code": "bad", "msg": "Wrong."}}, "Wrong.", "bad"),
    ({"error": {"error": {"message": "Wrong.", "code": "bad"}}}, "Wrong.", "bad"),
    ({"error": {"message": {"detail": "Wrong."}, "type": "bad"}}, "Wrong.", "bad"),
    ({"error": {"message": ["One.", "Two."]}}, "One.; Two.", None),
    ({"message": '{"error": {"message": "Wrong.", "code": "bad"}}'}, "Wrong.", "bad"),
    ({"errors": {"model": ["Is missing."], "input": ["Is long."]}}, "model: Is missing.; input: Is long.", None),
    ({"error": {"code": "bad"}}, "bad", "bad"),
    ({"__type": "ValidationException", "message": "Wrong."}, "Wrong.", "ValidationException"),
]


@pytest.mark.parametrize(("body", "sentence", "code"), OTHER_WORDS)
def test_the_sentence_of_an_error_is_found_wherever_a_gateway_puts_it(
    body: Any, sentence: str, code: str | None
) -> None:
    error = refusal(400, body)
    assert str(error).startswith(f"The provider refused POST /v1/responses: {sentence}")
    assert (error.code, "{" in str(error)) == (code, False)


@pytest.mark.parametrize("body", [{"errors": []}, {"error": {}}, [[]], {"a": {"error": "x"}}, {"error": 200 * [[]]}])
def test_an_error_without_a_sentence_is_shown_as_it_came(body: Any) -> None:
    assert json.dumps(body)[:20] in str(refusal(400, body))


SENT = "Sun, 01 Mar 2026 12:00:00 GMT"


DELAYS: list[tuple[dict[str, str], float | None]] = [
    ({}, None),
    ({"retry_after_ms": "1500"}, 1.5),
    ({"retry_after": "20"}, 20),
    ({"retry_after": "0.5"}, 0.5),
    ({"retry_after": "20, 60"}, 20),
    ({"retry_after": "-3"}, 0),
    ({"retry_after_ms": "1500", "retry_after": "20"}, 1.5),
    ({"retry_after_ms": "soon", "retry_after": "20"}, 20),
    ({"date": SENT, "retry_after": "Sun, 01 Mar 2026 12:01:30 GMT"}, 90),
    ({"date": SENT, "retry_after": "Sunday, 01-Mar-26 12:01:30 GMT"}, 90),
    ({"date": SENT, "retry_after": "Sun, 01 Mar 2026 11:00:00 GMT"}, 0),
    ({"date": "now", "retry_after": "Sun, 01 Mar 2026 12:01:30 GMT"}, None),
    ({"retry_after": "Sun, 01 Mar 2026 12:01:30 GMT"}, None),
    ({"retry_after": "tomorrow"}, None),
    ({"retry_after": "1e9"}, 86_400),
    ({"retry_after_ms": "1e300"}, 86_400),
    ({"date": SENT, "retry_after": "Fri, 31 Dec 9999 23:59:59 GMT"}, 86_400),
    ({"date": SENT, "retry_after": "Sun, 01 Mar 99999999999999999999 12:00:00 GMT"}, None),
    ({"date": "Sun, 01 Mar 2026 12:00:00 +99999999999999999999", "retry_after": SENT}, None),
    ({"retry_after": "9" * 5000}, None),
    ({"retry_after": "inf"}, None),
    ({"retry_after": "nan"}, None),
    ({"retry_after": ""}, None),
]


def test_the_delay_is_read_in_each_of_its_forms() -> None:
    """`retry-after-ms`, and `Retry-After` in seconds or as an HTTP date, counted from the answer's `Date`."""
    assert [(headers, refusal(429, **headers).retry_after) for headers, _ in DELAYS] == DELAYS


# --- texts --------------------------------------------------------------------------------------------------------


def test_the_text_and_the_facts_of_an_error_show_no_key() -> None:
    """A25: wherever the server repeats it."""
    key = "sk-abcdef0123456789"
    error = refusal(401, api_error(f"Wrong key {key}.", code=key, param=key), x_request_id=key)
    assert "abcdef" not in f"{error} {error.code} {error.param} {error.request_id}"


@pytest.mark.parametrize("letter", ["x", "ä", "🙂", "\ud800"])
def test_the_text_of_an_error_has_at_most_two_kilobytes(letter: str) -> None:
    """A25: capped, and the facts at its end stay."""
    text = str(refusal(400, api_error(letter * 100_000, code="bad_tool"), x_request_id="req_7"))
    assert len(text.encode()) <= MAX_TEXT_BYTES == 2048
    assert text.endswith("(status 400, code bad_tool, request id req_7)")


def test_facts_of_any_length_leave_the_cap() -> None:
    """A25: a server's header cannot break the cap."""
    error = refusal(400, api_error(code="c" * 5000, param="p" * 5000), x_request_id="r" * 5000)
    assert len(str(error).encode()) <= MAX_TEXT_BYTES
