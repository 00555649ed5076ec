"""Runs whose tools come from MCP servers: real programs, spoken to by the worker that runs the calls."""

import asyncio
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client, WorkflowHandle

from durable_responses.activities.executions import described
from durable_responses.activities.run_sessions import close_ended
from durable_responses.emulator.model.scenarios import Scenario
from durable_responses.emulator.model.script import FunctionCallStep, Script, Text
from durable_responses.jobs.story import CallStep, Story, story_of
from durable_responses.mcp_tools.configuration import McpServer, McpServers
from durable_responses.mcp_tools.sessions import Sessions
from durable_responses.provider import Provider
from durable_responses.settings import Settings
from durable_responses.workflows.contract import AgentInput, AgentStatus, TransportChoice
from tests.support.emulator_control import RunningEmulator
from tests.support.runs import Agents, asked, result_of, working

PROJECT = Path(__file__).parents[2]
Run = WorkflowHandle[Any, Any]
LOST = (
    "Error: {} was not called: the session that this run had with its server has ended, and what it held is lost. "
    "Call it again if it makes sense without."
)
DONE = Script(output=[Text(text="Done.")])


def desk(folder: Path, **fields: Any) -> dict[str, Any]:
    """The test server as a program, as people configure it."""
    arguments = ["-m", "tests.support.mcp_tool_server", str(folder)]
    return {"command": sys.executable, "args": arguments, "cwd": str(PROJECT), **fields}


def hostile(manner: str, *arguments: str, **fields: Any) -> dict[str, Any]:
    """A server that behaves as none should."""
    return {**desk(Path(), **fields), "args": ["-m", "tests.support.hostile_mcp_server", manner, *arguments]}


def shop(folder: Path) -> dict[str, Any]:
    """A server of an older revision, which asks in the middle of a call."""
    return {**desk(folder), "args": ["-m", "tests.support.asking_mcp_server", str(folder)]}


@pytest.fixture
def settings(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings of a worker with servers of tools: one that is trusted, and one of which nothing is known."""
    servers = {
        "desk": desk(tmp_path, trust="annotations"),
        "mine": desk(tmp_path, trust="annotations", session="run"),
        "stranger": desk(tmp_path),
        "secretive": desk(tmp_path, approval="allow", env={"THE_TOKEN": "very-secret-token"}),
        "changing": hostile("changing", str(tmp_path), approval="allow"),
        "shop": {**shop(tmp_path), "trust": "annotations"},
        "broken": hostile("ends-at-once"),
        "many": hostile("many"),
        "huge": hostile("huge-schema"),
        "colliding": hostile("colliding", approval="allow"),
        "blabbing": hostile("blabs", "${TICKETS_TOKEN}"),
        "remote": {
            "url": "https://mcp.example/mcp",
            "headers": {"Authorization": "Bearer ${TICKETS_TOKEN}"},
            "hosted": True,
        },
        "unasked": {"url": "https://mcp.example/mcp", "hosted": True, "approval": "allow"},
        "limited": {"url": "https://h/mcp", "hosted": True, "tools": {"delete": {"approval": "deny"}}},
    }
    monkeypatch.setenv("TICKETS_TOKEN", "very-secret-token")
    return settings.model_copy(update={"mcp_servers": McpServers.model_validate({"mcpServers": servers})})


async def calling(agents: Agents, *calls: tuple[str, Any], **fields: Any) -> Run:
    """A run whose model makes these calls in its first response."""
    name = f"of-{agents.settings.task_queue}"
    steps = [FunctionCallStep(name=tool_name, arguments=arguments) for tool_name, arguments in calls]
    scenario = Scenario(name=name, responses=[Script(output=[*steps]), Script(output=[Text(text="Done.")])])
    await agents.emulator.control.add_scenario(scenario)
    fields = {"transport": TransportChoice.STREAM, "tools": [], **fields}
    return await agents.start(AgentInput(task="Do it.", metadata={"scenario": name}, **fields))


def made(folder: Path, tool: str) -> int:
    """How often the server was called."""
    file = folder / tool
    return len(file.read_text().splitlines()) if file.exists() else 0


async def told(agents: Agents, run: Run) -> Story:
    """What `show` tells of a run."""
    return await story_of(agents.client, await described(agents.client, run.id))


async def history_of(run: Run) -> bytes:
    """All that Temporal keeps of a run."""
    history = b"".join([event.SerializeToString() for event in (await run.fetch_history()).events])
    assert b"Do it." in history
    return history


async def until_made(folder: Path, tool: str) -> None:
    """Wait until the server was called."""
    async with asyncio.timeout(20):
        while not made(folder, tool):
            await asyncio.sleep(0.02)


async def test_a_tool_of_a_server_is_offered_and_called(agents: Agents) -> None:
    """As one of the worker's own would be."""
    run = await calling(agents, ("desk__add", {"a": 1, "b": 2}), tools=["desk.add"])
    assert (await result_of(run)).status is AgentStatus.COMPLETED
    assert await agents.answers(run, 2) == ["3"]


async def test_a_tool_of_a_stranger_waits_for_its_owner(agents: Agents, tmp_path: Path) -> None:
    """Whatever its server says of it."""
    run = await calling(agents, ("stranger__append", {"text": "x"}), mcp_servers=["stranger"])
    request = await asked(run)
    assert request.call is not None
    assert (request.call.name, request.call.effect) == ("stranger__append", "once")
    assert made(tmp_path, "append") == 0
    await run.execute_update("respond", args=[request.id, "allow"])
    assert (await result_of(run)).status is AgentStatus.COMPLETED
    assert await agents.answers(run, 2) == ["appended 'x': 1"]


async def test_a_run_with_a_server_that_there_is_not_fails_before_anything_is_paid_for(agents: Agents) -> None:
    """The nearest one is named."""
    run = await calling(agents, mcp_servers=["dekc"])
    result = await result_of(run)
    assert result.error is not None
    there_are = (
        "blabbing, broken, changing, colliding, desk, huge, limited, many, mine, remote, secretive, shop, stranger, "
        "unasked"
    )
    assert result.error.message == (
        f"mcp_servers: there is no server 'dekc'; there are: {there_are}. Did you mean 'desk'?"
    )
    assert await agents.responses(run) == []


async def test_a_rule_knows_a_tool_by_the_name_that_people_write(agents: Agents, tmp_path: Path) -> None:
    rules = [{"tool": "stranger.append", "action": "allow"}]
    run = await calling(agents, ("stranger__append", {"text": "x"}), mcp_servers=["stranger"], approvals=rules)
    assert (await result_of(run)).requests == []
    assert made(tmp_path, "append") == 1


async def test_a_rule_that_asks_is_gone_by_for_a_trusted_server_too(agents: Agents) -> None:
    run = await calling(agents, ("desk__append", {"text": "x"}), mcp_servers=["desk"], approvals="ask")
    request = await asked(run)
    await run.execute_update("respond", args=[request.id, "deny"])
    await result_of(run)
    assert await agents.answers(run, 2) == ["Error: desk__append did not run: its owner denied it."]


@pytest.mark.parametrize(
    ("tool", "answer", "calls"),
    [("die_reading", "survived", 2), ("die_once", "Outcome unknown: desk__die_once was interrupted: its server", 1)],
)
async def test_a_server_that_dies_is_called_again_only_where_that_does_no_harm(
    agents: Agents, tmp_path: Path, tool: str, answer: str, calls: int
) -> None:
    run = await calling(agents, (f"desk__{tool}", {}), mcp_servers=["desk"])
    assert (await result_of(run)).status is AgentStatus.COMPLETED
    [output] = await agents.answers(run, 2)
    assert output.startswith(answer)
    assert made(tmp_path, tool) == calls


async def test_a_tool_that_its_server_changes_is_not_called_any_more(agents: Agents) -> None:
    """The server has another description for it when it is started again; nobody has agreed to that."""
    name = f"of-{agents.settings.task_queue}"
    call = Script(output=[FunctionCallStep(name="changing__get", arguments={})])
    scenario = Scenario(name=name, responses=[call, call, Script(output=[Text(text="Done.")])])
    await agents.emulator.control.add_scenario(scenario)
    request = {"task": "Do it.", "transport": "stream", "metadata": {"scenario": name}, "mcp_servers": ["changing"]}
    run = await agents.start({**request, "tools": []})
    assert (await result_of(run)).status is AgentStatus.COMPLETED
    [interrupted] = await agents.answers(run, 2)
    assert interrupted.startswith("Outcome unknown")
    assert await agents.answers(run, 3) == [
        "Error: changing__get cannot be called: its MCP server has changed it since this run began."
    ]


async def test_a_cancelled_run_cancels_the_call_at_its_server(agents: Agents, tmp_path: Path) -> None:
    run = await calling(agents, ("desk__wait", {"seconds": 60}), mcp_servers=["desk"])
    await until_made(tmp_path, "waiting")
    await run.signal("cancel", "enough")
    assert (await result_of(run)).status is AgentStatus.CANCELLED
    await until_made(tmp_path, "cancelled")


async def test_a_secret_of_a_server_is_in_no_history(agents: Agents) -> None:
    """Nor in what the model reads, though the server tells it."""
    run = await calling(agents, ("secretive__variable", {"name": "THE_TOKEN"}), mcp_servers=["secretive"])
    await result_of(run)
    [output] = await agents.answers(run, 2)
    assert "very-secret-token" not in output
    assert "***" in output
    assert b"very-secret-token" not in await history_of(run)


async def test_a_server_that_cannot_be_started_ends_the_run_with_what_it_says_but_no_secret(agents: Agents) -> None:
    """Two runs at once: each tries for a quarter of a minute."""
    broken, blabbing = [await calling(agents, mcp_servers=[name]) for name in ("broken", "blabbing")]
    ended, told = await asyncio.gather(result_of(broken, 60), result_of(blabbing, 60))
    assert ended.error is not None
    assert (ended.error.type, ended.status) == ("mcp_server_failed", AgentStatus.FAILED)
    assert "it says: there is no token" in ended.error.message
    assert await agents.responses(broken) == []
    assert told.error is not None
    assert "it says: the token *** is not valid" in told.error.message
    assert b"very-secret-token" not in await history_of(blabbing)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"tools": ["desk.ad"]}, "tools: no tool of desk fits 'desk.ad'. Did you mean 'add'?"),
        ({"mcp_servers": ["a__b"]}, "mcp_servers: 'a__b': a server's name has"),
        ({"tools": ["remote.get_*"]}, "tools: 'remote.get_*': the provider knows no patterns of tools"),
        ({"mcp_servers": ["limited"]}, "tools: name those of limited that are wanted"),
        (
            {"mcp_servers": ["unasked"], "approvals": [{"tool": "unasked.*", "action": "deny"}]},
            "mcp_servers: approvals say deny for unasked, whose entry lets the provider call it unasked",
        ),
        ({"mcp_servers": ["many"]}, "tools: 2,000 tools of MCP servers, more than 128: choose some"),
    ],
)
async def test_what_a_run_cannot_be_offered_is_told_before_anything_is_paid_for(
    agents: Agents, fields: dict[str, Any], problem: str
) -> None:
    run = await calling(agents, **fields)
    result = await result_of(run)
    assert result.error is not None
    assert problem in result.error.message
    assert await agents.responses(run) == []


async def test_what_a_server_asks_its_user_is_asked_the_owner_and_the_call_repeated(
    agents: Agents, tmp_path: Path
) -> None:
    """The call ends meanwhile: a worker that dies, or a year, makes no difference."""
    run = await calling(agents, ("desk__send", {"what": "a book"}), mcp_servers=["desk"])
    for field, answer in (("Street", "Main Street"), ("Number", "many"), ("Number", "7")):
        request = await asked(run)
        assert "The MCP server desk asks: Where is it to be sent?" in request.message
        assert f"\n{field}" in request.message
        await run.execute_update("respond", args=[request.id, answer])
    result = await result_of(run)
    assert result.status is AgentStatus.COMPLETED
    assert "'many' cannot be taken: a whole number is wanted." in result.requests[2].message
    assert await agents.answers(run, 2) == ["sent a book to Main Street 7: 1"]
    assert made(tmp_path, "send") == 1
    calls = [step for step in (await told(agents, run)).steps if isinstance(step, CallStep)]
    assert [(call.server_tool, call.status, call.asked, call.output) for call in calls] == [
        ("desk.send", "running", ["Where is it to be sent?"], None),
        ("desk.send", "succeeded", None, "sent a book to Main Street 7: 1"),
    ]


async def test_an_owner_may_decline_what_a_server_asks(agents: Agents, tmp_path: Path) -> None:
    run = await calling(agents, ("desk__send", {"what": "a book"}), mcp_servers=["desk"])
    request = await asked(run)
    await run.execute_update("respond", args=[request.id, "decline"])
    assert (await result_of(run)).status is AgentStatus.COMPLETED
    [output] = await agents.answers(run, 2)
    assert output.startswith("Error: ")
    assert made(tmp_path, "send") == 0


async def test_what_an_older_server_asks_in_the_middle_of_a_call_is_answered_while_the_call_waits(
    agents: Agents, tmp_path: Path
) -> None:
    run = await calling(agents, ("shop__order_twice", {}), mcp_servers=["shop"])
    for question, answer in (("Which color?", "red"), ("And which second color?", "green")):
        request = await asked(run)
        assert f"The MCP server shop asks: {question}" in request.message
        await run.execute_update("respond", args=[request.id, answer])
    assert (await result_of(run)).status is AgentStatus.COMPLETED
    assert await agents.answers(run, 2) == ["order_twice: red and green"]
    assert made(tmp_path, "order_twice") == 1


async def test_declining_and_opening_an_address_are_passed_on_to_an_older_server(
    agents: Agents, tmp_path: Path
) -> None:
    for tool, answer, told in (("order", "decline", "order: decline"), ("log_in", "accept", "log_in: accept")):
        run = await calling(agents, (f"shop__{tool}", {}), mcp_servers=["shop"])
        request = await asked(run)
        assert ("https://shop.example/login?id=1" in request.message) == (tool == "log_in")
        await run.execute_update("respond", args=[request.id, answer])
        await result_of(run)
        assert await agents.answers(run, 2) == [told]
    assert (tmp_path / "answers").read_text().splitlines() == ["decline", "accept"]


async def test_a_cancelled_run_cancels_what_an_older_server_asks(agents: Agents, tmp_path: Path) -> None:
    run = await calling(agents, ("shop__order", {}), mcp_servers=["shop"])
    await asked(run)
    await run.signal("cancel", "enough")
    assert (await result_of(run)).status is AgentStatus.CANCELLED
    assert (tmp_path / "answers").read_text().splitlines() == ["cancel"]


async def test_a_question_survives_the_worker_and_its_call_is_made_again_only_where_that_does_no_harm(
    client: Client, emulator: RunningEmulator, provider: Provider, settings: Settings, tmp_path: Path
) -> None:
    """What was answered is not asked again."""
    agents = Agents(client, emulator, settings)
    async with working(client, provider, settings):
        asks = []
        for tool in ("look_up", "order"):
            run = await calling(agents, (f"shop__{tool}", {}), mcp_servers=["shop"])
            asks.append((run, await asked(run)))
    async with working(client, provider, settings):
        for run, request in asks:
            await run.execute_update("respond", args=[request.id, "green"])
        for (run, _), tool, calls in zip(asks, ("look_up", "order"), (2, 1), strict=True):
            assert (await result_of(run)).status is AgentStatus.COMPLETED
            [output] = await agents.answers(run, 2)
            expected = "look_up: green" if tool == "look_up" else "Outcome unknown: shop__order was interrupted"
            assert output.startswith(expected)
            assert made(tmp_path, tool) == calls


async def test_a_server_may_be_left_to_the_provider(agents: Agents) -> None:
    """It gets what its headers stand for, and asks before each call; history has neither."""
    scenario = "mcp?tool=lookup&header=authorization"
    asks = {"task": "Do it.", "transport": "stream", "metadata": {"scenario": scenario}, "tools": []}
    run = await agents.start({**asks, "mcp_servers": ["remote"]})
    request = await asked(run)
    assert request.call is not None
    assert request.call.name == "remote.lookup"
    await run.execute_update("respond", args=[request.id, "allow"])
    assert (await result_of(run)).status is AgentStatus.COMPLETED
    assert b"very-secret-token" not in await history_of(run)


async def test_a_server_that_is_left_to_the_provider_may_be_called_unasked(agents: Agents) -> None:
    asks = {"task": "Do it.", "transport": "stream", "metadata": {"scenario": "mcp?tool=lookup"}, "tools": []}
    result = await agents.run({**asks, "tools": ["unasked.lookup"]})
    assert (result.status, result.requests) == (AgentStatus.COMPLETED, [])


async def test_the_story_of_a_run_names_the_tools_that_could_not_be_offered(agents: Agents) -> None:
    run = await calling(agents, mcp_servers=["huge", "remote"])
    await result_of(run)
    story = await told(agents, run)
    assert story.mcp is not None
    assert [tool.name for tool in story.mcp.tools] == ["huge__get"]
    assert [(tool.tool, tool.reason[:14]) for tool in story.mcp.left_out or []] == [("huge", "its schema has")]
    assert story.mcp.hosted == {"remote": []}


async def test_a_run_keeps_its_session_until_it_is_lost_and_is_told_then(agents: Agents, tmp_path: Path) -> None:
    """No other run has it; what the server held in it is gone with it, so the call is not simply made again."""
    name = f"of-{agents.settings.task_queue}"
    add, die = (FunctionCallStep(name=f"mine__{tool}", arguments={}) for tool in ("add", "die_reading"))
    add = add.model_copy(update={"arguments": {"a": 1, "b": 2}})
    responses = [Script(output=[step]) for step in (add, add, die, add)]
    await agents.emulator.control.add_scenario(Scenario(name=name, responses=[*responses, DONE]))
    request = {"task": "Do it.", "transport": "stream", "metadata": {"scenario": name}, "mcp_servers": ["mine"]}
    run = await agents.start({**request, "tools": []})
    other = await agents.start({**request, "tools": []})
    assert [(await result_of(each)).status for each in (run, other)] == [AgentStatus.COMPLETED] * 2
    told = {tuple(await agents.answers(each, 4)) for each in (run, other)}
    assert told == {("survived",), (LOST.format("mine__die_reading"),)}  # the file of calls is the same for both
    assert await agents.answers(run, 5) == ["3"]
    servers = (tmp_path / "add").read_text().splitlines()
    assert sorted(Counter(servers).values()) == [1, 2, 3]


async def test_sessions_of_runs_that_have_ended_are_closed(agents: Agents, tmp_path: Path) -> None:
    run = await calling(agents)
    async with Sessions({"mine": McpServer.model_validate(desk(tmp_path, session="run"))}) as sessions:
        await sessions.listing("mine", run.id)
        assert await result_of(run)
        async with asyncio.timeout(20), asyncio.TaskGroup() as beside:
            closing = beside.create_task(close_ended(sessions, agents.client, every=0.01))
            while sessions.runs:
                await asyncio.sleep(0.02)
            closing.cancel()


async def test_names_that_collide_are_told_apart(agents: Agents) -> None:
    run = await calling(agents, ("colliding__a_b", {}), mcp_servers=["colliding"])
    assert (await result_of(run)).status is AgentStatus.COMPLETED
    story = await told(agents, run)
    assert story.mcp is not None
    names = {tool.tool: tool.name for tool in story.mcp.tools}
    assert len(set(names.values())) == len(names) == 5
    assert names["a_b"] == "colliding__a_b"
    assert await agents.answers(run, 2) == ["got it"]
