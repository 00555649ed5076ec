"""The state file: whatever a client was told is true after SIGKILL.

A copy of the file while it is in use is what a kill at that moment leaves behind.
"""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from openai import APIError, AsyncOpenAI, AsyncStream
from openai.types.responses import ResponseStreamEvent

from durable_responses.emulator.faults import Answer, Fault, Operation, Stuck
from durable_responses.emulator.model.scenarios import Scenario
from durable_responses.emulator.model.script import Script, Text
from durable_responses.emulator.objects.api_errors import ApiError, invalid
from durable_responses.emulator.objects.request_bodies import CompactBody
from durable_responses.emulator.provider import Provider
from durable_responses.emulator.server import EmulatorOptions, build_provider
from durable_responses.emulator.state.journal import ClockAdvanced, ContextWindowSet, FaultQueued, ScenarioRegistered
from durable_responses.emulator.state.lifecycle import StoredResponse
from tests.support.conversations import request, said
from tests.support.emulator_control import EmulatorProcess


class Kept:
    """A provider with a state file, and what a killed one would leave behind."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / "emulator.state"
        self._opened: list[Provider] = []
        self.provider = self._open(self.path)

    def create(self, model: str = "scenario:think?seconds=60", **fields: Any) -> StoredResponse:
        return self.provider.create(request("Hi.", model=model, background=True, **fields))

    def survivor(self, leftover: bytes = b"") -> Provider:
        """The provider after a kill now; `leftover` is a write that the kill interrupted."""
        copy = self.path.with_name(f"copy-{len(self._opened)}")
        shutil.copy(self.path, copy)
        with copy.open("ab") as file:
            file.write(leftover)
        return self._open(copy)

    def _open(self, path: Path) -> Provider:
        self._opened.append(build_provider(EmulatorOptions(state_file=path)))
        return self._opened[-1]

    def close(self) -> None:
        for provider in self._opened:
            provider.state.close()


@pytest.fixture
def kept(tmp_path: Path) -> Iterator[Kept]:
    kept = Kept(tmp_path)
    yield kept
    kept.close()


async def test_a_response_under_way_goes_on(kept: Kept) -> None:
    response = kept.create()
    again = kept.survivor().state.store.all[response.id]
    assert (again.created_at, again.finished_at) == (response.created_at, response.finished_at)


async def test_a_finished_response_is_the_same_to_the_byte(kept: Kept) -> None:
    response = kept.create("scenario:web_search", text={"format": {"type": "json_schema", "name": "n", "schema": {}}})
    assert kept.survivor().state.store.all[response.id].body(1e12) == response.body(1e12)


async def test_a_cancelled_response_stays_cancelled(kept: Kept) -> None:
    response = kept.create()
    kept.provider.cancel(response.id)
    assert kept.survivor().state.store.all[response.id].body(1e12) == response.body(1e12)


async def test_a_stuck_response_stays_stuck(kept: Kept) -> None:
    response = kept.provider.create(request(background=True), Stuck())
    assert kept.survivor().state.store.all[response.id].status(1e12) == "queued"


async def test_a_deleted_response_stays_deleted(kept: Kept) -> None:
    response = kept.create()
    kept.provider.delete(response.id)
    with pytest.raises(ApiError, match="not found"):
        kept.survivor().retrieve(response.id)


async def test_a_chain_can_be_continued(kept: Kept) -> None:
    first = kept.create("scenario:write?seconds=0")
    again = kept.survivor()
    second = again.create(request("Go on.", model="scenario:echo", previous_response_id=first.id))
    assert second.cached_tokens == first.context_tokens


async def test_the_bill_is_the_same(kept: Kept) -> None:
    kept.provider.cancel(kept.create(metadata={"workflow_id": "w"}).id)
    kept.provider.reject(invalid("No."), {"workflow_id": "w"})
    assert kept.survivor().state.bill({}) == kept.provider.state.bill({})


async def test_scenarios_are_kept(kept: Kept) -> None:
    kept.provider.state.record(
        ScenarioRegistered(scenario=Scenario(name="mine", responses=[Script(output=[Text(text="Mine.")])]))
    )
    assert said(kept.survivor().create(request(model="scenario:mine")).script) == "Mine."


async def test_faults_that_are_still_to_happen_are_kept(kept: Kept) -> None:
    kept.provider.state.record(FaultQueued(fault=Fault(operation=Operation.CREATE, effect=Answer(status=503), times=2)))
    kept.provider.take_fault(Operation.CREATE, {})
    again = kept.survivor()
    assert again.take_fault(Operation.CREATE, {}) is not None
    assert again.take_fault(Operation.CREATE, {}) is None


async def test_a_clock_that_was_pushed_forward_stays_so(kept: Kept) -> None:
    kept.provider.state.record(ClockAdvanced(seconds=1000))
    assert kept.survivor().state.clock.offset == 1000


async def test_a_write_that_was_interrupted_was_never_confirmed(kept: Kept) -> None:
    response = kept.create()
    again = kept.survivor(leftover=b'{"entry":"stopped","id":')
    assert list(again.state.store.all) == [response.id]
    again.cancel(response.id)


async def test_after_a_reset_the_file_is_empty(kept: Kept) -> None:
    kept.create()
    kept.provider.state.reset()
    assert kept.path.stat().st_size == 0


async def test_reads_are_counted_when_it_is_closed(kept: Kept) -> None:
    response = kept.create()
    for _ in range(5):
        kept.provider.retrieve(response.id)
    kept.provider.state.close()
    assert kept.survivor().state.bill({}).counts.gets == 5


def test_a_file_in_use_is_refused(kept: Kept) -> None:
    with pytest.raises(RuntimeError, match="in use by another emulator"):
        build_provider(EmulatorOptions(state_file=kept.path))


def test_a_file_that_is_no_state_file_is_refused(kept: Kept) -> None:
    with pytest.raises(RuntimeError, match="cannot be read at line 1"):
        kept.survivor(leftover=b"# Notes\n")


async def test_a_file_of_version_0_1_can_be_read(kept: Kept) -> None:
    response = kept.create("scenario:think?seconds=7")
    kept.path.write_text(kept.path.read_text().replace('"script":', '"turn":'))
    assert kept.survivor().state.store.all[response.id].script.think == 7


# --- a real kill -------------------------------------------------------------------------------------------------


@pytest.fixture
async def killable(tmp_path: Path) -> AsyncIterator[EmulatorProcess]:
    async with EmulatorProcess(tmp_path) as process:
        yield process


async def test_a_killed_emulator_goes_on_where_it_was(killable: EmulatorProcess, official_client: AsyncOpenAI) -> None:
    client = official_client.with_options(base_url=killable.base_url, max_retries=2)
    response = await client.responses.create(model="scenario:think?seconds=0.5", input="Hi.", background=True)
    killable.kill()
    await killable.start()
    async with asyncio.timeout(10):
        while (await client.responses.retrieve(response.id)).status != "completed":
            await asyncio.sleep(0.02)
    [line] = await killable.control.responses()
    assert line.finished_at == pytest.approx(line.created_at + 0.5)


async def test_a_background_stream_is_resumed_after_a_kill(
    killable: EmulatorProcess, official_client: AsyncOpenAI
) -> None:
    client = official_client.with_options(base_url=killable.base_url, max_retries=2)
    created = await client.responses.create(
        model="scenario:write?seconds=0.5&words=20", input="Hi.", background=True, stream=True
    )
    seen = [await anext(aiter(created))]
    killable.kill()
    with pytest.raises(APIError):
        await _read_into(seen, created)
    await killable.start()
    response_id = seen[0].response.id  # type: ignore[union-attr] # the first one has it
    rest = await client.responses.retrieve(response_id, stream=True, starting_after=seen[-1].sequence_number)
    await _read_into(seen, rest)
    assert [event.sequence_number for event in seen] == list(range(len(seen)))
    assert seen[-1].type == "response.completed"


async def _read_into(seen: list[ResponseStreamEvent], events: AsyncStream[ResponseStreamEvent]) -> None:
    async for event in events:
        seen.append(event)  # noqa: PERF401 what was seen before the end counts


def test_compactions_windows_and_containers_survive(kept: Kept) -> None:
    state = kept.provider.state
    state.record(ContextWindowSet(model="gpt-*", tokens=900))
    answer = kept.provider.compact(CompactBody(model="other", input="A long story."))
    kept.provider.create(request("Go.", model="scenario:code_interpreter"))
    again = kept.survivor()
    assert again.state.context_windows == {"gpt-*": 900}
    assert again.state.containers.all == state.containers.all
    assert next(iter(again.state.containers.all.values())).files
    assert again.state.bill({}) == state.bill({})
    assert again.conversation(request(model="scenario:echo", input=answer.output)).task == "A long story."
