"""Whole runs with a provider that answers in odd ways: an answer that is there is used, and is created once."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from durable_responses.activities.messages import ArtifactFormat, SaveOptions
from durable_responses.responses_api.budget import BUDGET
from durable_responses.responses_api.models import ReasoningEffort
from durable_responses.workflows.contract import AgentInput, AgentResult, TransportChoice
from tests.support import provider as scripted_provider
from tests.support.provider import Answer, answer, event_stream
from tests.support.runs import Agents

MESSAGE: dict[str, Any] = {
    "type": "message",
    "role": "assistant",
    "content": [{"type": "output_text", "text": "Hello."}],
}
QUEUED = {"id": "resp_1", "object": "response", "status": "queued", "output": []}
DONE = QUEUED | {"status": "completed", "output": [MESSAGE], "usage": {"input_tokens": 3, "output_tokens": 5}}
CREATED = {"type": "response.created", "response": QUEUED}
PAGE = answer(b"<html>Back soon</html>", 404)


def creates(provider: scripted_provider.Provider) -> int:
    return sum((asked.method, asked.target) == ("POST", "/v1/responses") for asked in provider.asked)


async def result(agents: Agents, transport: TransportChoice = TransportChoice.BACKGROUND, **fields: Any) -> AgentResult:
    return await agents.run(
        AgentInput(task="Say hello.", transport=transport, reasoning_effort=ReasoningEffort.LOW, **fields)
    )


async def test_a_create_that_is_answered_with_the_whole_response_needs_no_retrieve(
    runs: Agents, server: scripted_provider.Provider
) -> None:
    """As servers without background do; many of them have no retrieve."""
    server.will(answer(DONE))
    ended = await result(runs)
    assert (ended.status, ended.output_text, ended.usage.total_tokens) == ("completed", "Hello.", 8)
    assert [(asked.method, asked.target) for asked in server.asked] == [("POST", "/v1/responses")]


def with_part(**fields: Any) -> dict[str, Any]:
    return DONE | {"output": [MESSAGE | {"content": [{"type": "output_text", "text": "Hello."} | fields]}]}


READ: dict[str, list[Answer]] = {
    "odd fields": [
        answer(DONE | {"metadata": {"team": None}, "created_at": "2026-11-28", "error": "", "object": None})
    ],
    "odd usage": [answer(DONE | {"usage": {"input_tokens": "12", "output_tokens": 1.5, "total_tokens": float("nan")}})],
    "no role": [answer(DONE | {"output": [MESSAGE | {"role": None}]})],
    "a citation of another form": [answer(with_part(annotations=[{"type": "url_citation", "url_citation": {}}, {}]))],
    "a part of another type": [answer(with_part(type="text"))],
    "a byte that is not UTF-8": [answer(json.dumps(DONE | {"model": "caf?"}).encode().replace(b"caf?", b"caf\xe9"))],
    "very many items": [answer(DONE | {"output": [*[{"type": "web_search_call"}] * 30_000, MESSAGE]})],
    "gzip": [answer(gzip.compress(json.dumps(DONE).encode()), content_encoding="gzip")],
    "a stream": [event_stream(CREATED, {"type": "response.completed", "response": DONE})],
    "a page at first": [PAGE, answer(DONE)],
    "half a body at first": [answer(b'{"id": "re'), answer(DONE)],
    "a gateway that gives up at first": [answer(b"client closed request", 499), answer(DONE)],
    "headers that are not ASCII": [answer(DONE, x_model="\u00c9ole")],
    "envelopes": [answer({"code": 0, "data": {"response": DONE}})],
    "the words of others": [answer(DONE | {"status": "SUCCEEDED", "error": {"code": "", "message": ""}})],
}


@pytest.mark.parametrize("gets", READ.values(), ids=READ)
async def test_an_answer_in_an_odd_form_completes_the_run(
    runs: Agents, server: scripted_provider.Provider, gets: list[Answer]
) -> None:
    server.will(answer(QUEUED), *gets)
    ended = await result(runs)
    assert (ended.status, ended.output_text, ended.error) == ("completed", "Hello.", None)
    assert creates(server) == 1


def streams(*events: dict[str, Any] | str) -> Answer:
    return event_stream(CREATED, *events)


EMPTY = {"type": "response.completed", "response": DONE | {"output": []}}
ITEM = {"type": "response.output_item.done", "item": MESSAGE, "output_index": 0}

STREAMED: dict[str, Answer] = {
    "JSON": answer(DONE),
    "an empty last event": streams(ITEM, EMPTY),
    "deltas without ids": streams({"type": "response.output_text.delta", "delta": "Hello.", "item_id": None}, EMPTY),
    "a gateway's last event": streams({"type": "response.done", "response": DONE}),
    "noise": streams(": keepalive\n\n", "data: ping\n\n", ITEM, EMPTY, "data: [DONE]\n\n"),
    "content that is a text": streams(
        {"type": "response.completed", "response": DONE | {"output": [MESSAGE | {"content": "Hello."}]}}
    ),
    "chunks of a chat completion": event_stream(
        *(
            f"data: {json.dumps({'id': 'chat_1', 'choices': [{'delta': delta, 'finish_reason': ended}]})}\n\n"
            for delta, ended in (({"content": "Hel"}, None), ({"content": "lo."}, None), ({}, "stop"))
        )
    ),
    "an event in each line": event_stream(
        *(f"{json.dumps(event)}\n" for event in (CREATED, {"type": "done", "response": DONE}))
    ),
    "a mark of the end alone": streams(ITEM, "data: [DONE]\n\n"),
}


@pytest.mark.parametrize("said", STREAMED.values(), ids=STREAMED)
async def test_a_stream_in_an_odd_form_completes_the_run(
    runs: Agents, server: scripted_provider.Provider, said: Answer
) -> None:
    server.will(said)
    ended = await result(runs, TransportChoice.STREAM)
    assert (ended.status, ended.output_text, ended.error) == ("completed", "Hello.", None)
    assert creates(server) == 1


REFUSED: dict[str, tuple[Answer, str]] = {
    "an error with 200": (answer({"error": {"message": "No such parameter."}}), "bad_request"),
    "billing": (answer({"error": {"message": "No.", "code": "billing_not_active"}}, 429), "quota_exhausted"),
    "too large": (
        answer({"error": {"message": "Limit 30000, Requested 45000.", "code": "rate_limit_exceeded"}}, 429),
        "bad_request",
    ),
}


@pytest.mark.parametrize(("said", "error"), REFUSED.values(), ids=REFUSED)
@pytest.mark.parametrize("transport", [TransportChoice.BACKGROUND, TransportChoice.STREAM])
async def test_a_refusal_for_good_ends_the_run_after_one_create(
    runs: Agents, server: scripted_provider.Provider, said: Answer, error: str, transport: TransportChoice
) -> None:
    server.will(said)
    ended = await result(runs, transport)
    assert ended.error is not None
    assert (ended.status, ended.error.type, ended.ambiguous_creates) == ("failed", error, 0)
    assert creates(server) == 1


@pytest.mark.parametrize("transport", [TransportChoice.BACKGROUND, TransportChoice.STREAM])
async def test_a_response_whose_status_nobody_knows_is_cancelled_and_ends_the_run_by_name(
    runs: Agents, server: scripted_provider.Provider, transport: TransportChoice
) -> None:
    """It may still run, and would be paid for."""
    unknown = DONE | {"status": "hibernating"}
    ending = event_stream(CREATED, {"type": "response.done", "response": unknown})
    server.will(ending if transport is TransportChoice.STREAM else answer(unknown))
    server.will(answer(DONE | {"status": "cancelled"}))
    failed = await result(runs, transport)
    assert failed.error is not None
    assert failed.error.type == "unknown_status"
    assert server.asked[-1].target == "/v1/responses/resp_1/cancel"
    assert (creates(server), failed.usage.total_tokens) == (1, 8)


async def test_an_answer_that_only_its_cancel_brings_is_used_and_counted_once(
    runs: Agents, server: scripted_provider.Provider
) -> None:
    server.will(answer(QUEUED), answer({"error": {"message": "It cannot be read."}}, 400), answer(DONE))
    ended = await result(runs)
    assert (ended.status, ended.output_text, ended.usage.total_tokens, len(ended.responses)) == (
        "completed",
        "Hello.",
        8,
        1,
    )
    assert creates(server) == 1


async def test_an_answer_beyond_the_budget_ends_the_run_by_name(
    runs: Agents, server: scripted_provider.Provider
) -> None:
    bomb = gzip.compress(b"[" + b" " * (BUDGET.unpacked + 1) + b"]", 1)
    server.will(answer(QUEUED), answer(bomb, content_encoding="gzip"), answer(DONE | {"status": "cancelled"}))
    ended = await result(runs)
    assert ended.error is not None
    assert (ended.status, ended.error.type) == ("failed", "answer_too_large")
    assert creates(server) == 1
    assert server.asked[-1].target == "/v1/responses/resp_1/cancel"


LONG = "".join(f"Line {number}.\n" for number in range(120_000))


@pytest.mark.parametrize("form", ArtifactFormat)
@pytest.mark.parametrize(
    ("transport", "answers"),
    {
        TransportChoice.BACKGROUND: [answer(QUEUED), answer(with_part(text=LONG))],
        TransportChoice.STREAM: [
            event_stream(CREATED, {"type": "response.completed", "response": with_part(text=LONG)})
        ],
    }.items(),
)
async def test_a_text_that_history_has_no_room_for_is_saved_whole(
    runs: Agents,
    server: scripted_provider.Provider,
    transport: TransportChoice,
    answers: list[Answer],
    form: ArtifactFormat,
    tmp_path: Path,
) -> None:
    server.will(*answers)
    ended = await result(runs, transport, save=SaveOptions(folder=tmp_path.name, format=form))
    assert (ended.status, ended.incomplete_reason) == ("incomplete", "answer_too_large")
    assert "[cut: the first" in ended.output_text
    assert ended.artifact_path is not None
    file = Path(ended.artifact_path)
    assert LONG in file.read_text()
    assert list(file.parent.iterdir()) == [file]
    assert creates(server) == 1


async def test_a_text_that_is_not_to_be_saved_is_cut(runs: Agents, server: scripted_provider.Provider) -> None:
    server.will(answer(with_part(text=LONG)))
    ended = await result(runs)
    assert (ended.status, ended.incomplete_reason) == ("incomplete", "answer_too_large")
    assert (LONG.startswith(ended.output_text.split("\n[cut")[0]), ended.artifact_path) == (True, None)


BEYOND = json.dumps(with_part(text="All of it.\u00e9\ud83d\ude00 " * (BUDGET.unpacked // 30))).encode()


@pytest.mark.parametrize(
    ("transport", "answers"),
    {
        TransportChoice.BACKGROUND: [
            answer(QUEUED),
            answer(BEYOND),
            answer({"error": {"message": "It has ended."}}, 400),
        ],
        TransportChoice.STREAM: [answer(BEYOND)],
    }.items(),
)
async def test_of_an_answer_beyond_the_budget_all_the_text_that_was_read_is_saved(
    runs: Agents, server: scripted_provider.Provider, transport: TransportChoice, answers: list[Answer]
) -> None:
    server.will(*answers)
    ended = await result(runs, transport, save=SaveOptions(folder="beyond", filename=transport))
    assert (ended.status, ended.incomplete_reason, ended.error) == ("incomplete", "answer_too_large", None)
    assert ended.artifact_path is not None
    assert Path(ended.artifact_path).read_text().count("All of it.\u00e9\U0001f600 ") > BUDGET.unpacked // 40
    assert creates(server) == 1
