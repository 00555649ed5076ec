"""Waiting for a response, as its heartbeats show it."""

import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from temporalio.testing import ActivityEnvironment

from activities.admission import ResponsesInFlight
from activities.building import RequestBuilder
from activities.messages import AwaitResponse, Beat, CreatePhase
from activities.responses import ResponsesActivities
from activities.waiting import GetBudget
from emulator.faults import Delay, Fault, Operation
from responses_api.client import ResponsesClient
from responses_api.models import CreateRequest
from tests.emulator_control import RunningEmulator
from tools.registry import Registry

HEARTBEAT_TIMEOUT = timedelta(seconds=0.4)


@dataclass(frozen=True)
class Told:
    """A heartbeat, and how many seconds after the one before, or after the start, it came."""

    after: float
    beat: Beat


async def waited_for(emulator: RunningEmulator, *, earlier: Beat | None = None) -> list[Told]:
    """Create a response, wait for its end, and return the heartbeats of the wait."""
    environment = ActivityEnvironment()
    details = [] if earlier is None else [earlier]
    environment.info = replace(environment.info, heartbeat_timeout=HEARTBEAT_TIMEOUT, heartbeat_details=details)
    told: list[Told] = []
    last = time.monotonic()

    def keep(beat: Beat) -> None:
        nonlocal last
        told.append(Told(time.monotonic() - last, beat.model_copy()))
        last = time.monotonic()

    environment.on_heartbeat = keep
    async with ResponsesClient(emulator.base_url, None) as client:
        activities = ResponsesActivities(
            client=client,
            requests=RequestBuilder(client, Registry([]), "gpt-5.4", [Path.cwd()]),
            in_flight=ResponsesInFlight(10),
            budget=GetBudget(100),
        )
        response = await client.create(CreateRequest(model="scenario:echo", input="Go on.", background=True))
        wait = AwaitResponse(response_id=response.id, created_at=datetime.now(UTC))
        assert (await environment.run(activities.await_response, wait)).is_finished
    return told


async def test_a_wait_beats_within_its_timeout_while_a_get_is_slow(emulator: RunningEmulator) -> None:
    """Else every slow answer of the provider would look like a lost worker."""
    await emulator.control.add_fault(Fault(operation=Operation.RETRIEVE, effect=Delay(seconds=1)))
    told = await waited_for(emulator)
    assert len(told) >= 3
    assert max(each.after for each in told) < HEARTBEAT_TIMEOUT.total_seconds()


async def test_an_attempt_goes_on_with_the_preview_of_the_one_before(emulator: RunningEmulator) -> None:
    earlier = Beat(phase=CreatePhase.CREATED, response_id="resp_1", preview="What a lost worker had seen.")
    told = await waited_for(emulator, earlier=earlier)
    assert told[0].beat.preview == "What a lost worker had seen."
