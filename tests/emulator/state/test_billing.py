"""The bill: what is counted, when, and for whom."""

from openai import AsyncOpenAI

from durable_responses.emulator.state.billing import bill
from durable_responses.emulator.state.lifecycle import Stop
from tests.emulator.state.test_lifecycle import START, created
from tests.support.emulator_control import RunningEmulator


def test_tokens_are_billed_once_a_response_has_ended() -> None:
    response = created()
    assert bill([response], [], START + 9).totals.output_tokens == 0
    assert bill([response], [], START + 10).totals.output_tokens == 83


def test_a_response_is_a_generation_once_the_model_works_on_it() -> None:
    assert bill([created()], [], START + 0.5).counts.generations == 0
    assert bill([created()], [], START + 1).counts.generations == 1


def test_a_response_cancelled_in_the_queue_is_no_generation() -> None:
    response = created()
    response.stop(Stop.CANCEL, START + 0.5)
    assert bill([response], [], START + 100).counts.generations == 0


def test_times_are_kept_to_the_microsecond() -> None:
    [line] = bill([created()], [], START + 11).responses
    assert (line.created_at, line.finished_at) == (START, START + 10)


def test_the_most_in_flight_are_remembered() -> None:
    first, second = created(), created()
    second.created_at = START + 10  # just when the first one ends
    third = created()
    third.created_at = START + 12
    counts = bill([first, second, third], [], START + 100).counts
    assert (counts.in_flight, counts.max_in_flight) == (0, 2)


async def test_the_bill_of_one_workflow_is_its_own(emulator: RunningEmulator, official: AsyncOpenAI) -> None:
    for workflow in ("a", "b", "a"):
        await official.responses.create(model="scenario:echo", input="Hi.", metadata={"workflow_id": workflow})
    assert (await emulator.control.billing(workflow_id="a")).counts.creates_accepted == 2
    assert (await emulator.control.billing()).counts.creates_accepted == 3


async def test_gets_are_counted(emulator: RunningEmulator, official: AsyncOpenAI) -> None:
    response = await official.responses.create(model="scenario:echo", input="Hi.")
    for _ in range(3):
        await official.responses.retrieve(response.id)
    assert (await emulator.control.billing()).counts.gets == 3


async def test_a_deleted_response_stays_on_the_bill(emulator: RunningEmulator, official: AsyncOpenAI) -> None:
    response = await official.responses.create(model="scenario:echo", input="Hi.")
    await official.responses.delete(response.id)
    assert (await emulator.control.billing()).counts.creates_accepted == 1


async def test_after_a_reset_nothing_ever_happened(emulator: RunningEmulator, official: AsyncOpenAI) -> None:
    await official.responses.create(model="scenario:echo", input="Hi.")
    await emulator.control.reset()
    assert (await emulator.control.billing()).counts.creates_accepted == 0
