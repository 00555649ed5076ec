"""A conversation that is sent in full survives the death of its worker: it is read from the run's history."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager

import pytest

from durable_responses.activities.messages import CreatePhase
from durable_responses.workflows.contract import AgentStatus, ConversationChoice, TransportChoice
from tests.support.chainless_servers import Chain, ChainlessServer, kinds, serving
from tests.support.deployment import Deployment, Run, until
from tests.support.processes import WorkerProcess

FULL = {"conversation": ConversationChoice.FULL, "transport": TransportChoice.STREAM, "max_iterations": 100}
ONE_TURN = ["reasoning", "function_call", "function_call_output"]


@pytest.fixture
def server() -> Iterator[ChainlessServer]:
    with serving(ChainlessServer(Chain.IGNORED, tool="look", arguments='{"gate": "gate"}')) as running:
        yield running


def assert_each_create_carried_all(server: ChainlessServer, said: list[str]) -> None:
    given = [["user"] if isinstance(asked["input"], str) else kinds(asked["input"]) for asked in server.asked]
    assert given == [["user", *said * number] for number in range(server.calls + 1)]


async def test_a_worker_that_did_not_do_the_turn_before_sends_all_the_same(
    deployment: Deployment, server: ChainlessServer
) -> None:
    """SIGKILL while a tool runs: the next worker has never seen the conversation."""
    server.calls = 3
    async with deployment.worker(base_url=server.base_url) as first:
        run = await deployment.start_only(**FULL)
        await until(lambda: deployment.gate("gate").has_begun())
        first.kill()
    deployment.open_gates()
    async with deployment.worker(base_url=server.base_url):
        result = await run.result()
    assert (result.status, result.ambiguous_creates) == (AgentStatus.COMPLETED, 0)
    assert_each_create_carried_all(server, ONE_TURN)


async def test_two_workers_that_take_turns_send_the_same_conversation(
    deployment: Deployment, server: ChainlessServer
) -> None:
    server.calls = 12
    deployment.open_gates()
    one, other = (deployment.worker(base_url=server.base_url) for _ in range(2))
    async with one, other:
        runs = [await deployment.start_only(**FULL) for _ in range(4)]
        results = [await run.result() for run in runs]
    assert [result.status for result in results] == [AgentStatus.COMPLETED] * 4
    lengths = sorted(len(asked["input"]) for asked in server.asked if isinstance(asked["input"], list))
    assert lengths == sorted(1 + 3 * number for number in range(1, 13) for _ in runs)
    assert all(kinds(asked["input"])[:4] == ["user", *ONE_TURN] for asked in server.asked if len(asked["input"]) > 8)


async def test_a_worker_that_is_lost_while_it_reads_has_sent_nothing(
    deployment: Deployment, server: ChainlessServer
) -> None:
    """So its create is not ambiguous, and is sent once."""
    server.calls, server.padding = 20, 250_000
    deployment.open_gates()
    async with deployment.worker(base_url=server.base_url, AGENT_CONVERSATION_MEMORY="0") as first:
        run = await deployment.start_only(**FULL)
        async with caught_fetching(run, first):
            sent = len(server.asked)
            first.kill()
    async with deployment.worker(base_url=server.base_url):
        result = await run.result(seconds=90)
    assert (result.status, result.ambiguous_creates) == (AgentStatus.COMPLETED, 0)
    assert 0 < sent < 21
    assert_each_create_carried_all(server, ["reasoning", "assistant", "function_call", "function_call_output"])


@asynccontextmanager
async def caught_fetching(run: Run, worker: WorkerProcess) -> AsyncIterator[None]:
    """Enter while the worker reads a history, and stands still."""

    async def stands_still() -> bool:
        if not await fetches():
            return False
        worker.freeze()
        if await fetches():
            return True
        worker.thaw()
        return False

    async def fetches() -> bool:
        heartbeat = await run.heartbeat_of("stream_response")
        return heartbeat is not None and heartbeat.phase is CreatePhase.FETCHING

    await until(stands_still, seconds=60)
    yield
