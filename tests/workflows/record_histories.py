"""Record the histories that `test_replay` replays: `python -m tests.workflows.record_histories [name …]`.

Each release has a folder of its own, by the version in pyproject.toml. Run it when a scenario is added, and for a new
release once its version is raised. Files that are there already are left alone: they are the histories of yesterday's
runs, which every later version has to replay.
"""

import asyncio
import contextlib
import json
import re
import socket
import sys
import tempfile
import tomllib
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any

from temporalio.client import WorkflowFailureError, WorkflowHandle

from durable_responses.activities.messages import ActivityName
from durable_responses.emulator.faults import (
    Answer,
    BreakSocket,
    Delay,
    End,
    ExceedContext,
    Fault,
    Operation,
    RefuseSteer,
    RejectChain,
    Reset,
)
from durable_responses.emulator.model.scenarios import Scenario as FileScenario
from durable_responses.emulator.model.script import CodeInterpreterStep, Ending, FunctionCallStep, MadeFile, Script
from durable_responses.jobs.jobs import Jobs
from durable_responses.mcp_tools.configuration import McpServer, McpServers, Trust
from durable_responses.provider import Provider, ProviderKind
from durable_responses.responses_api.models import ResponseStatus
from durable_responses.settings import Settings
from durable_responses.workflows.contract import AgentInput
from tests.support.chainless_servers import Chain
from tests.support.emulator_control import running_emulator
from tests.support.processes import CHECKOUT, TemporalServer
from tests.support.runs import Agents, progress, until, working
from tests.support.windowed_server import WindowedServer, serving_windowed

HISTORIES = Path(__file__).parent / "histories"
RELEASE = HISTORIES / tomllib.loads((CHECKOUT / "pyproject.toml").read_text())["project"]["version"]
QUEUE = "agents"
TOOL = 'calls?iterations=2&parallel=2&tool=add&arguments={"a":1,"b":2}'

Scenario = Callable[[Agents], Awaitable[WorkflowHandle[Any, Any]]]


def asks(scenario: str, **fields: Any) -> dict[str, Any]:
    return {"task": "Do it.", "metadata": {"scenario": scenario}, **fields}


async def _finished(run: WorkflowHandle[Any, Any]) -> WorkflowHandle[Any, Any]:
    with contextlib.suppress(WorkflowFailureError):
        await run.result()
    return run


async def _started(agents: Agents, request: Any) -> WorkflowHandle[Any, Any]:
    run = await agents.start(request)

    async def has_response() -> bool:
        return bool(await agents.responses(run))

    await until(has_response)
    return run


async def background(agents: Agents) -> WorkflowHandle[Any, Any]:
    return await _finished(await agents.start(asks(TOOL, reasoning_effort="high")))


async def stream(agents: Agents) -> WorkflowHandle[Any, Any]:
    return await _finished(await agents.start(asks(TOOL)))


async def slow_stream_with_reports(agents: Agents) -> WorkflowHandle[Any, Any]:
    return await _finished(await agents.start(asks("write?words=500&seconds=8")))


async def live_preview(agents: Agents) -> WorkflowHandle[Any, Any]:
    request = asks("write?words=500&seconds=8", transport="background", live_preview=True)
    return await _finished(await agents.start(request))


async def cancelled_by_signal(agents: Agents) -> WorkflowHandle[Any, Any]:
    run = await _started(agents, asks("think?seconds=60", transport="background"))
    await run.signal("cancel", "enough")
    return await _finished(run)


async def cancelled_by_temporal(agents: Agents) -> WorkflowHandle[Any, Any]:
    run = await _started(agents, asks("think?seconds=60", transport="background"))
    await run.cancel()
    return await _finished(run)


async def cancelled_stream(agents: Agents) -> WorkflowHandle[Any, Any]:
    run = await _started(agents, asks("think?seconds=60"))
    await run.signal("cancel")
    return await _finished(run)


async def cancelled_tool(agents: Agents) -> WorkflowHandle[Any, Any]:
    run = await agents.start(asks("calls?tool=wait_long&arguments={}"))

    async def calling() -> bool:
        return bool((await progress(run)).function_calls)

    await until(calling)
    await run.signal("cancel")
    return await _finished(run)


async def deadline(agents: Agents) -> WorkflowHandle[Any, Any]:
    return await _finished(await agents.start(asks("think?seconds=60", transport="background", deadline=1.0)))


async def ambiguous_create(agents: Agents) -> WorkflowHandle[Any, Any]:
    await agents.emulator.control.add_fault(Fault(operation=Operation.CREATE, effect=Reset(processed=True)))
    return await _finished(await agents.start(asks("echo", transport="background")))


async def refused_chain(agents: Agents) -> WorkflowHandle[Any, Any]:
    await agents.emulator.control.add_fault(Fault(operation=Operation.CREATE, effect=RejectChain()))
    return await _finished(await agents.start(asks(TOOL, transport="background")))


async def refused_by_a_failed_response(agents: Agents) -> WorkflowHandle[Any, Any]:
    """The provider takes the create, and its response says that there is none to continue from."""
    code, message = "previous_response_not_found", "Previous response not found."
    ending = Ending(status=ResponseStatus.FAILED, code=code, message=message)
    fault = Fault(operation=Operation.CREATE, effect=End(ending=ending), metadata={"iteration": "2"})
    await agents.emulator.control.add_fault(fault)
    return await _finished(await agents.start(asks(TOOL, transport="background")))


async def unknown_model(agents: Agents) -> WorkflowHandle[Any, Any]:
    return await _finished(await agents.start({"task": "Do it.", "model": "unknown-model"}))


async def invalid_input(agents: Agents) -> WorkflowHandle[Any, Any]:
    return await _finished(await agents.start({"task": ""}))


async def saved(agents: Agents) -> WorkflowHandle[Any, Any]:
    return await _finished(await agents.start(asks("echo", save={"filename": "answer"})))


async def saved_files(agents: Agents) -> WorkflowHandle[Any, Any]:
    scenario = asks("code_interpreter?files=2&cited=1", save={"files": True}, tools=[], enable_code_interpreter=True)
    return await _finished(await agents.start(scenario))


async def saved_files_in_vain(agents: Agents) -> WorkflowHandle[Any, Any]:
    """A cancel while nothing is heard of a container: the run ends without its files."""
    fault = Fault(operation=Operation.CONTAINER, effect=Delay(), times=None)
    await agents.emulator.control.add_fault(fault)
    output: list[Any] = [
        CodeInterpreterStep(files=[MadeFile(name="a.csv")]),
        FunctionCallStep(name="wait_long", arguments={}),
    ]
    await agents.emulator.control.add_scenario(FileScenario(name="made", responses=[Script(output=output)]))
    run = await agents.start(asks("made", save={"files": True}, tools=["wait_long"], enable_code_interpreter=True))

    async def has_begun_to_save() -> bool:
        described = await run.describe()
        names = {pending.activity_type.name for pending in described.raw_description.pending_activities}
        return {ActivityName.SAVE_FILES, ActivityName.CALL_TOOL} <= names

    await until(has_begun_to_save)
    await run.signal("cancel", "enough")
    await _finished(run)
    await agents.emulator.control.clear_faults()
    return run


async def search_attributes(agents: Agents) -> WorkflowHandle[Any, Any]:
    """A worker has said that the namespace has them."""
    return await _finished(await agents.start(asks(TOOL, reasoning_effort="high", tenant="acme")))


async def search_attributes_rarely(agents: Agents) -> WorkflowHandle[Any, Any]:
    """Of a stream, while its iterations follow each other quickly."""
    return await _finished(await agents.start(asks(TOOL, tenant="acme")))


async def search_attributes_carried_over(agents: Agents) -> WorkflowHandle[Any, Any]:
    """The last of the runs; the first was started with them."""
    request = asks('calls?iterations=9&tool=add&arguments={"a":1,"b":2}', max_iterations=20, tenant="acme")
    jobs = Jobs(agents.client, QUEUE)
    job_id = await jobs.start(AgentInput.model_validate(request))
    return await _finished(agents.client.get_workflow_handle(job_id))


async def websocket(agents: Agents) -> WorkflowHandle[Any, Any]:
    return await _finished(await agents.start(asks(TOOL, transport="websocket", warm_up=True)))


async def websocket_over_http(agents: Agents) -> WorkflowHandle[Any, Any]:
    """The last of these to be recorded: from here on the worker leaves WebSockets alone for a while."""
    await agents.emulator.control.add_fault(Fault(operation=Operation.UPGRADE, effect=Answer(status=426)))
    return await _finished(await agents.start(asks(TOOL, transport="websocket")))


async def _broken(agents: Agents, effect: BreakSocket) -> WorkflowHandle[Any, Any]:
    """The socket of the second turn breaks."""
    broken = Fault(operation=Operation.TURN, effect=effect, metadata={"iteration": "2"})
    await agents.emulator.control.add_fault(broken)
    return await _finished(await agents.start(asks(TOOL + "&think=0.5", transport="websocket")))


async def websocket_lost(agents: Agents) -> WorkflowHandle[Any, Any]:
    """The response dies with its socket, and is created again."""
    return await _broken(agents, BreakSocket(after_events=2))


async def websocket_read_by_id(agents: Agents) -> WorkflowHandle[Any, Any]:
    """The response finishes all the same."""
    return await _broken(agents, BreakSocket(after_events=2, survives=True))


async def websocket_cancelled(agents: Agents) -> WorkflowHandle[Any, Any]:
    run = await _started(agents, asks("think?seconds=60", transport="websocket"))
    await run.signal("cancel")
    return await _finished(run)


async def websocket_turned_away(agents: Agents) -> WorkflowHandle[Any, Any]:
    """It waits before it asks again, and is cancelled."""
    refusal = Answer(status=429, headers={"retry-after": "600"})
    await agents.emulator.control.add_fault(Fault(operation=Operation.CREATE, effect=refusal))
    run = await agents.start(asks("echo", transport="websocket"))

    async def waits() -> bool:
        return any([event.HasField("timer_started_event_attributes") async for event in run.fetch_history_events()])

    await until(waits)
    await run.signal("cancel")
    return await _finished(run)


async def failed_responses(agents: Agents) -> WorkflowHandle[Any, Any]:
    """Two fail for a reason that passes."""
    effect = End(ending=Ending(status=ResponseStatus.FAILED, code="server_error"))
    await agents.emulator.control.add_fault(Fault(operation=Operation.CREATE, effect=effect, times=2))
    return await _finished(await agents.start(asks("echo", reasoning_effort="high")))


async def _steered(agents: Agents, scenario: str, transport: str) -> WorkflowHandle[Any, Any]:
    run = await agents.start(asks(scenario, transport=transport))

    async def known() -> bool:
        return (await progress(run)).response_id is not None

    await until(known)
    await run.signal("steer", "Be brief.")
    return await _finished(run)


async def steered(agents: Agents) -> WorkflowHandle[Any, Any]:
    """The provider keeps the text until the calls are answered."""
    return await _steered(agents, TOOL + "&think=1", "websocket")


async def steered_in_vain(agents: Agents) -> WorkflowHandle[Any, Any]:
    """The provider refuses the text: it becomes the next input, of an iteration more."""
    await agents.emulator.control.add_fault(Fault(operation=Operation.STEER, effect=RefuseSteer()))
    return await _steered(agents, "think?seconds=1", "websocket")


async def told_between_iterations(agents: Agents) -> WorkflowHandle[Any, Any]:
    """A response in the background cannot be steered."""
    return await _steered(agents, TOOL + "&think=1", "background")


async def continued_as_new(agents: Agents) -> WorkflowHandle[Any, Any]:
    """The last of the runs, which begins with what was carried over."""
    request = asks('calls?iterations=9&tool=add&arguments={"a":1,"b":2}', max_iterations=20)
    run = await _finished(await agents.start(request))
    return agents.client.get_workflow_handle(run.id)


async def continues_as_new(agents: Agents) -> WorkflowHandle[Any, Any]:
    """The first of the runs, which ends by going on in a new one."""
    request = asks('calls?iterations=9&tool=add&arguments={"a":1,"b":2}', max_iterations=20)
    run = await _finished(await agents.start(request))
    return agents.client.get_workflow_handle(run.id, run_id=run.first_execution_run_id)


async def named_by_its_task(agents: Agents) -> WorkflowHandle[Any, Any]:
    """A run of a client that gives no memo: it puts its task there."""
    return await stream(agents)


async def named_and_continued_as_new(agents: Agents) -> WorkflowHandle[Any, Any]:
    """The last of its runs: what a run adds to its memo is lost when it is continued, so each adds it."""
    return await continued_as_new(agents)


async def in_full(agents: Agents) -> WorkflowHandle[Any, Any]:
    """The whole conversation is sent with each create."""
    return await _finished(await agents.start(asks(TOOL, conversation="full")))


async def compacted(agents: Agents) -> WorkflowHandle[Any, Any]:
    """A server with a window of 4,000 tokens compacts the conversation, in a create of its own."""
    return await _compacted(agents, triggers=True)


async def compacted_at_once(agents: Agents) -> WorkflowHandle[Any, Any]:
    """The server does not know `compaction_trigger`."""
    return await _compacted(agents, triggers=False)


async def compacted_and_read_by_its_id(agents: Agents) -> WorkflowHandle[Any, Any]:
    """As `compacted`, since the output of a compaction is not in history where the provider has stored it."""
    return await _compacted(agents, triggers=True)


async def answered_after_a_compaction(agents: Agents) -> WorkflowHandle[Any, Any]:
    """What is too long after its compaction, too, is sent again when the owner says so."""
    excess = ExceedContext(always=True)
    scenario = 'calls?iterations=2&tool=add&arguments={"a":1,"b":2}'
    for _ in range(2):  # the second create, and the one after its compaction
        fault = Fault(operation=Operation.CREATE, metadata={"scenario": scenario}, effect=excess, skip=1)
        await agents.emulator.control.add_fault(fault)
    run = await _answered(agents, scenario, "retry", context_window=100_000, tools=["add"])
    return agents.client.get_workflow_handle(run.id, run_id=run.first_execution_run_id)


async def _compacted(agents: Agents, *, triggers: bool) -> WorkflowHandle[Any, Any]:
    settings = agents.settings.model_copy(update={"task_queue": f"{QUEUE}-compacted-{triggers}"})
    server = WindowedServer(Chain.CONTINUED, calls=3, padding=4300, queues=True, window=4000, triggers=triggers)
    with serving_windowed(server):
        url = server.base_url
        provider = Provider(kind=ProviderKind.COMPATIBLE, base_url=url, websocket_base_url=url)
        async with working(agents.client, provider, settings):
            there = Agents(agents.client, agents.emulator, settings)
            asked = {"task": "Add.", "tools": ["add"], "context_window": 4000, "max_iterations": 20}
            run = await _finished(await there.start({**asked, "transport": "background", "on_refusal": "fail"}))
            return agents.client.get_workflow_handle(run.id, run_id=run.first_execution_run_id)


async def in_full_after_a_refusal(agents: Agents) -> WorkflowHandle[Any, Any]:
    """What `refused_chain` was before runs knew their conversation."""
    return await refused_chain(agents)


async def _answered(agents: Agents, scenario: str, *answers: Any, **fields: Any) -> WorkflowHandle[Any, Any]:
    """A run that asks its owner as many things as there are answers, at once."""
    run = await agents.start(asks(scenario, transport="background", **fields))

    async def has_asked() -> bool:
        return len((await progress(run)).input_requests) == len(answers)

    await until(has_asked)
    for request, answer in zip((await progress(run)).input_requests, answers, strict=True):
        await run.execute_update("respond", {"id": request.id, "answer": answer, "by": "Ada"})
    return await _finished(run)


async def approved_and_denied(agents: Agents) -> WorkflowHandle[Any, Any]:
    scenario = 'calls?iterations=1&parallel=2&tool=write_file&arguments={"path":"a.txt","content":"A"}'
    return await _answered(agents, scenario, "allow", "not this one", approvals="ask")


async def questions(agents: Agents) -> WorkflowHandle[Any, Any]:
    scenario = 'calls?iterations=1&parallel=2&tool=ask_owner&arguments={"question":"Why?","choices":["so"],"why":null}'
    return await _answered(agents, scenario, "so", "otherwise", allow_questions=True)


async def nobody_answered(agents: Agents) -> WorkflowHandle[Any, Any]:
    scenario = 'calls?iterations=1&tool=write_file&arguments={"path":"a.txt","content":"A"}'
    return await _finished(await agents.start(asks(scenario, approvals="ask", answer_within=1)))


async def mcp_tools(agents: Agents) -> WorkflowHandle[Any, Any]:
    scenario = 'calls?iterations=1&tool=desk__send&arguments={"what":"a book"}'
    run = await agents.start(asks(scenario, transport="background", mcp_servers=["desk"], tools=[]))
    return await _finished(await _answering(run, "Main Street", "7"))


async def mcp_held_call(agents: Agents) -> WorkflowHandle[Any, Any]:
    run = await agents.start(asks("calls?iterations=1&tool=shop__order_twice", mcp_servers=["shop"], tools=[]))
    return await _finished(await _answering(run, "red", "green"))


async def mcp_held_call_let_go(agents: Agents) -> WorkflowHandle[Any, Any]:
    run = await agents.start(asks("calls?iterations=1&tool=shop__order_twice", mcp_servers=["shop"], tools=[]))
    await _answering(run, "red")
    await until(lambda: _has_asked(run, 2))
    await run.signal("cancel", "enough")
    return await _finished(run)


async def _answering(run: WorkflowHandle[Any, Any], *answers: str) -> WorkflowHandle[Any, Any]:
    for number, answer in enumerate(answers, 1):
        await until(partial(_has_asked, run, number))
        await run.execute_update("respond", {"id": f"question-{number}", "answer": answer, "by": "Ada"})
    return run


async def _has_asked(run: WorkflowHandle[Any, Any], times: int) -> bool:
    return len((await progress(run)).input_requests) == times


SCENARIOS: list[Scenario] = [
    mcp_tools,
    mcp_held_call,
    mcp_held_call_let_go,
    approved_and_denied,
    questions,
    nobody_answered,
    in_full,
    in_full_after_a_refusal,
    compacted,
    compacted_at_once,
    compacted_and_read_by_its_id,
    answered_after_a_compaction,
    background,
    stream,
    slow_stream_with_reports,
    live_preview,
    cancelled_by_signal,
    cancelled_by_temporal,
    cancelled_stream,
    cancelled_tool,
    deadline,
    ambiguous_create,
    refused_chain,
    refused_by_a_failed_response,
    unknown_model,
    invalid_input,
    saved,
    saved_files,
    saved_files_in_vain,
    search_attributes,
    search_attributes_rarely,
    search_attributes_carried_over,
    websocket,
    websocket_cancelled,
    websocket_turned_away,
    failed_responses,
    steered,
    steered_in_vain,
    told_between_iterations,
    websocket_lost,
    websocket_read_by_id,
    websocket_over_http,
    continued_as_new,
    continues_as_new,
    named_by_its_task,
    named_and_continued_as_new,
]


async def record(scenarios: list[Scenario]) -> None:
    """Run each scenario with a real worker and write its history."""
    with tempfile.TemporaryDirectory() as folder:
        server = await TemporalServer.on(Path(folder))
        server.command += ["--dynamic-config-value", "limit.historyCount.suggestContinueAsNew=80"]
        async with server, running_emulator() as emulator:
            client = await server.client()
            settings = _settings(Path(folder))
            provider = Provider(
                kind=ProviderKind.COMPATIBLE, base_url=emulator.base_url, websocket_base_url=emulator.base_url
            )
            async with working(client, provider, settings):
                agents = Agents(client, emulator, settings)
                for scenario in scenarios:
                    run = await scenario(agents)
                    _write(scenario.__name__, (await run.fetch_history()).to_json())


def _settings(folder: Path) -> Settings:
    (folder / "workspace").mkdir()
    program = ["-m", "tests.support.mcp_tool_server", str(folder)]
    desk = McpServer(command=sys.executable, args=program, cwd=str(CHECKOUT), trust=Trust.ANNOTATIONS)
    shop = desk.model_copy(update={"args": ["-m", "tests.support.asking_mcp_server", str(folder)]})
    return Settings(
        task_queue=QUEUE,
        state_folder=folder / "state",
        workspace=folder / "workspace",
        files_root=folder,
        output_root=folder,
        tool_modules=["tests.support.tools_under_test"],
        mcp_servers=McpServers(servers={"desk": desk, "shop": shop}),
    )


def _write(name: str, history: str) -> None:
    """Store the events, without what names the machine they were recorded on."""
    RELEASE.mkdir(parents=True, exist_ok=True)
    process = rf"\d+@{re.escape(socket.gethostname())}"  # in the names of sticky queues
    events = json.loads(re.sub(process, "1@worker", history))
    _scrub(events)
    (RELEASE / f"{name}.json").write_text(json.dumps(events, indent=1) + "\n")
    print(f"recorded {name}: {len(events['events'])} events")


def _scrub(value: Any) -> None:
    if isinstance(value, list):
        for item in value:
            _scrub(item)
    elif isinstance(value, dict):
        value.pop("stackTrace", None)
        if "identity" in value:
            value["identity"] = "worker"
        for item in value.values():
            _scrub(item)


def main(names: list[str]) -> None:
    wanted = [scenario for scenario in SCENARIOS if not names or scenario.__name__ in names]
    missing = [scenario for scenario in wanted if not (RELEASE / f"{scenario.__name__}.json").exists()]
    asyncio.run(record(missing))


if __name__ == "__main__":
    main(sys.argv[1:])
