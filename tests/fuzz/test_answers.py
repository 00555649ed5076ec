"""Whatever becomes of a real answer, its text is kept, or the error is one of ours; and it is asked for once."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from durable_responses.activities.inputs import InputError, opening_input
from durable_responses.activities.messages import Opening
from durable_responses.activities.requests import create_request
from durable_responses.responses_api.client import ResponsesClient
from durable_responses.responses_api.errors import ResponsesError
from durable_responses.responses_api.models import CreateRequest, Response, read_json
from durable_responses.workflows import rules
from durable_responses.workflows.contract import AgentInput
from tests.fuzz.kept import ended, keeps, remembered
from tests.support.outside_data import json_texts, mutated, travelled
from tests.support.provider import Provider, answer
from tests.support.real_answers import ANSWERS

answers = st.sampled_from(ANSWERS).flatmap(mutated)


@given(answers)
def test_what_is_left_of_an_answer_is_kept(sent: Any) -> None:
    try:
        response = Response.model_validate(read_json(json.dumps(sent)))
    except ValueError:
        assert not isinstance(sent, dict) or not isinstance(sent.get("id"), str) or not sent["id"]
        return
    keeps(remembered(response), sent)


@given(st.sampled_from(ANSWERS), st.integers(0), st.binary(max_size=4))
def test_bytes_that_are_broken_make_an_answer_unreadable_at_most(sent: Any, where: int, broken: bytes) -> None:
    data = json.dumps(sent).encode()
    at = where % len(data)
    try:
        response = Response.model_validate(read_json(data[:at] + broken + data[at + 1 :]))
    except ValueError:
        return
    remembered(response)


INPUT = {
    "task": [{"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hello."}]}],
    "model": "gpt-5.4",
    "instructions": "Be brief.",
    "context": "It is late.",
    "reasoning_effort": "high",
    "verbosity": "low",
    "enable_web_search": True,
    "tools": ["add"],
    "text_format": {"type": "object", "properties": {"answer": {"type": "string"}}},
    "max_output_tokens": 2000,
    "deadline": 600,
    "metadata": {"team": "a"},
}


def request_for(given: Any, *, stream: bool) -> CreateRequest | None:
    """The first request of a run with this input; None if the input is refused."""
    try:
        asked = travelled(rules.parse_input(given), AgentInput)
        opening = opening_input(Opening(task=asked.task, context=asked.context), [])
    except (ValueError, InputError) as error:
        travelled(str(error))
        return None
    return create_request(
        rules.model_options(asked),
        default_model="m",
        functions=[],
        input=opening if isinstance(opening, str) else list(opening),
        previous_response_id=asked.previous_response_id,
        metadata={},
        background=False,
        stream=stream,
    )


@given(
    sent=answers | json_texts,
    status=st.sampled_from([200, 200, 200, 201, 400, 404, 429, 500, 503]),
    stream=st.booleans(),
    asked_for=mutated(INPUT),
)
async def test_any_answer_to_a_create_is_taken_or_named_and_asked_for_once(
    provider: Provider, api: ResponsesClient, sent: Any, status: int, stream: bool, asked_for: Any
) -> None:
    request = request_for(asked_for, stream=stream)
    if request is None:
        return
    provider.asked.clear()
    provider.answers.clear()
    body = sent.encode(errors="surrogatepass") if isinstance(sent, str) else json.dumps(sent).encode()
    provider.will(answer(body, status))
    try:
        response = await ended(api, request, stream=stream)
        assert response is not None
        keeps(remembered(response), read_json(body))
    except ResponsesError as error:
        travelled(str(error))
    [asked] = provider.asked
    assert asked.json["model"]
