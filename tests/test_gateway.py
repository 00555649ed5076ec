"""Long runs behind a gateway that cuts every connection after a while. Seconds stand for minutes here: its limit of
60 s is `LIMIT`, and connections to the provider are renewed as much earlier."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from temporalio.client import Client

from durable_responses.emulator.model.script import Script, Text, WebSearchStep
from durable_responses.workflows.contract import AgentStatus
from tests.support.deployment import Deployment, calls
from tests.support.emulator_control import EmulatorProcess
from tests.support.processes import TemporalServer

LIMIT = 1.5  # seconds that the gateway grants to a connection
RENEWED_AFTER = 0.5
THOUGHT = 2 * LIMIT


@dataclass
class Gateway:
    """A TCP proxy in front of a provider that cuts each connection after `limit` seconds. Use `serving`."""

    port_of_provider: int
    limit: float
    ages: list[float] = field(default_factory=list)
    """How long each connection lasted, in seconds."""
    cut: int = 0
    _handling: set["asyncio.Task[None]"] = field(default_factory=set)

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve on a free port; yields the base URL."""
        server = await asyncio.start_server(self._accept, "127.0.0.1", 0)
        async with server:
            yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
            server.close()
            for handling in list(self._handling):
                handling.cancel()
            await asyncio.gather(*self._handling, return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        handling = asyncio.create_task(self._relay(reader, writer))
        self._handling.add(handling)
        handling.add_done_callback(self._handling.discard)

    async def _relay(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        began = time.monotonic()
        from_provider, to_provider = await asyncio.open_connection("127.0.0.1", self.port_of_provider)
        try:
            async with asyncio.timeout(self.limit), asyncio.TaskGroup() as both_ways:
                both_ways.create_task(_copy(reader, to_provider))
                both_ways.create_task(_copy(from_provider, writer))
        except TimeoutError:
            self.cut += 1
            writer.transport.abort()
        finally:
            self.ages.append(time.monotonic() - began)
            writer.close()
            to_provider.close()


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    """Copy until the source ends, or one of the two is gone; then close the target."""
    try:
        while data := await source.read(65536):
            target.write(data)
            await target.drain()
    except ConnectionError:
        return
    finally:
        target.close()


@pytest.fixture
async def emulator_process(tmp_path: Path) -> AsyncIterator[EmulatorProcess]:
    async with EmulatorProcess(tmp_path / "emulator") as emulator:
        yield emulator


async def test_no_connection_of_a_long_run_is_open_long_enough_to_be_cut(
    temporal: TemporalServer, client: Client, emulator_process: EmulatorProcess, tmp_path: Path
) -> None:
    """A1, A2: high effort, and medium effort with web search, both several iterations of long responses."""
    deployment = Deployment(temporal, client, emulator_process, tmp_path)
    deployment.gate("next").open()
    long_response = Script(think=THOUGHT, output=[WebSearchStep(query="gateways"), calls("look", "next")])
    turns = [long_response, long_response, Script(think=THOUGHT, output=[Text(text="Done.")], write=0)]
    gateway = Gateway(emulator_process.port, LIMIT)
    async with (
        gateway.serving() as base_url,
        deployment.worker(base_url=base_url, AGENT_CONNECTION_AGE=str(RENEWED_AFTER)),
    ):
        runs = {
            "high effort": await deployment.start("high", turns, reasoning_effort="high"),
            "medium effort, web search": await deployment.start("searching", turns, enable_web_search=True),
        }
        results = {name: await run.result() for name, run in runs.items()}
        bills = {name: await run.bill() for name, run in runs.items()}
    for name, bill in bills.items():
        print(f"{name}: iterations {results[name].iterations}, creates {bill.counts.creates_accepted}")
    print(f"{len(gateway.ages)} connections, the longest {max(gateway.ages):.2f} s, cut {gateway.cut}")
    assert [result.status for result in results.values()] == [AgentStatus.COMPLETED] * 2
    assert [bill.counts.creates_accepted for bill in bills.values()] == [len(turns)] * 2
    assert gateway.cut == 0
