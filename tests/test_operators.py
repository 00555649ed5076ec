"""What an operator does to runs by Temporal's own tools, in every phase: what was created, billed and left running.

Real processes: a Temporal server, its CLI, an emulator and a worker. Nobody waits for a response that is left running.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from temporalio.client import Client
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.worker import Replayer

from durable_responses.activities.messages import ActivityName
from durable_responses.cli.screen import notices
from durable_responses.embedded import find_temporal_cli
from durable_responses.emulator.faults import Delay
from durable_responses.emulator.model.script import Script, Text
from durable_responses.emulator.state.billing import BilledResponse
from durable_responses.health.checks import Verdict
from durable_responses.health.doctor import check_search_attributes
from durable_responses.jobs.jobs import Jobs
from durable_responses.responses_api.models import ResponseStatus
from durable_responses.settings import Settings
from durable_responses.worker.arguments import Queue
from durable_responses.workflows.agent import AgentWorkflow
from durable_responses.workflows.contract import AgentInput, AgentResult, AgentStatus, TransportChoice
from durable_responses.workflows.search_attributes import AGENT_STATUS, KEYS
from tests.support.deployment import Deployment, Run, calls, until
from tests.support.emulator_control import EmulatorProcess
from tests.support.processes import TemporalServer

BACKGROUND, STREAM, WEBSOCKET = TransportChoice.BACKGROUND, TransportChoice.STREAM, TransportChoice.WEBSOCKET
OVER = (ResponseStatus.COMPLETED, ResponseStatus.CANCELLED, ResponseStatus.FAILED, ResponseStatus.INCOMPLETE)
ENDLESS = Script(output=[Text(text="Done. " * 200)], think=0.1, write=600)
SHORT = Script(output=[Text(text="Done.")], write=0)


@pytest.fixture(scope="module")
async def operated(
    temporal: TemporalServer,
    client: Client,
    emulator_process: EmulatorProcess,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Deployment]:
    """A deployment with a worker. At its end the worker's log is looked at: nobody's command is an exception."""
    deployment = Deployment(temporal, client, emulator_process, tmp_path_factory.mktemp("operated"))
    async with deployment.worker() as worker:
        yield deployment
        deployment.open_gates()
    assert "Traceback" not in worker.output


async def temporal_cli(deployment: Deployment, *words: str) -> str:
    """`temporal …`, which must succeed."""
    binary = await find_temporal_cli(Settings(), print)
    process = await asyncio.create_subprocess_exec(
        str(binary),
        *words,
        "--address",
        deployment.temporal.address,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, out.decode()
    return out.decode()


# --- phases ------------------------------------------------------------------------------------------------------


async def waiting(deployment: Deployment, name: str) -> Run:
    run = await deployment.start(name, [ENDLESS], transport=BACKGROUND)
    await until(lambda: run.heartbeat_of(ActivityName.AWAIT_RESPONSE))
    return run


async def streaming(deployment: Deployment, name: str) -> Run:
    return await _following(await deployment.start(name, [ENDLESS], transport=STREAM), ActivityName.STREAM_RESPONSE)


async def on_a_socket(deployment: Deployment, name: str) -> Run:
    return await _following(await deployment.start(name, [ENDLESS], transport=WEBSOCKET), ActivityName.WEBSOCKET_TURN)


async def _following(run: Run, activity: ActivityName) -> Run:
    async def has_id() -> bool:
        heartbeat = await run.heartbeat_of(activity)
        return heartbeat is not None and heartbeat.response_id is not None

    await until(has_id)
    return run


async def creating(deployment: Deployment, name: str) -> Run:
    """The provider has taken the POST, and answers it when the run is long gone."""
    late = Delay(seconds=3, processed=True)
    run = await deployment.start(name, [ENDLESS], fault=late, transport=BACKGROUND)
    await until(run.responses)
    return run


async def in_a_tool(deployment: Deployment, name: str) -> Run:
    run = await deployment.start(name, [Script(output=[calls("look", name)]), SHORT], transport=BACKGROUND)
    await until(deployment.gate(name).has_begun)
    return run


Phase = Callable[[Deployment, str], Awaitable[Run]]
PHASES: dict[str, Phase] = {
    "waiting": waiting,
    "streaming": streaming,
    "on-a-socket": on_a_socket,
    "creating": creating,
    "in-a-tool": in_a_tool,
}


# --- what operators do -------------------------------------------------------------------------------------------


async def terminate(deployment: Deployment, run: Run) -> None:
    await temporal_cli(deployment, "workflow", "terminate", "--workflow-id", run.handle.id)


async def delete(deployment: Deployment, run: Run) -> None:
    await temporal_cli(deployment, "workflow", "delete", "--workflow-id", run.handle.id)


async def terminate_by_batch(deployment: Deployment, run: Run) -> None:
    query = f'WorkflowId = "{run.handle.id}"'

    async def is_listed() -> bool:
        return (await deployment.client.count_workflows(query)).count == 1

    await until(is_listed)
    await temporal_cli(deployment, "workflow", "terminate", "--query", query, "--reason", "a test", "--yes")


async def reset(deployment: Deployment, run: Run, to: str, *options: str) -> None:
    words = ["reset", "--workflow-id", run.handle.id, "--type", to, "--reason", "a test", *options]
    await temporal_cli(deployment, "workflow", *words)


def now(deployment: Deployment, run: Run) -> Run:
    """The same run, whose result is that of its newest execution: the one after a reset."""
    newest = deployment.client.get_workflow_handle(run.handle.id, result_type=AgentResult)
    return Run(newest, run.control)


ENDS = {"terminate": terminate, "delete": delete, "terminate-by-batch": terminate_by_batch}


async def are_over(run: Run) -> list[BilledResponse] | None:
    responses = await run.responses()
    return responses if all(response.status in OVER for response in responses) else None


# --- closed from outside -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("phase", PHASES)
async def test_what_a_run_leaves_that_is_gone_is_cancelled_at_the_provider(
    operated: Deployment, phase: str, end: str
) -> None:
    run = await PHASES[phase](operated, f"{end}-{phase}")
    await ENDS[end](operated, run)
    [response] = await until(lambda: are_over(run))
    assert response.status == (ResponseStatus.COMPLETED if phase == "in-a-tool" else ResponseStatus.CANCELLED)


async def test_a_response_that_nothing_waits_for_yet_is_cancelled_too(operated: Deployment) -> None:
    """Its run is terminated between the create and the wait, which no worker has begun."""
    deployment = Deployment(operated.temporal, operated.client, operated.emulator, operated.folder / "between")
    async with deployment.worker([Queue.AGENTS, Queue.CREATE]):
        run = await deployment.start("between", [ENDLESS], transport=BACKGROUND)

        async def is_to_be_waited_for() -> bool:
            pending = (await run.handle.describe()).raw_description.pending_activities
            return any(activity.activity_type.name == ActivityName.AWAIT_RESPONSE for activity in pending)

        await until(is_to_be_waited_for)
        await terminate(deployment, run)
        [response] = await until(partial(are_over, run))
    assert response.status == ResponseStatus.CANCELLED


async def test_a_queued_run_that_is_terminated_creates_nothing(operated: Deployment) -> None:
    deployment = Deployment(operated.temporal, operated.client, operated.emulator, operated.folder / "queued")
    async with deployment.worker([Queue.AGENTS]):
        run = await deployment.start("queued", [ENDLESS], transport=BACKGROUND)

        async def is_queued() -> bool:
            return bool((await run.handle.describe()).raw_description.pending_activities)

        await until(is_queued)
        await terminate(deployment, run)
    async with deployment.worker() as worker:
        other = await deployment.start("after-it", [SHORT], transport=BACKGROUND)
        await other.result()
    assert await run.responses() == []
    assert "Traceback" not in worker.output


async def test_an_answer_that_was_there_is_fetched_by_a_reset_to_the_last_workflow_task(operated: Deployment) -> None:
    """After an accidental terminate: no create is sent again."""
    deployment = Deployment(operated.temporal, operated.client, operated.emulator, operated.folder / "accident")
    script = Script(output=[Text(text="Paid for.")], think=2, write=0)
    async with deployment.worker() as worker:
        run = await deployment.start("accident", [script], transport=BACKGROUND)
        await until(lambda: run.heartbeat_of(ActivityName.AWAIT_RESPONSE))
        worker.kill()
        await terminate(deployment, run)

        async def is_complete() -> bool:
            return (await run.responses())[0].status == ResponseStatus.COMPLETED

        await until(is_complete)
        await reset(deployment, run, "LastWorkflowTask")
    async with deployment.worker():
        result = await now(deployment, run).result()
    assert (result.status, result.output_text) == (AgentStatus.COMPLETED, "Paid for.")
    assert (await run.bill()).counts.creates_accepted == 1


# --- reset -------------------------------------------------------------------------------------------------------


async def test_a_response_that_the_run_after_a_reset_waits_for_is_left_running(operated: Deployment) -> None:
    script = Script(output=[Text(text="Waited for.")], think=6, write=0)
    run = await operated.start("reset-after", [script], transport=BACKGROUND)
    await until(lambda: run.heartbeat_of(ActivityName.AWAIT_RESPONSE))
    await reset(operated, run, "LastWorkflowTask")
    result = await now(operated, run).result()
    assert (result.status, result.output_text) == (AgentStatus.COMPLETED, "Waited for.")
    [response] = await run.responses()
    assert response.status == ResponseStatus.COMPLETED


@pytest.mark.parametrize("phase", ["waiting", "streaming", "on-a-socket"])
async def test_a_reset_to_before_the_create_cancels_the_response_of_before(operated: Deployment, phase: str) -> None:
    """Also though the signals that are applied again name it."""
    run = await PHASES[phase](operated, f"reset-before-{phase}")
    await reset(operated, run, "FirstWorkflowTask")

    async def one_of_two_is_cancelled() -> bool:
        statuses = [response.status for response in await run.responses()]
        return len(statuses) == 2 and statuses[0] == ResponseStatus.CANCELLED

    await until(one_of_two_is_cancelled)
    await run.handle.signal("cancel")
    assert (await now(operated, run).result()).status is AgentStatus.CANCELLED
    await until(lambda: are_over(run))


@pytest.mark.parametrize("to", ["FirstWorkflowTask", "LastWorkflowTask"])
async def test_a_reset_in_the_middle_of_a_create_leaves_one_response(operated: Deployment, to: str) -> None:
    run = await creating(operated, f"reset-creating-{to}")
    await reset(operated, run, to)

    async def one_is_left() -> bool:
        statuses = [response.status for response in await run.responses()]
        return statuses == [ResponseStatus.CANCELLED, ResponseStatus.IN_PROGRESS]

    await until(one_is_left)
    await run.handle.signal("cancel")
    assert (await now(operated, run).result()).status is AgentStatus.CANCELLED
    await until(lambda: are_over(run))


async def test_a_run_that_is_reset_after_its_response_was_cancelled_says_so(operated: Deployment) -> None:
    """After an accidental terminate: a new response is only paid for where a reset to before the create asks for it."""
    run = await operated.start("terminated", [ENDLESS], transport=BACKGROUND)
    await until(lambda: run.heartbeat_of(ActivityName.AWAIT_RESPONSE))
    await terminate(operated, run)
    await until(lambda: are_over(run))
    await reset(operated, run, "LastWorkflowTask")
    result = await now(operated, run).result()
    assert (result.status, result.error and result.error.type) == (AgentStatus.FAILED, "response_cancelled")
    assert len(await run.responses()) == 1
    await reset(operated, run, "FirstWorkflowTask")

    async def is_created_again() -> bool:
        return len(await run.responses()) == 2

    await until(is_created_again)
    await run.handle.signal("cancel")
    assert (await now(operated, run).result()).status is AgentStatus.CANCELLED


@pytest.mark.parametrize("to", ["LastWorkflowTask", "FirstWorkflowTask"])
async def test_a_reset_while_a_tool_runs_repeats_what_comes_after_its_point(operated: Deployment, to: str) -> None:
    name = f"tool-{to}"
    scripts = [Script(output=[calls("look", name)]), SHORT] * 2
    run = await operated.start(name, scripts, transport=BACKGROUND)
    await until(operated.gate(name).has_begun)
    await reset(operated, run, to)
    operated.gate(name).open()
    result = await now(operated, run).result()
    assert (result.status, result.output_text) == (AgentStatus.COMPLETED, "Done.")
    creates = len(await run.responses())
    assert creates == (2 if to == "LastWorkflowTask" else 3)
    assert operated.gate(name).runs == 2


async def test_a_batch_of_resets_and_one_of_deletions_leave_nothing_running(operated: Deployment) -> None:
    runs = [await waiting(operated, f"batch-{number}") for number in range(3)]
    query = f'TaskQueue = "{operated.task_queue}" AND ExecutionStatus = "Running"'

    async def are_listed() -> bool:
        return (await operated.client.count_workflows(query)).count == len(runs)

    await until(are_listed)
    reason = ["--reason", "a test", "--yes"]
    await temporal_cli(operated, "workflow", "reset", "--query", query, "--type", "FirstWorkflowTask", *reason)

    async def were_reset() -> bool:
        responses = [await run.responses() for run in runs]
        return all(
            [response.status for response in each] == [ResponseStatus.CANCELLED, ResponseStatus.IN_PROGRESS]
            for each in responses
        )

    await until(were_reset)
    await until(are_listed)
    await temporal_cli(operated, "workflow", "delete", "--query", query, *reason)
    for run in runs:
        assert len(await until(partial(are_over, run))) == 2


async def test_a_reset_of_a_cancelled_run_cancels_it_again_unless_signals_are_excluded(operated: Deployment) -> None:
    script = Script(output=[Text(text="Done.")], think=3, write=0)
    runs = []
    for name, options in {"again": [], "anew": ["--reapply-exclude", "Signal"]}.items():
        run = await operated.start(f"reset-cancelled-{name}", [script, script], transport=BACKGROUND)
        await until(lambda run=run: run.heartbeat_of(ActivityName.AWAIT_RESPONSE))  # type: ignore[misc]
        await run.handle.signal("cancel")
        assert (await run.result()).status is AgentStatus.CANCELLED
        await reset(operated, run, "FirstWorkflowTask", *options)
        runs.append(now(operated, run))
    assert [(await run.result()).status for run in runs] == [AgentStatus.CANCELLED, AgentStatus.COMPLETED]
    for run in runs:
        await until(partial(are_over, run))


# --- activities --------------------------------------------------------------------------------------------------


async def of_its_wait(deployment: Deployment, run: Run, *words: str) -> None:
    """`temporal activity …` on the run's only pending activity."""
    [pending] = (await run.handle.describe()).raw_description.pending_activities
    which = ["--workflow-id", run.handle.id, "--activity-id", pending.activity_id]
    await temporal_cli(deployment, "activity", words[0], *which, *words[1:])


@pytest.mark.parametrize(
    "words",
    [["fail", "--reason", "a test"], ["complete", "--result", '"nonsense"'], ["complete", "--result", "null"]],
    ids=["fail", "complete-with-nonsense", "complete-with-null"],
)
async def test_a_wait_that_an_operator_ends_does_not_leave_its_response_running(
    operated: Deployment, words: list[str]
) -> None:
    run = await waiting(operated, f"ended-wait-{re.sub('[^a-z]', '', '-'.join(words))}")
    await of_its_wait(operated, run, *words)
    assert (await run.result()).status is AgentStatus.FAILED
    [response] = await until(lambda: are_over(run))
    assert response.status == ResponseStatus.CANCELLED


@pytest.mark.parametrize(
    "commands",
    [
        [["pause"], ["unpause"]],
        [["pause"], ["unpause", "--reset-attempts", "--reset-heartbeats"]],
        [["reset"]],
        [["reset", "--reset-heartbeats"]],
        [["update-options", "--heartbeat-timeout", "5s"]],
    ],
    ids=["unpause", "unpause-with-reset", "reset", "reset-heartbeats", "update-options"],
)
async def test_a_wait_that_an_operator_interrupts_goes_on_with_the_same_response(
    operated: Deployment, commands: list[list[str]]
) -> None:
    script = Script(output=[Text(text="Waited for.")], think=5, write=0)
    name = "interrupted-" + re.sub("[^a-z]", "", str(commands))
    run = await operated.start(name, [script], transport=BACKGROUND)
    await until(lambda: run.heartbeat_of(ActivityName.AWAIT_RESPONSE))
    for words in commands:
        await of_its_wait(operated, run, *words)
    result = await run.result()
    assert (result.status, result.output_text) == (AgentStatus.COMPLETED, "Waited for.")
    assert (await run.bill()).counts.creates_accepted == 1


async def of_activity(deployment: Deployment, run: Run, name: str, *words: str) -> None:
    """`temporal activity …` on the run's pending activity of this name."""
    pending = (await run.handle.describe()).raw_description.pending_activities
    [activity] = [each for each in pending if each.activity_type.name == name]
    which = ["--workflow-id", run.handle.id, "--activity-id", activity.activity_id]
    await temporal_cli(deployment, "activity", words[0], *which, *words[1:])


ENDED_BY_HAND = {
    "fail": ["fail", "--reason", "a test"],
    "complete-with-nonsense": ["complete", "--result", '"nonsense"'],
    "complete-with-null": ["complete", "--result", "null"],
}
CREATING = {
    "creating": ActivityName.CREATE_RESPONSE,
    "streaming": ActivityName.STREAM_RESPONSE,
    "on-a-socket": ActivityName.WEBSOCKET_TURN,
}


@pytest.mark.parametrize("how", ENDED_BY_HAND)
@pytest.mark.parametrize("phase", CREATING)
async def test_a_create_that_an_operator_ends_leaves_no_response_running(
    operated: Deployment, phase: str, how: str
) -> None:
    run = await PHASES[phase](operated, f"{how}-{phase}")
    await of_activity(operated, run, CREATING[phase], *ENDED_BY_HAND[how])
    result = await run.result()
    assert (result.status, result.ambiguous_creates) == (AgentStatus.FAILED, 0)
    [response] = await until(lambda: are_over(run))
    assert response.status == ResponseStatus.CANCELLED


INTERRUPTED = {
    "unpause": [["pause"], ["unpause"]],
    "reset": [["reset"]],
    "update-options": [["update-options", "--heartbeat-timeout", "6s"]],
}


@pytest.mark.parametrize("how", INTERRUPTED)
@pytest.mark.parametrize("phase", CREATING)
async def test_a_create_that_an_operator_interrupts_leaves_one_response(
    operated: Deployment, phase: str, how: str
) -> None:
    run = await PHASES[phase](operated, f"{how}-{phase}-interrupted")
    for words in INTERRUPTED[how]:
        await of_activity(operated, run, CREATING[phase], *words)

    async def one_is_left() -> bool:
        statuses = [response.status for response in await run.responses()]
        return statuses.count(ResponseStatus.IN_PROGRESS) == 1 and set(statuses[:-1]) <= {ResponseStatus.CANCELLED}

    await until(one_is_left)
    creates = len(await run.responses())
    await run.handle.signal("cancel")
    result = await run.result()
    assert result.status is AgentStatus.CANCELLED
    assert len(result.responses) + result.ambiguous_creates >= creates  # each one is told of
    await until(lambda: are_over(run))


@pytest.mark.parametrize("how", ENDED_BY_HAND)
async def test_a_call_that_an_operator_ends_is_told_to_the_model(operated: Deployment, how: str) -> None:
    run = await in_a_tool(operated, f"call-{how}")
    await of_activity(operated, run, ActivityName.CALL_TOOL, *ENDED_BY_HAND[how])
    operated.gate(f"call-{how}").open()
    result = await run.result()
    assert (result.status, result.output_text) == (AgentStatus.COMPLETED, "Done.")
    assert [call.status for call in (await run.progress()).function_calls] == ["unknown"]


async def test_a_call_is_given_the_result_that_an_operator_completes_it_with(operated: Deployment) -> None:
    run = await in_a_tool(operated, "call-completed")
    answer = '{"call_id": "any", "output": "By hand."}'
    await of_activity(operated, run, ActivityName.CALL_TOOL, "complete", "--result", answer)
    operated.gate("call-completed").open()
    assert (await run.result()).status is AgentStatus.COMPLETED
    assert [call.status for call in (await run.progress()).function_calls] == ["succeeded"]


@pytest.mark.parametrize("how", INTERRUPTED)
async def test_a_call_that_an_operator_interrupts_is_answered(operated: Deployment, how: str) -> None:
    run = await in_a_tool(operated, f"call-{how}")
    for words in INTERRUPTED[how]:
        await of_activity(operated, run, ActivityName.CALL_TOOL, *words)
    operated.gate(f"call-{how}").open()
    assert (await run.result()).status is AgentStatus.COMPLETED
    assert [call.status for call in (await run.progress()).function_calls] == ["succeeded"]


# --- what status says --------------------------------------------------------------------------------------------


async def said_of(deployment: Deployment, run: Run) -> dict[str, str]:
    """What the command line says is unusual about a run."""
    return notices(await Jobs(deployment.client, deployment.task_queue).state(run.handle.id), datetime.now(UTC))


async def test_an_operators_pause_is_shown_until_it_is_over(operated: Deployment) -> None:
    run = await waiting(operated, "paused")
    await of_its_wait(operated, run, "pause")
    assert "await_response" in (await said_of(operated, run))["pause"]
    await of_its_wait(operated, run, "unpause")
    assert "pause" not in await said_of(operated, run)
    await run.handle.signal("cancel")
    assert (await run.result()).status is AgentStatus.CANCELLED


async def test_a_run_pinned_to_a_build_that_nobody_runs_says_so(operated: Deployment) -> None:
    run = await waiting(operated, "pinned")
    which = ["--versioning-override-deployment-name", "agents", "--versioning-override-build-id", "gone"]
    options = ["update-options", "--workflow-id", run.handle.id, "--versioning-override-behavior"]
    await temporal_cli(operated, "workflow", *options, "pinned", *which)

    async def says_so() -> bool:
        return "pinned to build agents.gone" in (await said_of(operated, run)).get("worker", "")

    await until(says_so)
    await temporal_cli(operated, "workflow", *options, "auto_upgrade")
    assert "worker" not in await said_of(operated, run)
    await run.handle.signal("cancel")
    assert (await run.result()).status is AgentStatus.CANCELLED


# --- search attributes -------------------------------------------------------------------------------------------


NAMES = [key.name for key in KEYS]
CHANGES: dict[str, tuple[list[str], dict[str, str]]] = {
    "all-removed": (NAMES, {}),
    "one-removed": (["AgentModel"], {}),
    "text-for-a-keyword": (["AgentStatus"], {"AgentStatus": "Text"}),
    "keyword-for-a-number": (["AgentIteration"], {"AgentIteration": "Keyword"}),
}


@pytest.mark.parametrize("change", CHANGES)
async def test_a_run_goes_on_without_search_attributes_and_doctor_names_them(
    emulator_process: EmulatorProcess, tmp_path: Path, change: str
) -> None:
    removed, created = CHANGES[change]
    async with await TemporalServer.on(tmp_path / "temporal") as server:
        client = await server.client()
        deployment = Deployment(server, client, emulator_process, tmp_path / "runs")
        async with deployment.worker() as worker:
            run = await in_a_tool(deployment, f"attributes-{change}")
            assert (await run.handle.describe()).typed_search_attributes.get(AGENT_STATUS) == "running"
            names = [word for name in removed for word in ("--name", name)]
            await temporal_cli(deployment, "operator", "search-attribute", "remove", *names, "--yes")
            for name, kind in created.items():
                words = ["create", "--name", name, "--type", kind]
                await temporal_cli(deployment, "operator", "search-attribute", *words)
            deployment.open_gates()
            assert (await run.result()).status is AgentStatus.COMPLETED
            job_id = await Jobs(client, deployment.task_queue).start(AgentInput(task="Another one."))
            assert (await Jobs(client).result(job_id)).status is AgentStatus.COMPLETED
            check = await check_search_attributes(client)
        assert worker.output.count("Runs continue without search attributes") <= 1
        replayer = Replayer(workflows=[AgentWorkflow], data_converter=pydantic_data_converter)
        await replayer.replay_workflow(await run.handle.fetch_history())
    assert check.verdict is not Verdict.OK
    assert all(name in check.found for name in removed)
    assert all(f"{name} is registered as {kind}" in check.found for name, kind in created.items())


async def test_a_run_continues_as_new_without_search_attributes_that_were_removed(
    emulator_process: EmulatorProcess, tmp_path: Path
) -> None:
    """A new history is given the search attributes of the one before, which the server refuses then."""
    server = await TemporalServer.on(tmp_path / "temporal")
    server.command += ["--dynamic-config-value", "limit.historyCount.suggestContinueAsNew=40"]
    async with server:
        client = await server.client()
        deployment = Deployment(server, client, emulator_process, tmp_path / "runs")
        async with deployment.worker():
            scripts = [Script(output=[calls("look", "continues")]) for _ in range(9)]
            run = await deployment.start("continues", [*scripts, SHORT], transport=BACKGROUND, max_iterations=20)
            await until(deployment.gate("continues").has_begun)
            names = [word for name in NAMES for word in ("--name", name)]
            await temporal_cli(deployment, "operator", "search-attribute", "remove", *names, "--yes")
            deployment.open_gates()
            result = await now(deployment, run).result(seconds=120)
        runs = [each.status async for each in client.list_workflows(f"WorkflowId = '{run.handle.id}'")]
    assert (result.status, result.output_text) == (AgentStatus.COMPLETED, "Done.")
    assert len(runs) > 2
