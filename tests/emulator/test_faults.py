"""Every fault as the official client meets it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
from openai import APIConnectionError, APIStatusError, APITimeoutError, AsyncOpenAI, BadRequestError, NotFoundError
from openai.types.responses import Response, ResponseStreamEvent

from durable_responses.emulator.faults import (
    AddHeaders,
    Answer,
    BreakStream,
    Delay,
    Effect,
    End,
    Fault,
    FaultQueue,
    FinishFirst,
    Operation,
    RejectChain,
    Reset,
    StreamBreak,
    Stuck,
)
from durable_responses.emulator.model.script import Ending
from durable_responses.responses_api.models import ResponseStatus
from tests.support.emulator_control import RunningEmulator

SLOW = "scenario:think?seconds=60"


async def order(emulator: RunningEmulator, operation: Operation, effect: Effect, **options: Any) -> None:
    await emulator.control.add_fault(Fault(operation=operation, effect=effect, **options))


async def start(official: AsyncOpenAI, model: str = SLOW, **request: Any) -> Response:
    response: Response = await official.responses.create(model=model, input="Hi.", background=True, **request)
    return response


async def read_into(seen: list[str], events: AsyncIterator[ResponseStreamEvent]) -> None:
    async for event in events:
        seen.append(event.type)  # noqa: PERF401 what was seen before the end counts


async def read_all(events: AsyncIterator[ResponseStreamEvent]) -> list[str]:
    return [event.type async for event in events]


# --- answers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "code", "headers"),
    [
        (429, "rate_limit_exceeded", {"retry-after": "2"}),
        (429, "insufficient_quota", {}),
        (500, None, {}),
        (503, "server_is_overloaded", {"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}),
        (503, "slow_down", {"retry-after-ms": "150"}),
        (401, "invalid_api_key", {}),
    ],
)
async def test_a_create_is_refused(
    emulator: RunningEmulator, official: AsyncOpenAI, status: int, code: str | None, headers: dict[str, str]
) -> None:
    await order(emulator, Operation.CREATE, Answer(status=status, code=code, headers=headers))
    with pytest.raises(APIStatusError) as refused:
        await start(official)
    assert (refused.value.status_code, refused.value.code) == (status, code)
    assert headers.items() <= dict(refused.value.response.headers).items()


async def test_a_refused_create_costs_nothing_and_is_on_the_bill(
    emulator: RunningEmulator, official: AsyncOpenAI
) -> None:
    await order(emulator, Operation.CREATE, Answer(status=503))
    with pytest.raises(APIStatusError):
        await start(official, metadata={"workflow_id": "w"})
    counts = (await emulator.control.billing(workflow_id="w")).counts
    assert (counts.creates_accepted, counts.creates_rejected) == (0, 1)


async def test_a_response_is_not_found_for_so_many_gets(emulator: RunningEmulator, official: AsyncOpenAI) -> None:
    await order(emulator, Operation.RETRIEVE, Answer(status=404), times=2)
    response = await start(official)
    for _ in range(2):
        with pytest.raises(NotFoundError):
            await official.responses.retrieve(response.id)
    assert (await official.responses.retrieve(response.id)).id == response.id


async def test_a_server_can_have_no_retrieve(emulator: RunningEmulator, official: AsyncOpenAI) -> None:
    await order(emulator, Operation.RETRIEVE, Answer(status=405), times=None)
    response = await start(official)
    for _ in range(3):
        with pytest.raises(APIStatusError, match="405"):
            await official.responses.retrieve(response.id)


async def test_an_answer_carries_more_headers(emulator: RunningEmulator, official: AsyncOpenAI) -> None:
    response = await start(official)
    await order(emulator, Operation.RETRIEVE, AddHeaders(headers={"openai-poll-after-ms": "700"}))
    raw = await official.responses.with_raw_response.retrieve(response.id)
    assert raw.headers["openai-poll-after-ms"] == "700"


async def test_a_chain_is_rejected_and_a_first_request_is_not(emulator: RunningEmulator, official: AsyncOpenAI) -> None:
    await order(emulator, Operation.CREATE, RejectChain(), times=None)
    first = await official.responses.create(model="scenario:calls?tool=f", input="Go.")
    call_id = next(item.call_id for item in first.output if item.type == "function_call")
    with pytest.raises(BadRequestError, match=f"No tool call found for function call output with call_id {call_id}"):
        await official.responses.create(
            model="scenario:calls?tool=f",
            previous_response_id=first.id,
            input=[{"type": "function_call_output", "call_id": call_id, "output": "ok"}],
        )


# --- connections -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("processed", "accepted"), [(False, 0), (True, 1)])
async def test_a_connection_is_reset_before_or_after_the_create_took_effect(
    emulator: RunningEmulator, official: AsyncOpenAI, processed: bool, accepted: int
) -> None:
    await order(emulator, Operation.CREATE, Reset(processed=processed))
    with pytest.raises(APIConnectionError):
        await start(official)
    assert (await emulator.control.billing()).counts.creates_accepted == accepted


async def test_an_answer_is_late(emulator: RunningEmulator, official: AsyncOpenAI) -> None:
    await order(emulator, Operation.CREATE, Delay(seconds=3600, processed=True))
    waiting = asyncio.create_task(start(official))
    async with asyncio.timeout(5):
        while not emulator.provider.state.store.all:
            await asyncio.sleep(0.01)
    assert not waiting.done()
    await emulator.control.advance(3600)
    assert (await asyncio.wait_for(waiting, 5)).status == "queued"


@pytest.mark.parametrize(("processed", "accepted"), [(False, 0), (True, 1)])
async def test_a_client_that_gives_up_has_created_a_response_or_not(
    emulator: RunningEmulator, official: AsyncOpenAI, processed: bool, accepted: int
) -> None:
    await order(emulator, Operation.CREATE, Delay(processed=processed))
    with pytest.raises(APITimeoutError):
        await start(official.with_options(timeout=0.1))
    assert (await emulator.control.billing()).counts.creates_accepted == accepted


async def test_a_stream_is_silent_before_its_first_byte(emulator: RunningEmulator, official: AsyncOpenAI) -> None:
    await order(emulator, Operation.STREAM, Delay())
    with pytest.raises(APITimeoutError):
        await official.with_options(timeout=0.1).responses.create(model=SLOW, input="Hi.", stream=True)


@pytest.mark.parametrize("how", [StreamBreak.RESET, StreamBreak.SILENCE])
async def test_a_stream_breaks_after_so_many_events(
    emulator: RunningEmulator, official: AsyncOpenAI, how: StreamBreak
) -> None:
    await order(emulator, Operation.STREAM, BreakStream(after_events=2, how=how))
    events = await official.with_options(timeout=0.3).responses.create(
        model="scenario:write?seconds=0", input="Hi.", stream=True
    )
    seen: list[str] = []
    with pytest.raises(APIConnectionError):
        await read_into(seen, events)
    assert seen == ["response.created", "response.in_progress"]


async def test_a_stream_is_closed_in_good_order_before_its_end(
    emulator: RunningEmulator, official: AsyncOpenAI
) -> None:
    await order(emulator, Operation.STREAM, BreakStream(after_events=3, how=StreamBreak.CLOSE))
    events = await official.responses.create(model="scenario:write?seconds=0", input="Hi.", stream=True)
    assert len(await read_all(events)) == 3


@pytest.mark.parametrize(("survives", "status"), [(False, "cancelled"), (True, "in_progress")])
async def test_a_response_survives_its_broken_stream_or_not(
    emulator: RunningEmulator, official: AsyncOpenAI, survives: bool, status: str
) -> None:
    await order(emulator, Operation.STREAM, BreakStream(after_events=2, how=StreamBreak.CLOSE, survives=survives))
    await read_all(await official.responses.create(model=SLOW, input="Hi.", stream=True))
    [line] = await emulator.control.responses()
    assert line.status == status


async def test_a_background_response_survives_its_broken_stream(
    emulator: RunningEmulator, official: AsyncOpenAI
) -> None:
    await order(emulator, Operation.STREAM, BreakStream(after_events=2, how=StreamBreak.CLOSE))
    await read_all(await official.responses.create(model=SLOW, input="Hi.", stream=True, background=True))
    [line] = await emulator.control.responses()
    assert line.status == "in_progress"


# --- responses ---------------------------------------------------------------------------------------------------


async def test_a_response_is_stuck_in_the_queue(emulator: RunningEmulator, official: AsyncOpenAI) -> None:
    await order(emulator, Operation.CREATE, Stuck())
    response = await start(official)
    await emulator.control.advance(100_000)
    assert (await official.responses.retrieve(response.id)).status == "queued"
    assert (await official.responses.cancel(response.id)).status == "cancelled"


async def test_a_response_fails_for_want_of_money(emulator: RunningEmulator, official: AsyncOpenAI) -> None:
    ending = Ending(status=ResponseStatus.FAILED, code="insufficient_quota", message="Out of money.")
    await order(emulator, Operation.CREATE, End(ending=ending))
    response = await official.responses.create(model="scenario:echo", input="Hi.")
    assert response.status == "failed"
    assert response.error is not None
    assert response.error.model_dump()["code"] == "insufficient_quota"


async def test_a_response_ends_incomplete(emulator: RunningEmulator, official: AsyncOpenAI) -> None:
    ending = Ending(status=ResponseStatus.INCOMPLETE, reason="content_filter")
    await order(emulator, Operation.CREATE, End(ending=ending))
    response = await official.responses.create(model="scenario:echo", input="Hi.")
    assert response.incomplete_details is not None
    assert (response.incomplete_details.reason, response.output_text) == ("content_filter", "Hi.")


async def test_a_response_finishes_just_before_its_cancel(emulator: RunningEmulator, official: AsyncOpenAI) -> None:
    await order(emulator, Operation.CANCEL, FinishFirst())
    response = await start(official)
    with pytest.raises(BadRequestError, match="Cannot cancel a completed response"):
        await official.responses.cancel(response.id)
    assert (await official.responses.retrieve(response.id)).output_text == "Done thinking."


# --- which requests ----------------------------------------------------------------------------------------------


async def test_a_fault_meets_requests_with_its_metadata_only(emulator: RunningEmulator, official: AsyncOpenAI) -> None:
    await order(emulator, Operation.CREATE, Answer(status=500), metadata={"iteration": "2"})
    await start(official, metadata={"iteration": "1"})
    with pytest.raises(APIStatusError):
        await start(official, metadata={"iteration": "2"})


async def test_a_fault_lets_some_requests_pass_first(emulator: RunningEmulator, official: AsyncOpenAI) -> None:
    await order(emulator, Operation.CREATE, Answer(status=500), skip=2)
    await start(official)
    await start(official)
    with pytest.raises(APIStatusError):
        await start(official)
    await start(official)


async def test_faults_that_are_called_off_do_not_happen(emulator: RunningEmulator, official: AsyncOpenAI) -> None:
    await order(emulator, Operation.CREATE, Answer(status=500), times=None)
    await emulator.control.clear_faults()
    assert (await start(official)).status == "queued"


def test_faults_are_taken_in_the_order_they_were_ordered() -> None:
    queue = FaultQueue()
    first, second = (Fault(operation=Operation.CREATE, effect=Answer(status=status)) for status in (500, 503))
    queue.add(first)
    queue.add(second)
    assert queue.match(Operation.CREATE, {}) is first
    queue.use(first.id)
    assert queue.match(Operation.CREATE, {}) is second


async def test_a_misspelt_fault_is_refused(emulator: RunningEmulator) -> None:
    async with httpx.AsyncClient(verify=False) as http:
        url = emulator.base_url.replace("/v1", "/control/faults")
        answer = await http.post(url, json={"operation": "create", "effect": {"type": "anser"}})
    assert answer.status_code == 400
    assert "effect" in answer.text
