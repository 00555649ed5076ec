"""Answers to what a run asks: taken, noted, refused, or too late."""

from datetime import UTC, datetime

import pytest
from temporalio.client import (
    Client,
    Interceptor,
    OutboundInterceptor,
    StartWorkflowUpdateInput,
    WorkflowUpdateHandle,
    WorkflowUpdateRPCTimeoutOrCancelledError,
)

from durable_responses.emulator.faults import Answer, Fault, Operation
from durable_responses.jobs.job_errors import AnswerRefused, JobNotFound
from durable_responses.jobs.job_view import JobView, Source
from durable_responses.jobs.jobs import Jobs
from durable_responses.jobs.responding import Taken, as_meant, by_signal, by_update, request_meant, update_id_of
from durable_responses.provider import Provider
from durable_responses.settings import Settings
from durable_responses.workflows.contract import (
    AgentInput,
    AgentState,
    AgentStatus,
    InputRequest,
    InputRequestKind,
    Respond,
    TransportChoice,
)
from tests.jobs.conftest import seen
from tests.support.emulator_control import RunningEmulator
from tests.support.runs import working

QUOTA = Answer(status=429, code="insufficient_quota", error_type="insufficient_quota", message="No credit is left.")


async def waiting(jobs: Jobs, emulator: RunningEmulator) -> tuple[str, InputRequest]:
    """A job that the provider has refused to go on with, and what it asks."""
    await emulator.control.add_fault(Fault(operation=Operation.CREATE, effect=QUOTA, skip=1, times=1))
    job_id = await jobs.start(
        AgentInput(
            task="Do it.",
            transport=TransportChoice.BACKGROUND,
            metadata={"scenario": 'calls?iterations=2&tool=add&arguments={"a":1,"b":2}'},
        )
    )
    view = await seen(jobs, job_id, lambda view: view.state.status is AgentStatus.INPUT_REQUIRED)
    [request] = view.state.input_requests
    return job_id, request


async def test_an_answer_is_taken_and_the_run_goes_on(worker: None, jobs: Jobs, emulator: RunningEmulator) -> None:
    job_id, request = await waiting(jobs, emulator)
    responded = await jobs.respond(job_id, request.id, "retry", "Ada")
    assert (responded.taken, responded.sentence) == (Taken.TAKEN, "refusal-1: answered retry by Ada.")
    assert (await jobs.result(job_id)).status is AgentStatus.COMPLETED


async def test_an_answer_without_an_id_is_for_the_only_request(
    worker: None, jobs: Jobs, emulator: RunningEmulator
) -> None:
    job_id, request = await waiting(jobs, emulator)
    responded = await jobs.respond(job_id, None, "stop")
    assert responded.request is not None
    assert responded.request.id == request.id


async def test_an_answer_that_comes_after_the_end_hears_who_has_answered(
    worker: None, jobs: Jobs, emulator: RunningEmulator
) -> None:
    job_id, request = await waiting(jobs, emulator)
    await jobs.respond(job_id, request.id, "retry", "Ada")
    await jobs.result(job_id)
    for answer in ("retry", "stop"):
        responded = await jobs.respond(job_id, request.id, answer, "Bob")
        assert responded.taken is Taken.OVER
        assert responded.sentence.startswith("refusal-1 is already over: answered retry by Ada.")


async def test_what_does_not_answer_the_request_is_refused_in_the_words_of_the_run(
    worker: None, jobs: Jobs, emulator: RunningEmulator
) -> None:
    job_id, request = await waiting(jobs, emulator)
    with pytest.raises(AnswerRefused, match='"perhaps" does not answer refusal-1: send retry or stop'):
        await jobs.respond(job_id, request.id, "perhaps")
    with pytest.raises(AnswerRefused, match="This run has no input request refusal-9; open at the moment: refusal-1"):
        await jobs.respond(job_id, "refusal-9", "retry")
    await jobs.respond(job_id, request.id, "stop")
    await jobs.result(job_id)
    with pytest.raises(AnswerRefused, match="it had no input request 'refusal-9'"):
        await jobs.respond(job_id, "refusal-9", "retry")


async def test_an_answer_to_a_job_that_nobody_knows_finds_no_job(jobs: Jobs) -> None:
    with pytest.raises(JobNotFound):
        await jobs.respond("agent-unknown", "refusal-1", "retry")


async def test_an_answer_without_a_worker_is_noted_and_taken_later(
    client: Client, provider: Provider, settings: Settings, jobs: Jobs, emulator: RunningEmulator
) -> None:
    async with working(client, provider, settings):
        job_id, request = await waiting(jobs, emulator)
    responded = await jobs.respond(job_id, request.id, "retry", "Ada")
    assert responded.taken is Taken.NOTED
    assert "the run takes it as soon as there is one" in responded.sentence
    async with working(client, provider, settings):
        result = await jobs.result(job_id)
    assert (result.status, [request.by for request in result.requests]) == (AgentStatus.COMPLETED, ["Ada"])


class LosesAnswers(Interceptor):
    """A client whose updates arrive, and that never hears of it; `sent` has their ids."""

    def __init__(self) -> None:
        self.sent: list[str | None] = []

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:  # noqa: A002 the SDK's name
        sent = self.sent

        class Updates(OutboundInterceptor):
            async def start_workflow_update(
                self,
                input: StartWorkflowUpdateInput,  # noqa: A002 the SDK's name
            ) -> WorkflowUpdateHandle[object]:
                sent.append(input.update_id)
                await self.next.start_workflow_update(input)
                raise WorkflowUpdateRPCTimeoutOrCancelledError

        return Updates(next)


async def test_an_answer_that_nobody_confirms_is_given_again_by_signal_and_counts_once(
    worker: None, client: Client, jobs: Jobs, emulator: RunningEmulator
) -> None:
    config, losing = client.config(), LosesAnswers()
    config["interceptors"] = [losing]
    job_id, request = await waiting(jobs, emulator)
    respond = Respond(id=request.id, answer="retry")
    assert await by_update(Client(**config), job_id, respond) is None
    await by_signal(client, job_id, respond)  # unless the run was quicker
    assert losing.sent == [update_id_of(job_id, respond)]
    result = await jobs.result(job_id)
    assert (result.status, [request.answer for request in result.requests]) == (AgentStatus.COMPLETED, ["retry"])


def test_the_same_answer_has_the_same_update_id_whoever_gives_it() -> None:
    answer = Respond(id="refusal-1", answer="retry", by="Ada")
    assert update_id_of("job", answer) == update_id_of("job", answer.model_copy(update={"by": "Bob"}))
    others = [("other", answer), *[("job", answer.model_copy(update=x)) for x in ({"id": "x"}, {"answer": "stop"})]]
    assert len({update_id_of(*other) for other in others} | {update_id_of("job", answer)}) == 4


def test_an_answer_without_an_id_must_be_clear() -> None:
    def asked(id_: str) -> InputRequest:
        return InputRequest(
            id=id_, kind=InputRequestKind.REFUSAL, message="?", opened_at=datetime(2026, 11, 29, tzinfo=UTC)
        )

    def view(*ids: str) -> JobView:
        state = AgentState(input_requests=[asked(id_) for id_ in ids])
        return JobView(job_id="job", run_id="1", state=state, source=Source.WORKER, worker_running=True)

    assert request_meant(view(), None) is None
    assert request_meant(view("refusal-1"), None) == "refusal-1"
    assert request_meant(view("refusal-1", "limit-2"), "limit-2") == "limit-2"
    with pytest.raises(AnswerRefused, match=r"name the id of one \(refusal-1, limit-2\)"):
        request_meant(view("refusal-1", "limit-2"), None)


@pytest.mark.parametrize(
    ("answer", "request_id", "meant"),
    [
        ('{"decision": "allow"}', "approval-1", {"decision": "allow"}),
        (' {"decision": "deny", "words": "no"}', "approval-12", {"decision": "deny", "words": "no"}),
        ('{"decision": "allow"', "approval-1", '{"decision": "allow"'),
        ("allow", "approval-1", "allow"),
        ('{"decision": "allow"}', "question-1", '{"decision": "allow"}'),
        ('{"decision": "allow"}', None, '{"decision": "allow"}'),
        (5, "approval-1", 5),
    ],
)
def test_a_decision_may_be_typed_as_json(answer: object, request_id: str | None, meant: object) -> None:
    assert as_meant(answer, request_id) == meant


@pytest.mark.parametrize("said", ["ok", "OK!", "Approved.", "yes, go ahead", " Yes  please", "sí"])
def test_what_sounds_like_leave_is_asked_about_and_denies_nothing(said: str) -> None:
    with pytest.raises(AnswerRefused, match="neither allows the call nor denies it: send allow, deny, or why not"):
        as_meant(said, "approval-1")
    assert as_meant(said, "question-1") == said


@pytest.mark.parametrize("said", ["yes", "y", "ok, but not today", "allow, but not on a Friday", "no", "not today"])
def test_what_is_clear_is_sent_as_it_is(said: str) -> None:
    assert as_meant(said, "approval-1") == said
