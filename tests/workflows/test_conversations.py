"""Whole runs whose conversation the server does not keep: the model always sees the task, the calls and the answers."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from temporalio import activity
from temporalio.client import Client
from temporalio.worker import Worker as TemporalWorker

from durable_responses.activities.messages import ActivityName, ConversationPoint, CreateResponse, ResponseRecord
from durable_responses.provider import Provider, ProviderKind
from durable_responses.responses_api.models import FunctionCall, Message, OutputText
from durable_responses.settings import Settings
from durable_responses.worker.arguments import Queue
from durable_responses.workflows.contract import (
    WORKFLOW_TYPE,
    AgentInput,
    ConversationChoice,
    TaskQueue,
    TransportChoice,
    agent_workflow_id,
)
from durable_responses.workflows.ledger import IN_FULL
from tests.support.chainless_servers import CHAINLESS, Chain, ChainlessServer, kinds, serving
from tests.support.emulator_control import RunningEmulator
from tests.support.processes import TemporalServer
from tests.support.runs import Agents, agents_at, progress, reached, result_of, working

NOBODY = "http://127.0.0.1:1/v1"
OVER_HTTP = [TransportChoice.STREAM, TransportChoice.BACKGROUND]
ONE_CALL = ["user", "reasoning", "function_call", "function_call_output"]


def asks(transport: TransportChoice = TransportChoice.STREAM, **fields: Any) -> AgentInput:
    return AgentInput(task="Add.", tools=["add"], transport=transport, **{"max_iterations": 60, **fields})


@pytest.mark.parametrize("transport", OVER_HTTP)
@pytest.mark.parametrize("chain", CHAINLESS)
async def test_a_server_that_does_not_continue_is_sent_the_whole_conversation(
    client: Client, emulator: RunningEmulator, settings: Settings, chain: Chain, transport: TransportChoice
) -> None:
    """A10: never an answer of a model that has not seen the task, and no failure after the tool has run."""
    with serving(ChainlessServer(chain, calls=2)) as server:
        async with agents_at(server, client, emulator, settings) as agents:
            run = await agents.start(asks(transport))
            result = await result_of(run)
            state = await progress(run)
    assert (result.status, result.error) == ("completed", None)
    assert result.output_text == "I was given: " + ", ".join([*ONE_CALL, *ONE_CALL[1:]])
    assert [call.status for call in state.function_calls] == ["succeeded", "succeeded"]
    assert IN_FULL in result.request_changes
    creates = [(asked.get("previous_response_id") is not None, len(asked["input"])) for asked in server.asked]
    assert creates[1:] == [(True, 1), (False, 4), (False, 7)]  # one try, then in full
    assert server.gets == 0


async def test_a_paid_answer_that_does_not_continue_is_counted_and_not_used(
    client: Client, emulator: RunningEmulator, settings: Settings
) -> None:
    with serving(ChainlessServer(Chain.IGNORED)) as server:
        async with agents_at(server, client, emulator, settings) as agents:
            result = await agents.run(asks())
    assert [entry.status for entry in result.responses] == ["completed", "superseded", "completed"]
    assert result.usage.input_tokens == 1 + 1 + 4


async def test_what_one_run_has_learned_the_next_one_knows(
    client: Client, emulator: RunningEmulator, settings: Settings
) -> None:
    with serving(ChainlessServer(Chain.IGNORED)) as server:
        async with agents_at(server, client, emulator, settings) as agents:
            await agents.run(asks())
            server.asked.clear()
            result = await agents.run(asks())
    assert result.output_text == "I was given: " + ", ".join(ONE_CALL)
    assert [asked.get("previous_response_id") for asked in server.asked] == [None, None]


@pytest.mark.parametrize(
    ("chain", "changes"),
    [(Chain.IGNORED, [IN_FULL]), (Chain.NAMES_A_COMPLETION, [IN_FULL]), (Chain.CONTINUED, [])],
)
async def test_a_background_response_is_judged_by_its_end(
    client: Client, emulator: RunningEmulator, settings: Settings, chain: Chain, changes: list[str]
) -> None:
    """While it is queued, this server names no response yet."""
    with serving(ChainlessServer(chain, queues=True)) as server:
        async with agents_at(server, client, emulator, settings) as agents:
            result = await agents.run(asks(TransportChoice.BACKGROUND))
    assert (result.output_text, result.request_changes) == ("I was given: " + ", ".join(ONE_CALL), changes)


@pytest.mark.parametrize("chain", [Chain.CONTINUED, Chain.ECHOES_ANOTHER])
async def test_a_server_that_continues_is_sent_what_is_new(
    client: Client, emulator: RunningEmulator, settings: Settings, chain: Chain
) -> None:
    """An echo of another id proves nothing: such a server continues all the same."""
    with serving(ChainlessServer(chain, calls=2)) as server:
        async with agents_at(server, client, emulator, settings) as agents:
            result = await agents.run(asks())
    assert result.output_text == "I was given: " + ", ".join([*ONE_CALL, *ONE_CALL[1:]])
    assert [len(asked["input"]) for asked in server.asked[1:]] == [1, 1]
    assert result.request_changes == []


@pytest.mark.parametrize("chain", [Chain.IGNORED, Chain.REFUSED_BY_NAME])
@pytest.mark.parametrize("fields", [{"conversation": "server"}, {"previous_response_id": "resp_of_another_run"}])
async def test_a_conversation_that_only_the_server_could_know_ends_the_run_by_name(
    client: Client, emulator: RunningEmulator, settings: Settings, chain: Chain, fields: dict[str, Any]
) -> None:
    with serving(ChainlessServer(chain)) as server:
        async with agents_at(server, client, emulator, settings) as agents:
            result = await agents.run(asks(**fields))
    assert result.error is not None
    assert (result.status, result.error.type, result.output_text) == ("failed", "chain_rejected", "")


async def test_in_full_nothing_is_stored_and_reasoning_is_given_back_encrypted(
    client: Client, emulator: RunningEmulator, settings: Settings
) -> None:
    with serving(ChainlessServer(Chain.REFUSED_BY_NAME, calls=2)) as server:
        async with agents_at(server, client, emulator, settings) as agents:
            result = await agents.run(asks(TransportChoice.AUTO, conversation="full", reasoning_effort="high"))
    assert (result.status, result.request_changes) == ("completed", [])
    assert [(asked["store"], asked["stream"], asked["include"]) for asked in server.asked] == [
        (False, True, ["reasoning.encrypted_content"])
    ] * 3
    assert not any("previous_response_id" in asked or asked.get("background") for asked in server.asked)
    assert kinds(server.asked[-1]["input"]) == [*ONE_CALL, *ONE_CALL[1:]]
    thoughts = [item["encrypted_content"] for item in server.asked[-1]["input"] if item.get("type") == "reasoning"]
    assert thoughts == ["E1", "E2"]


@pytest.mark.parametrize("transport", [TransportChoice.STREAM, TransportChoice.WEBSOCKET])
async def test_in_full_over_each_transport_the_model_has_all_answers(
    agents: Agents, transport: TransportChoice
) -> None:
    """The emulator answers when its model has seen the output of every call."""
    scenario = 'calls?iterations=3&parallel=2&tool=add&arguments={"a":1,"b":2}'
    run = await agents.start(asks(transport, conversation="full", metadata={"scenario": scenario}))
    result = await result_of(run)
    assert (result.status, result.output_text) == ("completed", "All calls are answered.")
    assert [bill.previous_response_id for bill in await agents.responses(run)] == [None] * 4


async def test_a_steering_message_stands_in_the_conversation_from_then_on(
    client: Client, emulator: RunningEmulator, settings: Settings
) -> None:
    with serving(ChainlessServer(Chain.IGNORED, calls=6)) as server:
        async with agents_at(server, client, emulator, settings) as agents:
            run = await agents.start(asks(conversation="full"), start_signal="steer", start_signal_args=["Be brief."])
            result = await result_of(run)
    assert result.status == "completed"
    said = {"role": "user", "content": "Be brief."}
    places = [asked["input"].index(said) for asked in server.asked if said in asked["input"]]
    assert len(places) >= 6
    assert len(set(places)) == 1


async def test_what_a_worker_of_an_older_version_has_sent_is_not_used(client: Client, settings: Settings) -> None:
    """While workers are replaced, one that knows of no conversation in full may send the new items alone."""
    asked: list[CreateResponse] = []
    add = FunctionCall(call_id="call_1", name="add", arguments='{"a": 1, "b": 2}')

    @activity.defn(name=ActivityName.STREAM_RESPONSE)
    async def of_an_older_version(create: CreateResponse) -> ResponseRecord:
        asked.append(create)
        first = len(asked) == 1
        point = ConversationPoint(count=1, hash="0", size=1) if first else None
        output = [add] if first else [Message(content=[OutputText(text="What task?")])]
        record = ResponseRecord(id=f"resp_{len(asked)}", output=list(output), conversation=point)
        record.replayable = first or None
        return record

    queue = TaskQueue.CREATE.under(settings.task_queue)
    provider = Provider(kind=ProviderKind.COMPATIBLE, base_url=NOBODY, websocket_base_url=NOBODY)
    served = [Queue.AGENTS, Queue.TOOLS]
    async with (
        working(client, provider, settings, served),
        TemporalWorker(client, task_queue=queue, activities=[of_an_older_version]),
    ):
        run = await client.start_workflow(
            WORKFLOW_TYPE, asks(conversation="full"), id=agent_workflow_id(), task_queue=settings.task_queue
        )
        result = await result_of(run)
    assert result.error is not None
    assert (result.status, result.error.type, result.output_text) == ("failed", "conversation_lost", "")
    assert [entry.status for entry in result.responses] == ["completed", *["superseded"] * 4]


# --- however long it is ------------------------------------------------------------------------------------------


def all_given(server: ChainlessServer) -> list[list[str]]:
    """What each create's input consisted of."""
    return [["user"] if isinstance(asked["input"], str) else kinds(asked["input"]) for asked in server.asked]


def growing(turns: int, said: list[str]) -> list[list[str]]:
    """What they must consist of: each turn adds what the model said, and the answer to its call."""
    return [["user", *[*said, "function_call_output"] * number] for number in range(turns + 1)]


@pytest.mark.parametrize("memory", [256, 0])
@pytest.mark.parametrize("fields", [{"conversation": "full"}, {}])
async def test_what_a_worker_does_not_remember_it_reads_from_the_history_of_the_run(
    client: Client, emulator: RunningEmulator, settings: Settings, memory: int, fields: dict[str, Any]
) -> None:
    (settings.files_root / "notes.txt").write_text("As it was when it was sent.")
    with serving(ChainlessServer(Chain.IGNORED, calls=5)) as server:
        forgetful = settings.model_copy(update={"conversation_memory": memory})
        async with agents_at(server, client, emulator, forgetful) as agents:
            files = [{"path": "notes.txt"}]
            run = await agents.start(asks(files=files, files_root=str(settings.files_root), **fields))
            await reached(run, lambda state: state.iteration > 1)
            (settings.files_root / "notes.txt").write_text("Changed.")
            result = await result_of(run)
    assert (result.status, result.error) == ("completed", None)
    given = [each for asked, each in zip(server.asked, all_given(server), strict=True) if not is_chained(asked)]
    assert given == growing(5, ["reasoning", "function_call"])
    assert "As it was when it was sent." in server.asked[-1]["input"][0]["content"]


def is_chained(asked: dict[str, Any]) -> bool:
    return "previous_response_id" in asked


async def test_history_stays_flat_while_the_conversation_grows(
    client: Client, emulator: RunningEmulator, settings: Settings
) -> None:
    """30 turns with 4 KB each: what a turn adds to history does not depend on those before it."""
    with serving(ChainlessServer(Chain.REFUSED_BY_NAME, calls=30, padding=4000)) as server:
        async with agents_at(server, client, emulator, settings) as agents:
            run = await agents.start(asks(conversation="full"))
            result = await result_of(run)
    assert result.iterations == 31
    assert len(server.asked[-1]["input"]) == 1 + 30 * 4
    costs = [0]
    async for event in run.fetch_history_events():
        if event.activity_task_scheduled_event_attributes.activity_type.name == "stream_response":
            costs.append(0)
        costs[-1] += event.ByteSize()
    middle = costs[2:-1]
    print(f"\n{max(middle)} bytes of history for a turn of 4 KB")
    assert max(middle) < 4000 + 5000
    assert sum(middle[-10:]) < sum(middle[:10]) * 1.25


@pytest.fixture(scope="module")
async def short_histories(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TemporalServer]:
    """A server that suggests a continue-as-new early."""
    server = await TemporalServer.on(tmp_path_factory.mktemp("short-histories"))
    for limit in ("historySize.suggestContinueAsNew=400000", "historyCount.suggestContinueAsNew=60"):
        server.command += ["--dynamic-config-value", f"limit.{limit}"]
    async with server:
        yield server


KEPT = {"in memory": (256, True), "in pages": (0, True), "in the histories before": (0, False)}


@pytest.mark.parametrize(("memory", "has_folder"), KEPT.values(), ids=KEPT)
async def test_a_conversation_of_megabytes_survives_new_histories(
    short_histories: TemporalServer, emulator: RunningEmulator, settings: Settings, memory: int, has_folder: bool
) -> None:
    """6 MB, over two continue-as-news: more than one payload holds."""
    client = await short_histories.client()
    if not has_folder:
        settings.state_folder.mkdir()
        (settings.state_folder / "conversations").touch()
    with serving(ChainlessServer(Chain.REFUSED_BY_NAME, calls=25, padding=300_000)) as server:
        forgetful = settings.model_copy(update={"conversation_memory": memory})
        async with agents_at(server, client, emulator, forgetful) as agents:
            run = await agents.start(asks(conversation="full"))
            result = await result_of(run, 120)
    assert (result.status, result.error) == ("completed", None)
    assert all_given(server) == growing(25, ["reasoning", "assistant", "function_call"])
    assert len(str(server.asked[-1]["input"])) > 6_000_000
    runs = [found async for found in client.list_workflows(f"WorkflowId = '{run.id}'")]
    assert len(runs) >= 3
    assert (settings.state_folder / "conversations").is_dir() is has_folder


@pytest.mark.parametrize("memory", [256, 0])
async def test_a_small_conversation_travels_with_the_run(
    short_histories: TemporalServer, emulator: RunningEmulator, settings: Settings, memory: int
) -> None:
    client = await short_histories.client()
    with serving(ChainlessServer(Chain.REFUSED_BY_NAME, calls=40)) as server:
        forgetful = settings.model_copy(update={"conversation_memory": memory})
        async with agents_at(server, client, emulator, forgetful) as agents:
            run = await agents.start(asks(conversation="full"))
            result = await result_of(run, 120)
    assert (result.status, result.error) == ("completed", None)
    assert all_given(server) == growing(40, ["reasoning", "function_call"])
    assert len([found async for found in client.list_workflows(f"WorkflowId = '{run.id}'")]) > 1
    assert not (settings.state_folder / "conversations").exists()


async def test_a_chain_that_breaks_after_a_new_history_is_replaced_from_the_one_before(
    short_histories: TemporalServer, emulator: RunningEmulator, settings: Settings
) -> None:
    """The server has continued from its responses until it forgot them, and they cannot be read back."""
    client = await short_histories.client()
    with serving(ChainlessServer(Chain.CONTINUED, calls=12)) as server:
        async with agents_at(server, client, emulator, settings) as agents:
            run = await agents.start(asks())
            chain = client.get_workflow_handle(run.id)
            await reached(chain, lambda state: state.iteration > 8)
            server.chain = Chain.REFUSED_BY_CODE
            result = await result_of(run, 60)
    assert (result.status, result.error) == ("completed", None)
    assert all_given(server)[-1] == growing(12, ["reasoning", "function_call"])[-1]
    assert IN_FULL in result.request_changes


async def test_an_item_that_no_payload_holds_ends_the_run_by_name(
    client: Client, emulator: RunningEmulator, settings: Settings
) -> None:
    with serving(ChainlessServer(Chain.REFUSED_BY_NAME, thought=2_000_000)) as server:
        async with agents_at(server, client, emulator, settings) as agents:
            result = await agents.run(asks(conversation="full"))
    assert result.error is not None
    assert (result.status, result.error.type) == ("failed", "conversation_lost")
    assert "too large to be sent again" in result.error.message


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id: the run does not know that conversation"),
        ({"transport": "background"}, "transport: a background response is stored"),
    ],
)
async def test_what_does_not_go_with_full_is_refused(agents: Agents, fields: dict[str, Any], told: str) -> None:
    result = await agents.run({"task": "Hi.", "conversation": ConversationChoice.FULL, **fields})
    assert result.error is not None
    assert (result.error.type, told in result.error.message) == ("invalid_input", True)
