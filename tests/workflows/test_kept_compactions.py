"""Where the output of a compaction is: not in history where the provider gives it again, or where it does not fit."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import Client

from durable_responses.activities.conversations import FOLDER
from durable_responses.settings import Settings
from durable_responses.workflows.contract import AgentInput, AgentResult, TransportChoice
from tests.support.chainless_servers import Chain
from tests.support.emulator_control import RunningEmulator
from tests.support.processes import TemporalServer
from tests.support.runs import agents_at, result_of
from tests.support.windowed_server import WindowedServer, serving_windowed

BULK = 3 * 1024 * 1024  # more than a payload may have


@pytest.fixture(params=[True, False], ids=["remembered", "read again"])
def of_a_worker(request: pytest.FixtureRequest, settings: Settings) -> Settings:
    """A worker that has the conversation in memory, and one that has to read it."""
    return settings if request.param else settings.model_copy(update={"conversation_memory": 0})


async def ran(
    client: Client, emulator: RunningEmulator, settings: Settings, server: WindowedServer, **fields: Any
) -> tuple[AgentResult, int]:
    """How a run ends, and the bytes of its largest event."""
    async with agents_at(server, client, emulator, settings) as agents:
        given = {"max_iterations": 60, "context_window": server.window, **fields}
        run = await agents.start(AgentInput(task="Add.", tools=["add"], **given))
        result = await result_of(run)
        return result, max(event.ByteSize() for event in (await run.fetch_history()).events)


def assert_gone_on(result: AgentResult, server: WindowedServer) -> None:
    assert (result.status, result.error, result.iterations) == ("completed", None, server.calls + 1)
    listed = [entry for entry in result.responses if entry.status == "compaction"]
    assert len(listed) == len(server.compactions) > 1
    given = [item for asked in server.asked if isinstance(asked["input"], list) for item in asked["input"]]
    contents = [item["encrypted_content"] for item in given if item.get("type") == "compaction"]
    assert len(contents) >= len(listed)
    assert all(content.count(" ") == server.bulk for content in contents)


async def test_what_a_create_has_compacted_is_read_again_by_its_id(
    client: Client, emulator: RunningEmulator, of_a_worker: Settings
) -> None:
    server = WindowedServer(Chain.CONTINUED, calls=35, padding=1500, queues=True, bulk=BULK)
    with serving_windowed(server):
        result, largest = await ran(client, emulator, of_a_worker, server, transport=TransportChoice.BACKGROUND)
    assert_gone_on(result, server)
    assert largest < 20_000
    assert list(pages(of_a_worker)) == []


@pytest.mark.parametrize("conversation", ["server", "full"])
@pytest.mark.parametrize("ways", [{}, {"triggers": False}], ids=["trigger", "compact"])
async def test_what_does_not_fit_into_history_is_kept_in_the_state_folder(
    client: Client,
    emulator: RunningEmulator,
    of_a_worker: Settings,
    conversation: str,
    ways: dict[str, Any],
) -> None:
    server = WindowedServer(Chain.CONTINUED, calls=35, padding=1500, bulk=BULK, **ways)
    with serving_windowed(server):
        fields = {"transport": TransportChoice.STREAM, "conversation": conversation}
        result, largest = await ran(client, emulator, of_a_worker, server, **fields)
    assert_gone_on(result, server)
    assert largest < 20_000
    assert list(pages(of_a_worker))


@pytest.fixture(scope="module")
async def short_histories(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[TemporalServer]:
    """A server that suggests a continue-as-new early."""
    server = await TemporalServer.on(tmp_path_factory.mktemp("short-histories"))
    server.command += ["--dynamic-config-value", "limit.historyCount.suggestContinueAsNew=40"]
    async with server:
        yield server


@pytest.mark.parametrize("way", [{"queues": True}, {"conversation": "full"}], ids=["background", "in full"])
async def test_what_is_kept_elsewhere_is_found_from_a_new_history(
    short_histories: TemporalServer, emulator: RunningEmulator, settings: Settings, way: dict[str, Any]
) -> None:
    client, given = await short_histories.client(), dict(way)
    server = WindowedServer(Chain.CONTINUED, calls=35, padding=1500, queues=given.pop("queues", False), bulk=BULK)
    given["transport"] = TransportChoice.BACKGROUND if server.queues else TransportChoice.STREAM
    settings = settings.model_copy(update={"conversation_memory": 0})
    with serving_windowed(server):
        result, _ = await ran(client, emulator, settings, server, **given)
    assert_gone_on(result, server)
    assert len([found async for found in client.list_workflows()]) > 2


async def test_a_compaction_that_the_provider_has_deleted_ends_the_run_by_name(
    client: Client, emulator: RunningEmulator, settings: Settings
) -> None:
    server = WindowedServer(Chain.CONTINUED, calls=35, padding=1500, queues=True)
    settings = settings.model_copy(update={"conversation_memory": 0})
    server.stored = ReadOnce()
    with serving_windowed(server):
        result, _ = await ran(client, emulator, settings, server, transport=TransportChoice.BACKGROUND)
    assert result.error is not None
    assert (result.status, result.error.type) == ("failed", "conversation_lost")
    assert "is gone at the provider" in result.error.message


class ReadOnce(dict[str, Any]):
    """Each response can be read once."""

    def get(self, key: str, default: Any = None) -> Any:
        return self.pop(key, default)


def pages(settings: Settings) -> list[Path]:
    folder = settings.state_folder / FOLDER
    return list(folder.iterdir()) if folder.exists() else []
