"""What the heartbeats of a create say before, between and after its POSTs, so that no other attempt repeats one."""

import time
from dataclasses import replace
from pathlib import Path

import pytest
from temporalio.exceptions import ApplicationError
from temporalio.testing import ActivityEnvironment

from activities.admission import ResponsesInFlight
from activities.building import RequestBuilder
from activities.creating import response_of_earlier_attempt
from activities.messages import Beat, CreatePhase, CreateResponse, FailureType, ModelOptions, Opening
from activities.responses import ResponsesActivities
from activities.waiting import GetBudget
from emulator.faults import Answer, Fault, Operation
from responses_api.client import ResponsesClient
from tests.emulator_control import RunningEmulator
from tools.registry import Registry


class Beats(ActivityEnvironment):
    """Runs activities, and keeps their heartbeats with the time of each (seconds since the epoch)."""

    def __init__(self, *, attempt: int = 1, earlier: Beat | None = None) -> None:
        super().__init__()
        details = [] if earlier is None else [earlier]
        self.info = replace(self.info, attempt=attempt, heartbeat_details=details)
        self.told: list[tuple[float, Beat]] = []
        self.on_heartbeat = self._keep

    def _keep(self, *details: Beat) -> None:
        self.told += [(time.time(), beat) for beat in details]

    @property
    def phases(self) -> list[CreatePhase | None]:
        return [beat.phase for _, beat in self.told]


async def create(environment: ActivityEnvironment, emulator: RunningEmulator) -> str:
    """Run `create_response` against the emulator; returns the response's id."""
    async with ResponsesClient(emulator.base_url, None) as client:
        activities = ResponsesActivities(
            client=client,
            requests=RequestBuilder(client, Registry([]), "gpt-5.4", [Path.cwd()]),
            in_flight=ResponsesInFlight(10),
            budget=GetBudget(100),
        )
        request = CreateResponse(options=ModelOptions(), iteration=1, opening=Opening(task="Go on."))
        return (await environment.run(activities.create_response, request)).response_id


async def test_the_first_beat_of_a_create_says_that_it_is_being_sent(emulator: RunningEmulator) -> None:
    """Anything else could still be the last word at the server when the worker dies with the POST under way."""
    beats = Beats()
    await create(beats, emulator)
    assert beats.phases == [CreatePhase.POSTING, CreatePhase.CREATED]


async def test_a_further_post_waits_for_its_beat_to_arrive(emulator: RunningEmulator) -> None:
    await emulator.control.add_fault(Fault(operation=Operation.CREATE, effect=Answer(status=503)))
    beats = Beats()
    await create(beats, emulator)
    assert beats.phases == [CreatePhase.POSTING, CreatePhase.REJECTED, CreatePhase.POSTING, CreatePhase.CREATED]
    (created,) = await emulator.control.responses()
    announced = beats.told[2][0]
    assert created.created_at - announced > 0.15


async def test_an_attempt_after_a_rejected_one_waits_for_its_beat_to_arrive(emulator: RunningEmulator) -> None:
    beats = Beats(attempt=2, earlier=Beat(phase=CreatePhase.REJECTED))
    await create(beats, emulator)
    (created,) = await emulator.control.responses()
    announced = next(at for at, beat in beats.told if beat.phase is CreatePhase.POSTING)
    assert created.created_at - announced > 0.15


async def test_an_attempt_that_finds_an_id_creates_nothing(emulator: RunningEmulator) -> None:
    earlier = Beat(phase=CreatePhase.CREATED, response_id="resp_1")
    assert await create(Beats(attempt=2, earlier=earlier), emulator) == "resp_1"
    assert await emulator.control.responses() == []


@pytest.mark.parametrize("beat", [None, Beat(phase=CreatePhase.POSTING)])
def test_an_attempt_whose_forerunner_may_have_sent_does_not_send(beat: Beat | None) -> None:
    with pytest.raises(ApplicationError) as caught:
        response_of_earlier_attempt(beat, attempt=2)
    assert caught.value.type == FailureType.CREATE_AMBIGUOUS
    assert caught.value.non_retryable
