"""A response over the WebSocket of its run: the socket is kept, HTTP is there instead, nothing is sent twice."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pydantic import SecretStr
from temporalio.activity import ActivityCancellationDetails
from temporalio.exceptions import ApplicationError

from durable_responses.activities.admission import ResponsesInFlight
from durable_responses.activities.messages import (
    CreateResponse,
    FailureDetail,
    FailureType,
    ModelOptions,
    Opening,
    SteerOutcome,
    SteerResponse,
    SteerStatus,
    WebSocketTurn,
)
from durable_responses.activities.requests import RequestBuilder
from durable_responses.activities.websocket import CoolDown, RunSockets, WebSocketActivities
from durable_responses.emulator.faults import (
    Answer,
    BreakSocket,
    Delay,
    Effect,
    ExtraFrame,
    Fault,
    Operation,
    RefuseSteer,
    RejectChain,
)
from durable_responses.emulator.model.scenarios import Scenario
from durable_responses.emulator.model.script import Script, Text
from durable_responses.emulator.state.billing import BilledResponse
from durable_responses.emulator.state.lifecycle import Transport
from durable_responses.responses_api.client import ResponsesClient
from durable_responses.responses_api.handshake import ConnectOptions, responses_url
from durable_responses.responses_api.models import ResponseStatus
from durable_responses.responses_api.websocket_pool import WebSocketPool
from durable_responses.tools.registry import Registry
from tests.support.attempts import QUICK, Attempt, Reports
from tests.support.emulator_control import RunningEmulator

OWN_QUEUE = "agents-socket-1"
CREATE_QUEUE = "agents-create"
LONG = "write?words=400&seconds=60"


@dataclass
class Worker:
    """The WebSocket activities of one worker."""

    emulator: RunningEmulator
    activities: WebSocketActivities
    cool_down: "Seconds"

    async def turn(
        self, wanted: CreateResponse | None = None, *, queue: str = CREATE_QUEUE, attempt: Attempt | None = None
    ) -> WebSocketTurn:
        """Run `websocket_turn`."""
        attempt = attempt or Attempt()
        attempt.info = replace(attempt.info, task_queue=queue)
        return await attempt.run(self.activities.websocket_turn, wanted or asks())

    def start(
        self, attempt: Attempt, wanted: CreateResponse | None = None, *, queue: str = CREATE_QUEUE
    ) -> "asyncio.Task[WebSocketTurn]":
        """Begin `websocket_turn`."""
        return asyncio.create_task(self.turn(wanted, queue=queue, attempt=attempt))

    async def failure(self, wanted: CreateResponse | None = None, **options: Any) -> ApplicationError:
        with pytest.raises(ApplicationError) as caught:
            await self.turn(wanted, **options)
        return caught.value

    async def steer(self, text: str, steer_id: str = "steer-1") -> SteerOutcome:
        """Run `steer_response`."""
        return await Attempt().run(self.activities.steer_response, SteerResponse(id=steer_id, text=text))

    async def order(self, operation: Operation, effect: Effect, *, skip: int = 0) -> None:
        """Something goes wrong with the next such request."""
        await self.emulator.control.add_fault(Fault(operation=operation, effect=effect, skip=skip))

    async def bills(self) -> list[BilledResponse]:
        """What the emulator has counted."""
        return await self.emulator.control.responses()

    async def transports(self) -> list[Transport]:
        """How each response was asked for."""
        return [bill.transport for bill in await self.bills()]


class Seconds:
    """A clock that stands still until it is moved."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
async def worker(emulator: RunningEmulator, emulated: ResponsesClient) -> AsyncIterator[Worker]:
    clock = Seconds()
    async with WebSocketPool(ConnectOptions(max_retries=0)) as pool:
        sockets = RunSockets(pool, responses_url(emulator.base_url), SecretStr("any"), CoolDown(clock))
        activities = WebSocketActivities(
            client=emulated,
            requests=RequestBuilder(emulated, Registry([]), "gpt-5.4", []),
            in_flight=ResponsesInFlight(1),
            sockets=sockets,
            queue=OWN_QUEUE,
            cadence=QUICK,
        )
        yield Worker(emulator, activities, clock)


def asks(scenario: str = "echo", **fields: Any) -> CreateResponse:
    """A create that the emulator answers by this scenario."""
    options = ModelOptions(metadata={"scenario": scenario})
    return CreateResponse(**{"options": options, "iteration": 1, "opening": Opening(task="Go on."), **fields})


async def until(condition: Callable[[], Any]) -> None:
    async with asyncio.timeout(10):
        while not condition():
            await asyncio.sleep(0.01)


async def written(attempt: Attempt) -> None:
    """Wait until the attempt has told of some text."""
    await until(lambda: attempt.heartbeats and attempt.heartbeats[-1].preview)


# --- the socket --------------------------------------------------------------------------------------------------


async def test_a_turn_brings_its_response_over_a_socket(worker: Worker) -> None:
    turn = await worker.turn()
    assert (turn.response.status, turn.response.output_text) == ("completed", "Go on.")
    assert await worker.transports() == [Transport.WEBSOCKET]


async def test_a_turn_says_where_its_socket_is_found_again(worker: Worker) -> None:
    """W22: on the worker's own queue."""
    assert (await worker.turn()).queue == OWN_QUEUE


async def test_the_turns_of_a_run_share_a_socket(worker: Worker) -> None:
    """W22."""
    first = await worker.turn()
    wanted = asks(opening=None, texts=["And?"], previous_response_id=first.response.id)
    second = await worker.turn(wanted, queue=OWN_QUEUE)
    assert second.connection == first.connection is not None
    assert [bill.previous_response_id for bill in await worker.bills()] == [None, first.response.id]


async def test_another_run_has_another_socket(worker: Worker) -> None:
    """W21: the session is the run."""
    other = Attempt()
    other.info = replace(other.info, workflow_id="agent-2")
    assert (await worker.turn()).connection != (await worker.turn(attempt=other)).connection


async def test_what_is_asked_over_a_socket_is_stored(worker: Worker, emulated: ResponsesClient) -> None:
    """A2: the durable truth does not stay in the connection."""
    turn = await worker.turn()
    assert (await emulated.retrieve(turn.response.id)).response.output_text == "Go on."


@pytest.mark.parametrize("effect", [Answer(status=429, code="slow_down"), Answer(status=503)])
async def test_what_the_provider_turned_away_is_sent_again_on_the_same_socket(worker: Worker, effect: Effect) -> None:
    first = await worker.turn()
    await worker.order(Operation.CREATE, effect)
    second = await worker.turn()
    assert (second.response.status, second.connection) == ("completed", first.connection)


async def test_a_refused_chain_is_the_workflows_to_mend_and_leaves_the_socket_as_it_is(worker: Worker) -> None:
    """W23: the full input goes over the same socket."""
    first = await worker.turn()
    await worker.order(Operation.CREATE, RejectChain())
    error = await worker.failure(asks(opening=None, previous_response_id=first.response.id))
    assert error.type == FailureType.CHAIN_REJECTED
    assert (await worker.turn()).connection == first.connection


async def test_a_socket_that_has_reached_its_limit_is_replaced_and_the_request_sent_again(worker: Worker) -> None:
    """W23."""
    first = await worker.turn()
    refusal = Answer(status=400, code="websocket_connection_limit_reached")
    await worker.order(Operation.CREATE, refusal)
    second = await worker.turn()
    assert second.response.status == "completed"
    assert second.connection != first.connection
    assert await worker.transports() == [Transport.WEBSOCKET] * 2


# --- HTTP, where no socket can be had ----------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 404, 426, 429, 500, 503])
async def test_a_refused_upgrade_is_followed_by_http_in_the_same_attempt(worker: Worker, status: int) -> None:
    """W5: nothing was sent yet."""
    await worker.order(Operation.UPGRADE, Answer(status=status))
    turn = await worker.turn()
    assert (turn.response.status, turn.queue, turn.connection) == ("completed", None, None)
    assert await worker.transports() == [Transport.HTTP]


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_key_is_not_tried_over_http(worker: Worker, status: int) -> None:
    """A7."""
    await worker.order(Operation.UPGRADE, Answer(status=status, message="You may not."))
    assert (await worker.failure()).type == FailureType.AUTHENTICATION_FAILED
    assert await worker.bills() == []


async def test_after_a_failure_the_socket_is_left_alone_for_a_while(worker: Worker) -> None:
    await worker.order(Operation.UPGRADE, Answer(status=503))
    await worker.turn()
    await worker.turn()
    worker.cool_down.now += 30
    await worker.turn()
    assert await worker.transports() == [Transport.HTTP, Transport.HTTP, Transport.WEBSOCKET]


async def test_a_turn_that_the_provider_cut_is_followed_by_http(worker: Worker) -> None:
    """A server that takes upgrades but not turns must not cost one response after the other."""
    await worker.order(Operation.TURN, BreakSocket(after_events=3))
    await worker.failure(asks(LONG))
    await worker.turn()
    assert await worker.transports() == [Transport.WEBSOCKET, Transport.HTTP]


# --- broken after it was sent ------------------------------------------------------------------------------------


async def test_a_response_that_finishes_although_its_socket_broke_is_used(worker: Worker) -> None:
    """W23: with `store: true` it is read by id."""
    await worker.order(Operation.TURN, BreakSocket(after_events=3, survives=True))
    turn = await worker.turn()
    assert (turn.response.status, turn.response.output_text) == ("completed", "Go on.")
    assert len(await worker.bills()) == 1


async def test_a_response_that_died_with_its_socket_is_lost(worker: Worker) -> None:
    """W23: and named, never silently generated again."""
    await worker.order(Operation.TURN, BreakSocket(after_events=3))
    error = await worker.failure(asks(LONG))
    [bill] = await worker.bills()
    assert (error.type, error.non_retryable) == (FailureType.RESPONSE_LOST, True)
    assert error.details == (FailureDetail(response_id=bill.id),)


async def test_a_socket_that_breaks_before_the_id_is_known_makes_an_ambiguous_create(worker: Worker) -> None:
    """W23, A27."""
    await worker.order(Operation.TURN, BreakSocket(after_events=0, survives=True))
    error = await worker.failure()
    assert (error.type, len(await worker.bills())) == (FailureType.CREATE_AMBIGUOUS, 1)


async def test_an_error_in_the_middle_of_a_response_is_looked_up(worker: Worker) -> None:
    """W14, W23: whatever it says, the response has an id."""
    error = {"type": "error", "status": 429, "error": {"code": "slow_down", "message": "Not so fast."}}
    await worker.order(Operation.TURN, ExtraFrame(after_events=2, text=json.dumps(error)))
    response = (await worker.turn(asks(LONG))).response
    [bill] = await worker.bills()
    assert (response.id, response.status, response.error and response.error.code) == (bill.id, "failed", "slow_down")


# --- a response that the run has lost sight of -------------------------------------------------------------------


async def test_a_lost_response_that_has_finished_is_used(worker: Worker) -> None:
    """W23, A20: nothing is created before it was looked up."""
    first = await worker.turn()
    turn = await worker.turn(asks(lost_response_id=first.response.id))
    assert turn.response == first.response
    assert len(await worker.bills()) == 1


async def test_a_lost_response_that_was_cut_off_is_lost(worker: Worker) -> None:
    attempt = Attempt()
    turn = worker.start(attempt, asks(LONG))
    await written(attempt)
    attempt.cancel()
    lost = (await turn).response.id
    error = await worker.failure(asks(lost_response_id=lost))
    assert (error.type, error.details) == (FailureType.RESPONSE_LOST, (FailureDetail(response_id=lost),))


# --- stopped -----------------------------------------------------------------------------------------------------


async def test_a_cancel_hangs_up_and_keeps_the_text_so_far(worker: Worker, reports: Reports) -> None:
    """W19, A16: the provider sees that nobody waits."""
    attempt = Attempt(reports=reports)
    turn = worker.start(attempt, asks(LONG))
    await written(attempt)
    attempt.cancel()
    record = (await turn).response
    assert record.status == "cancelled"
    assert record.output_text.startswith("word1 ")
    assert [bill.status for bill in await worker.bills()] == [ResponseStatus.CANCELLED]


async def test_a_socket_that_was_left_in_the_middle_is_never_used_again(worker: Worker, reports: Reports) -> None:
    """W19."""
    attempt = Attempt(reports=reports)
    cut = worker.start(attempt, asks(LONG))
    await written(attempt)
    attempt.cancel()
    assert (await worker.turn()).connection != (await cut).connection


async def test_a_cancel_of_ours_is_no_failure_of_the_socket(worker: Worker, reports: Reports) -> None:
    attempt = Attempt(reports=reports)
    cut = worker.start(attempt, asks(LONG))
    await written(attempt)
    attempt.cancel()
    await cut
    await worker.turn()
    assert await worker.transports() == [Transport.WEBSOCKET] * 2


async def test_the_deadline_cuts_a_turn_off_with_its_text_so_far(worker: Worker, reports: Reports) -> None:
    """A6."""
    deadline = datetime.now(UTC) + timedelta(seconds=0.5)
    turn = await worker.turn(asks(LONG, deadline=deadline), attempt=Attempt(reports=reports))
    assert turn.response.status == "in_progress"
    assert turn.response.output_text.startswith("word1 ")


async def test_a_worker_that_shuts_down_tells_which_response_it_leaves(worker: Worker, reports: Reports) -> None:
    """A20: no second attempt would know."""
    attempt = Attempt(reports=reports)
    turn = worker.start(attempt, asks(LONG))
    await written(attempt)
    attempt.cancel(ActivityCancellationDetails(worker_shutdown=True))
    with pytest.raises(ApplicationError) as caught:
        await turn
    [bill] = await worker.bills()
    assert caught.value.type == FailureType.TURN_INTERRUPTED
    assert caught.value.details == (FailureDetail(response_id=bill.id),)


async def test_a_worker_that_shuts_down_before_the_id_is_known_leaves_an_ambiguous_create(worker: Worker) -> None:
    """A27."""
    await worker.order(Operation.CREATE, Delay(seconds=60))
    attempt = Attempt()
    turn = worker.start(attempt)
    await until(lambda: attempt.heartbeats)
    attempt.cancel(ActivityCancellationDetails(worker_shutdown=True))
    with pytest.raises(ApplicationError) as caught:
        await turn
    assert caught.value.type == FailureType.CREATE_AMBIGUOUS


# --- room among the responses in flight --------------------------------------------------------------------------


async def test_a_turn_on_the_own_queue_counts_against_the_limit_while_it_lasts(
    worker: Worker, reports: Reports
) -> None:
    """A21."""
    attempt = Attempt(reports=reports)
    turn = worker.start(attempt, asks(LONG), queue=OWN_QUEUE)
    await written(attempt)
    assert len(worker.activities.in_flight) == 1
    attempt.cancel()
    await turn
    assert len(worker.activities.in_flight) == 0


async def test_a_turn_on_the_create_queue_has_its_slot_already(worker: Worker) -> None:
    assert worker.activities.in_flight.try_permit()
    assert (await worker.turn()).response.status == "completed"


async def test_a_turn_on_the_own_queue_does_not_wait_for_room(worker: Worker) -> None:
    """A21: the create queue is where others wait."""
    assert worker.activities.in_flight.try_permit()
    assert (await worker.failure(queue=OWN_QUEUE)).type == FailureType.NO_ROOM
    assert await worker.bills() == []
    worker.activities.in_flight.give_back()
    assert (await worker.turn(queue=OWN_QUEUE)).response.status == "completed"


# --- sent ahead --------------------------------------------------------------------------------------------------


async def test_a_warm_up_is_sent_ahead_and_continued_from(worker: Worker) -> None:
    """W12."""
    turn = await worker.turn(asks(warm_up=True))
    warm_up, first = await worker.bills()
    assert (first.id, first.previous_response_id) == (turn.response.id, warm_up.id)
    assert (await worker.emulator.control.billing()).counts.generations == 1


async def test_a_run_that_continues_another_response_is_warmed_up_beside_it(worker: Worker) -> None:
    earlier = (await worker.turn()).response.id
    await worker.turn(asks(warm_up=True, previous_response_id=earlier))
    assert (await worker.bills())[-1].previous_response_id == earlier


@pytest.mark.parametrize("effect", [Answer(status=400), Answer(status=500), BreakSocket(after_events=1)])
async def test_a_warm_up_that_fails_is_gone_without(worker: Worker, effect: Effect) -> None:
    operation = Operation.TURN if isinstance(effect, BreakSocket) else Operation.CREATE
    await worker.order(operation, effect)
    turn = await worker.turn(asks(warm_up=True))
    assert turn.response.status == "completed"
    assert (await worker.bills())[-1].previous_response_id is None


async def test_what_was_turned_away_after_a_warm_up_is_not_warmed_up_again(worker: Worker) -> None:
    await worker.order(Operation.CREATE, Answer(status=503), skip=1)
    await worker.turn(asks(warm_up=True))
    assert len(await worker.bills()) == 2


# --- texts -------------------------------------------------------------------------------------------------------


async def test_beats_say_where_texts_for_the_response_are_taken(worker: Worker, reports: Reports) -> None:
    attempt = Attempt(reports=reports)
    turn = worker.start(attempt, asks(LONG))
    await until(lambda: reports.told)
    attempt.cancel()
    await turn
    assert (attempt.heartbeats[-1].queue, reports.told[0].queue) == (OWN_QUEUE, OWN_QUEUE)


async def test_a_response_over_http_takes_no_texts(worker: Worker, reports: Reports) -> None:
    await worker.order(Operation.UPGRADE, Answer(status=426))
    attempt = Attempt(reports=reports)
    turn = worker.start(attempt, asks(LONG))
    await written(attempt)
    assert (await worker.steer("Be brief.")).status is SteerStatus.FAILED
    attempt.cancel()
    await turn
    assert attempt.heartbeats[-1].queue is None


async def steered(worker: Worker, reports: Reports, scenario: str) -> tuple[SteerOutcome, WebSocketTurn]:
    """A text is sent into a response under way: what is said of it at once, and how the turn ends."""
    attempt = Attempt(reports=reports)
    turn = worker.start(attempt, asks(scenario))
    await until(lambda: attempt.heartbeats and attempt.heartbeats[-1].response_id)
    return await worker.steer("Be brief."), await asyncio.wait_for(turn, 20)


async def test_an_accepted_text_ends_the_response_and_its_successor_is_the_turns(
    worker: Worker, reports: Reports
) -> None:
    """The response that was cut short is reported, too: it has cost tokens."""
    turns = [Script(output=[Text(text="Long. " * 1000)], write=60), Script(output=[Text(text="Brief.")])]
    await worker.emulator.control.add_scenario(Scenario(name="long", responses=turns))
    attempt = Attempt(reports=reports)
    turn = worker.start(attempt, asks("long"))
    await written(attempt)
    outcome, ended = await worker.steer("Be brief."), await turn
    first, successor = await worker.bills()
    assert outcome == SteerOutcome(id="steer-1", status=SteerStatus.ACCEPTED)
    assert (ended.response.id, ended.response.output_text) == (successor.id, "Brief.")
    assert [(response.id, response.status) for response in ended.superseded] == [(first.id, "incomplete")]
    assert ended.steers == [outcome]


async def test_a_text_that_is_refused_is_handed_back(worker: Worker, reports: Reports) -> None:
    await worker.order(Operation.STEER, RefuseSteer(code="steering_not_supported", message="Not this model."))
    outcome, turn = await steered(worker, reports, "think?seconds=0.5")
    assert outcome == SteerOutcome(id="steer-1", status=SteerStatus.FAILED, reason="Not this model.")
    assert (turn.superseded, turn.steers) == ([], [outcome])


async def test_a_text_that_is_refused_after_all_is_failed_at_the_end_of_the_turn(
    worker: Worker, reports: Reports
) -> None:
    await worker.order(Operation.STEER, RefuseSteer(after_acceptance=True, message="Too late."))
    _, turn = await steered(worker, reports, "think?seconds=0.5")
    assert turn.steers == [SteerOutcome(id="steer-1", status=SteerStatus.FAILED, reason="Too late.")]


async def test_a_text_that_has_to_wait_for_answers_is_pending(worker: Worker, reports: Reports) -> None:
    outcome, turn = await steered(worker, reports, "calls?tool=add&think=0.5")
    assert outcome.status is SteerStatus.ACCEPTED
    assert [steer.status for steer in turn.steers] == [SteerStatus.PENDING]
    assert turn.response.function_calls


async def test_a_text_for_a_run_that_has_no_response_under_way_is_handed_back(worker: Worker) -> None:
    assert (await worker.steer("Be brief.")).status is SteerStatus.FAILED
    await worker.turn()
    assert (await worker.steer("Be brief.")).status is SteerStatus.FAILED


async def test_what_became_of_a_text_is_unknown_when_the_turn_is_lost_and_read_by_id(
    worker: Worker, reports: Reports
) -> None:
    """It is not sent again."""
    await worker.order(Operation.TURN, BreakSocket(after_events=3, survives=True))
    outcome, turn = await steered(worker, reports, "calls?tool=add&think=1")
    assert (outcome.status, turn.response.status) == (SteerStatus.ACCEPTED, "completed")
    assert [steer.status for steer in turn.steers] == [SteerStatus.UNKNOWN]


async def test_a_response_whose_successor_nobody_has_seen_is_lost(worker: Worker, reports: Reports) -> None:
    """The text was applied, or not: the response that it cut short is no answer."""
    await worker.order(Operation.TURN, BreakSocket(after_events=3, survives=True))
    attempt = Attempt(reports=reports)
    turn = worker.start(attempt, asks("think?seconds=30"))
    await until(lambda: attempt.heartbeats and attempt.heartbeats[-1].response_id)
    await worker.steer("Be brief.")
    with pytest.raises(ApplicationError) as caught:
        await turn
    assert caught.value.type == FailureType.RESPONSE_LOST


# --- the cool-down -----------------------------------------------------------------------------------------------


@pytest.fixture
def clock() -> Seconds:
    return Seconds()


@pytest.fixture
def cool_down(clock: Seconds) -> CoolDown:
    return CoolDown(clock)


def length(cool_down: CoolDown, clock: Seconds) -> int:
    """Let it pass; whole seconds."""
    seconds = 0
    while cool_down.is_on:
        clock.now += 1
        seconds += 1
    return seconds


def test_a_socket_is_not_left_alone_at_first(cool_down: CoolDown) -> None:
    assert not cool_down.is_on


def test_each_failure_after_a_cool_down_makes_the_next_longer_up_to_ten_minutes(
    cool_down: CoolDown, clock: Seconds
) -> None:
    lengths = []
    for _ in range(7):
        cool_down.failed()
        lengths.append(length(cool_down, clock))
    assert lengths == [30, 60, 120, 240, 480, 600, 600]


def test_the_many_failures_of_one_outage_count_once(cool_down: CoolDown, clock: Seconds) -> None:
    cool_down.failed()
    clock.now += 10
    cool_down.failed()
    assert length(cool_down, clock) == 20
    cool_down.failed()
    assert length(cool_down, clock) == 60


def test_a_success_ends_the_cool_down_and_makes_the_next_one_short(cool_down: CoolDown, clock: Seconds) -> None:
    cool_down.failed()
    length(cool_down, clock)
    cool_down.failed()
    cool_down.succeeded()
    assert not cool_down.is_on
    cool_down.failed()
    assert length(cool_down, clock) == 30


@pytest.mark.parametrize(("asked", "expected"), [(5, 30), (90, 90), (86_400, 600)])
def test_a_server_may_ask_for_a_longer_cool_down_within_bounds(
    cool_down: CoolDown, clock: Seconds, asked: float, expected: int
) -> None:
    cool_down.failed(asked)
    assert length(cool_down, clock) == expected
