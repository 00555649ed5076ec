"""Jobs seen from outside: with a worker, without one, without a server."""

import asyncio
import secrets
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio import workflow
from temporalio.api.common.v1 import Payload
from temporalio.client import (
    Client,
    Interceptor,
    OutboundInterceptor,
    SignalWorkflowInput,
    TerminateWorkflowInput,
)
from temporalio.common import RawValue
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.service import RetryConfig
from temporalio.worker import Worker

from durable_responses.emulator.model.scenarios import Scenario
from durable_responses.emulator.model.script import FunctionCallStep, Script, Text
from durable_responses.jobs.job_errors import (
    InvalidInput,
    JobExists,
    JobNotFound,
    KeyReused,
    TemporalNotAnswering,
    TemporalRefused,
)
from durable_responses.jobs.job_view import JobView, Source
from durable_responses.jobs.jobs import Jobs, next_pause
from durable_responses.provider import Provider
from durable_responses.settings import Settings
from durable_responses.worker.arguments import Queue
from durable_responses.workflows.contract import (
    AgentInput,
    AgentResult,
    AgentState,
    AgentStatus,
    AgentUsage,
    TransportChoice,
)
from durable_responses.workflows.ledger import Ledger
from tests.jobs.conftest import seen
from tests.support.deployment import until
from tests.support.emulator_control import RunningEmulator
from tests.support.processes import TemporalServer
from tests.support.runs import Agents, working

ENCRYPTED = RawValue(Payload(metadata={"encoding": b"binary/encrypted"}, data=b"secret"))
ANSWERS = 3.0  # seconds in which a front end answers without a worker


def asks(scenario: str, **fields: Any) -> AgentInput:
    """A background run that the emulator answers by this scenario."""
    fields = {"transport": TransportChoice.BACKGROUND, **fields}
    return AgentInput(task="Do it.", metadata={"scenario": scenario}, **fields)


# --- with a worker -----------------------------------------------------------------------------------------------


async def test_a_started_job_is_followed_to_its_result(agents: Agents, jobs: Jobs) -> None:
    """A18: queued or running while it runs, then completed, and that is the last view."""
    job_id = await jobs.start(asks('calls?iterations=1&tool=add&arguments={"a":1,"b":2}'))
    views = [view async for view in jobs.watch(job_id)]
    assert {view.state.status for view in views[:-1]} <= {AgentStatus.QUEUED, AgentStatus.RUNNING}
    assert [view.is_closed for view in views] == [False] * (len(views) - 1) + [True]
    assert views[-1].result is not None
    assert views[-1].result.output_text == "All calls are answered."


async def test_the_worker_tells_the_state_of_an_open_run(worker: None, jobs: Jobs) -> None:
    """A19: the response id is known while the response is being waited for."""
    job_id = await jobs.start(asks("think?seconds=60"))
    view = await seen(jobs, job_id, lambda view: view.state.response_id)
    assert (view.source, view.worker_running, view.state.status) == (Source.WORKER, True, AgentStatus.RUNNING)
    await jobs.cancel(job_id)


async def test_the_text_that_is_being_written_is_seen_before_the_response_ends(
    worker: None, jobs: Jobs, emulator: RunningEmulator
) -> None:
    await emulator.control.add_scenario(
        Scenario(name="slow", responses=[Script(write=60, output=[Text(text="Once upon a time " * 200)])])
    )
    job_id = await jobs.start(asks("slow", live_preview=True, heartbeat_timeout=1))
    view = await seen(jobs, job_id, lambda view: view.state.preview)
    assert view.state.preview.startswith("Once upon")
    assert not view.is_closed
    await jobs.cancel(job_id)


async def test_cancelling_waits_for_the_end(worker: None, jobs: Jobs) -> None:
    """A16: the reply says `cancelled` once the run has ended so."""
    job_id = await jobs.start(asks("think?seconds=60"))
    await seen(jobs, job_id, lambda view: view.state.response_id)
    view = await jobs.cancel(job_id, "no longer needed")
    assert view.result is not None
    assert (view.result.status, view.result.cancel_reason) == (AgentStatus.CANCELLED, "no longer needed")


async def test_a_run_that_takes_no_more_signals_is_cancelled_all_the_same(
    provider: Provider, settings: Settings, tmp_path: Path
) -> None:
    """A16: a run takes 10,000 signals (here five) in all, and refuses the next one, a cancel too."""
    few = "--dynamic-config-value=history.maximumSignalsPerExecution=5"
    async with await TemporalServer.on(tmp_path, few) as server:
        client = await server.client()
        jobs = Jobs(client, settings.task_queue)
        job_id = await jobs.start(asks("think?seconds=60"))
        for number in range(5):
            await client.get_workflow_handle(job_id).signal("steer", f"text {number}")
        asked = await jobs.cancel(job_id)
        assert asked.state.cancel_requested
        assert (await jobs.cancel(job_id)).state.cancel_requested  # which Temporal's own cancel takes once
        async with working(client, provider, settings):
            assert (await jobs.result(job_id)).status is AgentStatus.CANCELLED


class EndsBeforeASignal(Interceptor):
    """A client whose runs end in the moment before a signal reaches them."""

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:  # noqa: A002 the SDK's name
        class Signals(OutboundInterceptor):
            async def signal_workflow(self, input: SignalWorkflowInput) -> None:  # noqa: A002 the SDK's name
                await self.next.terminate_workflow(
                    TerminateWorkflowInput(
                        id=input.id,
                        run_id=None,
                        first_execution_run_id=None,
                        reason=None,
                        args=[],
                        rpc_metadata={},
                        rpc_timeout=None,
                    )
                )
                await self.next.signal_workflow(input)

        return Signals(next)


async def test_a_job_that_ends_while_it_is_steered_has_ended_and_is_not_unknown(
    client: Client, settings: Settings
) -> None:
    config = client.config()
    config["interceptors"] = [EndsBeforeASignal()]
    jobs = Jobs(Client(**config), settings.task_queue)
    job_id = await jobs.start(asks("think?seconds=60"))
    with pytest.raises(InvalidInput, match=f"Job {job_id} has ended: continue it instead"):
        await jobs.steer(job_id, "Be brief.")


async def test_cancelling_a_finished_job_gives_its_real_status(worker: None, jobs: Jobs) -> None:
    """A16"""
    job_id = await jobs.start(asks("echo"))
    await jobs.result(job_id)
    assert (await jobs.cancel(job_id)).state.status is AgentStatus.COMPLETED


async def test_a_run_that_temporal_cancelled_reads_as_cancelled(worker: None, jobs: Jobs, client: Client) -> None:
    """A18: it closes as Canceled, and has the same status as by signal."""
    job_id = await jobs.start(asks("think?seconds=60"))
    await seen(jobs, job_id, lambda view: view.state.response_id)
    await client.get_workflow_handle(job_id).cancel()
    result = await jobs.result(job_id)
    assert (result.status, result.iterations) == (AgentStatus.CANCELLED, 1)


async def test_a_failed_run_tells_its_error(worker: None, jobs: Jobs) -> None:
    """A18: it closes as Failed; the result is in the details of the failure."""
    job_id = await jobs.start(asks("no_such_scenario"))
    result = await jobs.result(job_id)
    assert result.status is AgentStatus.FAILED
    assert result.error is not None
    assert result.iterations == 1


# --- ids ---------------------------------------------------------------------------------------------------------


async def test_one_idempotency_key_is_one_job_running_or_finished(worker: None, jobs: Jobs) -> None:
    """A14: with its real status."""
    key, request = secrets.token_hex(), asks("think?seconds=60")
    first = await jobs.start(request, idempotency_key=key)
    assert await jobs.start(request, idempotency_key=key) == first
    await jobs.cancel(first)
    assert await jobs.start(request, idempotency_key=key) == first
    assert (await jobs.state(first)).state.status is AgentStatus.CANCELLED


async def test_an_idempotency_key_with_other_arguments_is_refused(jobs: Jobs, client: Client) -> None:
    """A14: the first caller would get somebody else's answer, or the second one an old one."""
    key = secrets.token_hex()
    first = await jobs.start(asks("echo"), idempotency_key=key)
    with pytest.raises(KeyReused, match=first):
        await jobs.start(asks("think?seconds=60"), idempotency_key=key)
    await client.get_workflow_handle(first).terminate()
    with pytest.raises(KeyReused, match=first):
        await jobs.start(asks("think?seconds=60"), idempotency_key=key)
    assert await jobs.start(asks("echo", max_iterations=None), idempotency_key=key) == first


async def test_without_a_key_every_start_is_a_new_job(jobs: Jobs) -> None:
    """A14"""
    assert await jobs.start(asks("echo")) != await jobs.start(asks("echo"))


async def test_a_job_id_can_be_used_once(jobs: Jobs) -> None:
    job_id = f"mine-{secrets.token_hex(4)}"
    assert await jobs.start(asks("echo"), job_id=job_id) == job_id
    with pytest.raises(JobExists, match=job_id):
        await jobs.start(asks("echo"), job_id=job_id)


@pytest.mark.parametrize("job_id", ["agent-unknown", "", "x" * 2000])
async def test_an_unknown_id_is_not_found(jobs: Jobs, job_id: str) -> None:
    """A17"""
    for look in (jobs.state, jobs.result, jobs.cancel):
        with pytest.raises(JobNotFound):
            await look(job_id)


async def test_what_temporal_refuses_is_not_taken_for_an_unknown_job(jobs: Jobs) -> None:
    with pytest.raises(InvalidInput, match="1000 bytes"):
        await jobs.start(asks("echo"), job_id="x" * 2000)
    with pytest.raises(InvalidInput, match="no such language"):
        await jobs.recent(where="no such language")


async def test_a_workflow_of_another_type_is_not_found_and_not_touched(jobs: Jobs, client: Client) -> None:
    """A17: nothing of it is told, and no signal reaches it."""
    other = await client.start_workflow("Payroll", id=f"payroll-{secrets.token_hex(4)}", task_queue="payroll")
    with pytest.raises(JobNotFound):
        await jobs.cancel(other.id)
    with pytest.raises(JobNotFound):
        await jobs.state(other.id)
    assert (await other.describe()).history_length == 2
    await other.terminate()


async def test_an_input_that_is_too_large_is_refused_before_anything_starts(jobs: Jobs) -> None:
    with pytest.raises(InvalidInput, match="files"):
        await jobs.start(AgentInput(task="x" * 3_000_000))


@pytest.mark.parametrize(
    ("memo", "shown"),
    [
        ({"task": "Read this. " * 100_000}, "Read this. Read this."),
        ({"task": {"a": ["deep"]}}, None),
        ({"\x1b[31m": 1, "task": "\x1b[31mred"}, "red"),
        ({"task": ENCRYPTED, "fingerprint": ENCRYPTED}, None),
    ],
)
async def test_a_memo_of_others_may_hold_anything(
    jobs: Jobs, client: Client, settings: Settings, memo: dict[str, Any], shown: str | None
) -> None:
    job_id = f"agent-{secrets.token_hex(8)}"
    request = asks("echo").model_dump(mode="json")
    await client.start_workflow("AgentWorkflow", request, id=job_id, task_queue=settings.task_queue, memo=memo)
    view = await jobs.state(job_id)
    assert (view.summary or "").startswith(shown or "")
    assert len(view.summary or "") <= 200
    assert await jobs.recent(limit=1)
    await client.get_workflow_handle(job_id).terminate()


async def test_a_memo_that_is_too_large_is_refused_by_name(jobs: Jobs) -> None:
    with pytest.raises(TemporalRefused, match="Memo size"):
        await jobs.start(asks("echo"), memo={"notes": "x" * 3_000_000})


# --- what a run waits for ----------------------------------------------------------------------------------------


async def test_a_run_without_a_free_slot_says_so_everywhere(
    client: Client, provider: Provider, settings: Settings
) -> None:
    one = settings.model_copy(update={"max_responses_in_flight": 1})
    async with working(client, provider, one):
        jobs = Jobs(client, settings.task_queue)
        first = await jobs.start(asks("think?seconds=60"))
        await seen(jobs, first, lambda view: view.state.response_id)
        second = await jobs.start(asks("echo"))
        view = await seen(jobs, second, lambda view: view.state.waiting)
        listed = {view.job_id: view for view in await jobs.recent()}
        state = await client.get_workflow_handle(second).query("progress", result_type=AgentState)
        assert state.waiting is not None
        assert state.waiting.what == "the create waits for a free slot or for the provider's answer"
        for waiting in (view.state.waiting, listed[second].state.waiting):
            assert waiting is not None
            assert (waiting.what, waiting.attempt) == ("no free slot for the create", 0)
        assert (view.state.status, listed[first].state.waiting) == (AgentStatus.QUEUED, None)
        await jobs.cancel(first)
        assert (await jobs.result(second)).status is AgentStatus.COMPLETED
        assert (await jobs.state(second)).state.waiting is None


async def test_a_call_that_no_worker_takes_is_said_to_wait(
    client: Client, provider: Provider, settings: Settings, emulator: RunningEmulator
) -> None:
    call = FunctionCallStep(name="add", arguments={"a": 1, "b": 2})
    await emulator.control.add_scenario(Scenario(name="calling", responses=[Script(output=[call])]))
    others = [queue for queue in Queue if queue is not Queue.TOOLS]
    async with working(client, provider, settings, queues=others):
        jobs = Jobs(client, settings.task_queue)
        job_id = await jobs.start(asks("calling"))
        view = await seen(jobs, job_id, lambda view: view.state.waiting)
        assert view.state.waiting is not None
        assert view.state.waiting.what == "no free slot for the function calls"
        await jobs.cancel(job_id)


# --- without a worker --------------------------------------------------------------------------------------------


async def test_without_a_worker_a_job_is_queued_and_says_so(jobs: Jobs) -> None:
    """A18, A21: from the server's records, at once."""
    job_id = await jobs.start(asks("echo", model="gpt-5.4", max_iterations=7))
    began = time.monotonic()
    view = await jobs.state(job_id)
    assert time.monotonic() - began < ANSWERS
    assert (view.state.status, view.source, view.worker_running) == (AgentStatus.QUEUED, Source.SERVER, False)
    assert (view.state.model, view.state.max_iterations, view.summary) == ("gpt-5.4", 7, "Do it.")


async def test_without_a_worker_a_cancel_is_kept_for_the_next_one(
    jobs: Jobs, client: Client, provider: Provider, settings: Settings
) -> None:
    """A16: no waiting for what nobody can do now."""
    job_id = await jobs.start(asks("think?seconds=60"))
    began = time.monotonic()
    view = await jobs.cancel(job_id)
    assert time.monotonic() - began < ANSWERS
    assert (view.state.status, view.state.cancel_requested, view.worker_running) == (AgentStatus.QUEUED, True, False)
    assert (await jobs.state(job_id)).state.cancel_requested
    async with working(client, provider, settings):
        assert (await jobs.result(job_id)).status is AgentStatus.CANCELLED


async def test_when_the_worker_is_lost_the_records_tell_where_the_run_stands(
    jobs: Jobs, client: Client, provider: Provider, settings: Settings, emulator: RunningEmulator
) -> None:
    """A19, A20: iteration, response id and text are there without a worker."""
    text = "Once upon a time " * 200
    await emulator.control.add_scenario(Scenario(name="slow", responses=[Script(write=60, output=[Text(text=text)])]))
    async with working(client, provider, settings):
        job_id = await jobs.start(asks("slow", live_preview=True, heartbeat_timeout=1))
        known = await seen(jobs, job_id, lambda view: view.state.preview)
    view = await jobs.state(job_id)
    assert (view.source, view.worker_running) == (Source.SERVER, False)
    assert (view.state.status, view.state.iteration) == (AgentStatus.RUNNING, 1)
    assert view.state.response_id == known.state.response_id
    assert view.state.preview.startswith("Once upon")
    async with working(client, provider, settings):
        await jobs.cancel(job_id)


async def test_a_finished_job_is_read_without_a_worker(
    jobs: Jobs, client: Client, provider: Provider, settings: Settings
) -> None:
    """A20: result, usage and status outlive every worker."""
    async with working(client, provider, settings):
        job_id = await jobs.start(asks("echo"))
        result = await jobs.result(job_id)
    view = await jobs.state(job_id)
    assert view.result == result
    assert (view.state.status, view.state.usage, view.state.preview) == (AgentStatus.COMPLETED, result.usage, "Do it.")


async def test_a_terminated_run_reads_as_failed_with_the_reason(jobs: Jobs, client: Client) -> None:
    """A18"""
    job_id = await jobs.start(asks("echo"))
    await client.get_workflow_handle(job_id).terminate(reason="an operator said so")
    view = await jobs.state(job_id)
    assert view.state.status is AgentStatus.FAILED
    assert view.state.error is not None
    assert "an operator said so" in view.state.error.message


async def test_a_run_that_temporal_timed_out_reads_as_failed(client: Client, jobs: Jobs) -> None:
    """A18"""
    handle = await client.start_workflow(
        "AgentWorkflow",
        asks("echo"),
        id=f"late-{secrets.token_hex(4)}",
        task_queue="nobody",
        execution_timeout=timedelta(seconds=1),
    )
    result = await jobs.result(handle.id)
    assert result.error is not None
    assert (result.status, result.error.type) == (AgentStatus.FAILED, "timed_out")


async def all_listed(jobs: Jobs, settings: Settings, number: int) -> list[JobView]:
    """The runs of a task queue, once the server lists so many: a moment after they were started."""

    async def listed() -> list[JobView] | None:
        views = await jobs.recent(where=f"TaskQueue = '{settings.task_queue}'")
        return views if len(views) == number else None

    return await until(listed)


async def test_the_list_tells_statuses_without_a_worker(
    jobs: Jobs, client: Client, provider: Provider, settings: Settings
) -> None:
    """A18, A20: the newest first, finished ones with how they really ended."""
    async with working(client, provider, settings):
        finished = await jobs.start(asks("echo"))
        await jobs.result(finished)
    waiting = await jobs.start(asks("echo"))
    await all_listed(jobs, settings, 2)
    began = time.monotonic()
    listed = {view.job_id: view for view in await jobs.recent(where=f"TaskQueue = '{settings.task_queue}'")}
    assert time.monotonic() - began < ANSWERS
    assert list(listed) == [waiting, finished]
    assert listed[finished].state.status is AgentStatus.COMPLETED
    assert listed[waiting].state.status is AgentStatus.QUEUED


@pytest.mark.parametrize(
    "arguments",
    [
        [],
        [None],
        ["just text"],
        [b"bytes"],
        [{"task": ["no text"]}],
        [{"task": "Do it."}, "no ledger"],
        [ENCRYPTED],
    ],
    ids=["nothing", "null", "text", "bytes", "wrong type", "two arguments", "encrypted"],
)
async def test_a_run_that_was_started_with_anything_is_listed_beside_the_others(
    jobs: Jobs, client: Client, settings: Settings, arguments: list[Any]
) -> None:
    """A18: anybody may start one, from the Temporal CLI for instance; it fails once there is a worker."""
    well = await jobs.start(asks("echo"))
    odd = f"odd-{secrets.token_hex(4)}"
    await client.start_workflow(
        "AgentWorkflow", args=arguments, id=odd, task_queue=settings.task_queue, memo={"note": ENCRYPTED}
    )
    listed = await all_listed(jobs, settings, 2)
    assert [(view.job_id, view.state.status) for view in listed] == [
        (odd, AgentStatus.QUEUED),
        (well, AgentStatus.QUEUED),
    ]
    # Nobody will serve them, and lists of other tests show open runs first.
    for job_id in (odd, well):
        await client.get_workflow_handle(job_id).terminate()


# --- continue-as-new ---------------------------------------------------------------------------------------------


@workflow.defn(name="AgentWorkflow", sandboxed=False)
class RunsOn:
    """Stands in for an agent run that continues as new when it is told to, and ends when it is told to again."""

    def __init__(self) -> None:
        self.told = 0

    @workflow.run
    async def run(self, request: Any = None, carried: Any = None) -> AgentResult:
        if carried is None:
            await workflow.wait_condition(lambda: self.told > 0)
            usage = AgentUsage(input_tokens=5, total_tokens=5)
            state = AgentState(iteration=3, usage=usage, response_id="resp_3", started_at=workflow.now())
            workflow.continue_as_new(args=[request, Ledger(state=state)])
        await workflow.wait_condition(lambda: self.told > 0)
        return AgentResult(status=AgentStatus.COMPLETED, output_text="the end", iterations=4)

    @workflow.signal
    def go_on(self) -> None:
        self.told += 1


async def test_a_continued_run_is_one_job(jobs: Jobs, client: Client, settings: Settings) -> None:
    """A19, A20: what was carried over is told without a worker, and watching continues to the end."""
    async with Worker(client, task_queue=settings.task_queue, workflows=[RunsOn]):
        job_id = await jobs.start(asks("echo"))
        handle = client.get_workflow_handle(job_id)
        first_run = (await handle.describe()).run_id
        watching = asyncio.create_task(jobs.result(job_id))
        await handle.signal(RunsOn.go_on)
        view = await seen(jobs, job_id, lambda view: view.run_id != first_run)
        assert (view.state.iteration, view.state.response_id) == (3, "resp_3")
        assert (view.state.usage.total_tokens, view.summary) == (5, "Do it.")
        await handle.signal(RunsOn.go_on)
        assert (await watching).output_text == "the end"


# --- without a server --------------------------------------------------------------------------------------------


async def test_watching_outlives_a_restart_of_the_server(tmp_path: Path) -> None:
    """A20: while it is away, what was known is shown again as such; then the watch continues."""
    async with await TemporalServer.on(tmp_path) as server:
        jobs = Jobs(await server.client())
        job_id = await jobs.start(asks("echo"))
        watching = jobs.watch(job_id)
        assert (await anext(watching)).source is Source.SERVER
        server.kill()
        assert (await anext(watching)).source is Source.EARLIER
        await server.start()
        assert (await anext(watching)).source is Source.SERVER
        await watching.aclose()


async def test_without_a_server_the_error_says_that_the_run_is_not_lost(tmp_path: Path) -> None:
    async with await TemporalServer.on(tmp_path) as server:
        hasty = RetryConfig(max_elapsed_time_millis=300)
        client = await Client.connect(server.address, data_converter=pydantic_data_converter, retry_config=hasty)
        jobs = Jobs(client)
        job_id = await jobs.start(asks("echo"))
        watching = jobs.watch(job_id, patience=0)
        await anext(watching)
        server.kill()
        began = time.monotonic()
        with pytest.raises(TemporalNotAnswering, match="Runs are safe"):
            await jobs.state(job_id)
        assert time.monotonic() - began < ANSWERS
        with pytest.raises(TemporalNotAnswering):
            await anext(watching)
        with pytest.raises(TemporalNotAnswering, match="look for job do-it-"):
            await jobs.start(asks("echo"))


# --- rules -------------------------------------------------------------------------------------------------------


def test_a_run_is_looked_at_less_and_less_while_nothing_happens() -> None:
    pauses = [0.5]
    while pauses[-1] < 3:
        pauses.append(next_pause(pauses[-1], changed=False))
    assert pauses == sorted(set(pauses))
    assert next_pause(3.0, changed=False) == 3.0
    assert next_pause(3.0, changed=True) == 0.5
