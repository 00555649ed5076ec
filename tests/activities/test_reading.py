"""The GETs of one response: which failures pass, and how long to wait for the next."""

import pytest
from temporalio.exceptions import ApplicationError

from durable_responses.activities.messages import FailureDetail, FailureType
from durable_responses.activities.reading import Reads
from durable_responses.activities.records import record_of
from durable_responses.activities.waiting import Cadence
from durable_responses.responses_api.client import ResponsesClient
from tests.responses_api.conftest import KEY
from tests.support.provider import Answer, Provider, Then, answer

CREATED_AT = 1_000_000.0
RUNNING = {"id": "resp_1", "status": "in_progress"}
WRITING = {**RUNNING, "output": [{"type": "message", "content": [{"type": "output_text", "text": "So far"}]}]}
NOT_FOUND = answer({"error": {"message": "Response with id 'resp_1' not found."}}, 404)
NO_ENDPOINT = answer(b"<html>404</html>", 404)
STEADY = Cadence(jitter=0)


@pytest.fixture
def reads(api: ResponsesClient) -> Reads:
    return Reads(api, "resp_1", CREATED_AT, STEADY)


async def failure(reads: Reads, age: float = 0.0) -> ApplicationError:
    with pytest.raises(ApplicationError) as caught:
        await reads.read(CREATED_AT + age)
    return caught.value


async def test_a_read_brings_the_response(provider: Provider, reads: Reads) -> None:
    provider.will(answer(RUNNING))
    response = await reads.read(CREATED_AT)
    assert response is not None
    assert (response.id, response.status) == ("resp_1", "in_progress")


async def test_of_what_was_read_last_the_output_is_kept(provider: Provider, reads: Reads) -> None:
    """At the deadline it is the answer. A response without any leaves nothing: thousands may be waited for."""
    provider.will(answer(RUNNING), answer(WRITING))
    await reads.read(CREATED_AT)
    assert reads.output is None
    response = await reads.read(CREATED_AT)
    assert response is not None
    assert reads.output == record_of(response)


# --- failures ----------------------------------------------------------------------------------------------------

PASSING: dict[str, Answer] = {
    **{str(status): answer({}, status) for status in (408, 409, 429, 500, 502, 503, 504)},
    "closed": Answer(then=Then.CLOSE),
    "reset": Answer(then=Then.RESET),
    "cut": Answer(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\n{", Then.CLOSE),
}
FINAL: dict[str, tuple[Answer, FailureType]] = {
    "401": (answer({}, 401), FailureType.AUTHENTICATION_FAILED),
    "403": (answer({}, 403), FailureType.AUTHENTICATION_FAILED),
    "400": (answer({}, 400), FailureType.BAD_REQUEST),
    "no retrieve": (NO_ENDPOINT, FailureType.UNSUPPORTED_BY_PROVIDER),
    "405": (answer({}, 405), FailureType.UNSUPPORTED_BY_PROVIDER),
    "no response": (answer({"object": "list"}), FailureType.MALFORMED_ANSWER),
}


@pytest.mark.parametrize("said", PASSING.values(), ids=PASSING)
async def test_a_failure_that_passes_is_no_response_yet(provider: Provider, reads: Reads, said: Answer) -> None:
    """A7."""
    provider.will(said, said)  # a GET that was cut off may be sent again on a new connection
    assert await reads.read(CREATED_AT) is None


async def test_a_provider_that_does_not_answer_is_given_up_for_this_time(provider: Provider) -> None:
    """A3, A7: the total timeout of a GET, shortened here."""
    provider.will(Answer(then=Then.HOLD))
    async with ResponsesClient(provider.url, KEY, read_timeout=0.1) as api:
        assert await Reads(api, "resp_1", CREATED_AT, STEADY).read(CREATED_AT) is None


@pytest.mark.parametrize(("said", "kind"), FINAL.values(), ids=FINAL)
async def test_a_failure_that_does_not_pass_ends_the_wait(
    provider: Provider, reads: Reads, said: Answer, kind: FailureType
) -> None:
    """A7: 401 and 403 end the run."""
    provider.will(said)
    error = await failure(reads)
    assert (error.type, error.non_retryable) == (kind, True)


@pytest.mark.parametrize("age", [0, 29])
async def test_a_response_need_not_be_found_just_after_its_create(provider: Provider, reads: Reads, age: float) -> None:
    provider.will(NOT_FOUND)
    assert await reads.read(CREATED_AT + age) is None


async def test_a_response_that_is_not_found_later_is_lost(provider: Provider, reads: Reads) -> None:
    provider.will(NOT_FOUND)
    error = await failure(reads, age=30)
    assert (error.type, error.non_retryable) == (FailureType.RESPONSE_LOST, True)
    assert error.details == (FailureDetail(response_id="resp_1"),)


async def test_a_response_that_was_there_and_is_gone_is_lost(provider: Provider, reads: Reads) -> None:
    provider.will(answer(RUNNING), NOT_FOUND)
    await reads.read(CREATED_AT)
    assert (await failure(reads)).type == FailureType.RESPONSE_LOST


async def test_an_endpoint_that_was_there_before_is_there_again_later(provider: Provider, reads: Reads) -> None:
    """A7: a gateway that is out of order is no reason to lose a response that goes on."""
    provider.will(answer(RUNNING), NO_ENDPOINT)
    await reads.read(CREATED_AT)
    assert await reads.read(CREATED_AT) is None


async def test_a_strange_answer_after_good_ones_does_not_lose_a_paid_response(provider: Provider, reads: Reads) -> None:
    """A7: but not for ever."""
    provider.will(answer(RUNNING), *[answer({"no": "response"})] * 21)
    await reads.read(CREATED_AT)
    for _ in range(20):
        assert await reads.read(CREATED_AT) is None
    with pytest.raises(ApplicationError, match="malformed_answer"):
        await reads.read(CREATED_AT)


async def test_the_texts_of_failures_keep_status_and_request_id_and_no_key(provider: Provider, reads: Reads) -> None:
    """A25."""
    key = KEY.get_secret_value()
    provider.will(answer({"error": {"message": f"Bad key {key}."}}, 401, x_request_id="req_1"))
    error = await failure(reads)
    assert error.details == (FailureDetail(http_status=401, request_id="req_1", response_id="resp_1"),)
    assert key not in error.message
    assert error.__cause__ is None


# --- how long to wait --------------------------------------------------------------------------------------------


async def waits(
    provider: Provider, reads: Reads, *answers: Answer, age: float = 0.0, share: float = 0.0
) -> list[float]:
    """The wait after each of these answers."""
    provider.will(*answers)
    seconds = []
    for _ in answers:
        await reads.read(CREATED_AT + age)
        seconds.append(round(reads.wait(CREATED_AT + age, share), 3))
    return seconds


async def test_the_wait_follows_the_cadence(provider: Provider, reads: Reads) -> None:
    """A4."""
    assert await waits(provider, reads, *[answer(RUNNING)] * 9) == [
        *(0.4, 0.54, 0.729, 0.984, 1.328, 1.792, 2.419, 2.5, 2.5)
    ]


async def test_old_responses_are_read_less_often(provider: Provider, reads: Reads) -> None:
    """A4: by the age of the response, not by the time since this worker waits."""
    seconds = await waits(provider, reads, *[answer(RUNNING)] * 20, age=240)
    assert seconds[-1] == 10


async def test_failures_are_waited_out_longer_and_longer(provider: Provider, reads: Reads) -> None:
    """A7."""
    assert await waits(provider, reads, *[answer({}, 500)] * 8) == [0.5, 1, 2, 4, 8, 16, 30, 30]


async def test_a_success_ends_the_back_off(provider: Provider, reads: Reads) -> None:
    """A7."""
    assert await waits(provider, reads, answer({}, 500), answer({}, 500), answer(RUNNING)) == [0.5, 1, 0.729]


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        (answer(RUNNING, openai_poll_after_ms="7000"), 7),
        (answer({}, 429, retry_after="7"), 7),
        (answer({}, 503, retry_after_ms="7000"), 7),
        (answer(RUNNING, openai_poll_after_ms="1"), 0.4),
        (answer({}, 429, retry_after="0"), 0.5),
    ],
)
async def test_what_the_provider_asks_for_makes_the_wait_longer_never_shorter(
    provider: Provider, reads: Reads, said: Answer, seconds: float
) -> None:
    """A4."""
    assert await waits(provider, reads, said) == [seconds]


async def test_what_the_provider_asked_for_holds_once(provider: Provider, reads: Reads) -> None:
    """A4."""
    assert await waits(provider, reads, answer(RUNNING, openai_poll_after_ms="7000"), answer(RUNNING)) == [7, 0.54]


async def test_a_fair_share_of_the_budget_makes_the_wait_longer(provider: Provider, reads: Reads) -> None:
    """A4: ten thousand responses share 200 GETs a second."""
    assert await waits(provider, reads, answer(RUNNING), share=50) == [50]


async def test_each_wait_has_its_own_jitter(provider: Provider, api: ResponsesClient) -> None:
    """A4: at most 149 ms, on top of whatever decides."""
    provider.will(answer(RUNNING))
    reads = Reads(api, "resp_1", CREATED_AT, Cadence())
    await reads.read(CREATED_AT)
    drawn = [reads.wait(CREATED_AT, 3.0) for _ in range(100)]
    assert 3.0 <= min(drawn) < max(drawn) <= 3.149
