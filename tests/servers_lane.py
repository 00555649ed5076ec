"""The slow lane, `make test-servers`: servers of others, and what runs on them come to. It writes docs/servers.md.

Each server is in an environment of its own, pinned, and skipped by name where it cannot be installed. A cell is `yes`,
or what the run said; one that is not `yes` must be among those that are known of the server.
"""

import asyncio
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from temporalio.client import Client

from durable_responses.settings import child_environment
from durable_responses.workflows.contract import AgentResult, AgentStatus, TransportChoice
from tests.servers.definitions import CALL_TASK, CHAT_MODEL, SERVERS, TASK, Place, Server
from tests.support.deployment import Deployment, Run, until
from tests.support.emulator_control import EmulatorProcess
from tests.support.environments import CannotBeInstalled
from tests.support.processes import CHECKOUT, Process, TemporalServer, free_port

PAGE = CHECKOUT / "docs" / "servers.md"
ENOUGH = 150.0
YES = "yes"


@dataclass
class Running:
    """A server that listens, and workers for it."""

    server: Server
    base_url: str
    deployment: Deployment
    cells: dict[str, str] = field(default_factory=dict)

    def worker(self) -> Process:
        """A worker on this server, not started yet."""
        return self.deployment.worker(
            (), base_url=self.base_url, OPENAI_API_KEY="any", AGENT_MODEL=self.server.model, AGENT_LOG_LEVEL="INFO"
        )

    async def start(self, task: str, transport: TransportChoice = TransportChoice.AUTO) -> Run:
        """Start a run; high effort, so that `auto` means what is to last."""
        return await self.deployment.start_only(task=task, transport=transport, max_iterations=3, deadline=120)


@pytest.fixture(scope="session", params=SERVERS, ids=lambda server: re.sub(r"\W+", "-", server.name.lower()))
async def running(
    request: pytest.FixtureRequest,
    temporal: TemporalServer,
    client: Client,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[Running]:
    """One server after the other, each with an emulator and a chat model that may stand behind it."""
    server: Server = request.param
    try:
        environment = await server.installed()
    except CannotBeInstalled as missing:
        pytest.skip(str(missing))
    folder = tmp_path_factory.mktemp("server")
    chat_port, port = free_port(), free_port()
    async with AsyncExitStack() as stack:
        emulator = await stack.enter_async_context(EmulatorProcess(folder))
        await stack.enter_async_context(Process([*CHAT_MODEL, str(chat_port)], log=folder / "chat.log"))
        program = server.program(environment, Place(folder, port, f"http://127.0.0.1:{chat_port}/v1"))
        for number, each in enumerate(filter(None, (program.behind, program))):
            variables = child_environment(**each.variables)
            await stack.enter_async_context(Process(each.command, log=folder / f"server-{number}.log", env=variables))
        base_url = f"http://127.0.0.1:{port}{program.path}"

        async def listens() -> bool:
            try:
                return bool(await asyncio.to_thread(httpx.get, base_url, trust_env=False, timeout=5))
            except httpx.HTTPError:
                return False

        await until(listens, seconds=server.starts_within)
        running = Running(server, base_url, Deployment(temporal, client, emulator, folder / "deployment"))
        running.deployment.gate("open").open()
        yield running
    if running.cells:
        write_row(PAGE, running)


async def in_words(run: Run, wanted: Callable[[AgentResult], bool]) -> str:
    """`yes` if the run completed as is wanted; else its end."""
    result = await run.result(seconds=ENOUGH)
    if result.status is AgentStatus.COMPLETED:
        return YES if wanted(result) else f"completed, with: {result.output_text[:80]}"
    return f"{result.status}: {(result.error.type if result.error else None) or result.incomplete_reason}"


def is_answered(server: Server, *shown: str) -> Callable[[AgentResult], bool]:
    """Whether an answer shows these; of random weights, whether there is one."""
    return lambda result: all(text in result.output_text for text in shown if server.follows_words)


async def behaviour(running: Running) -> str:
    """The conformance suite's level `behaviour`, in a process of its own."""
    options = ["--level", "behaviour", "--base-url", running.base_url, "--model", running.server.model]
    suite = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/conformance", *options),
        cwd=CHECKOUT,
        env=child_environment(OPENAI_API_KEY="any"),
        stdout=subprocess.PIPE,
    )
    output, _ = await suite.communicate()
    counts = {word: int(number) for number, word in re.findall(r"(\d+) (passed|failed|skipped)", output.decode())}
    print(output.decode())
    if counts.get("failed") or not counts.get("passed"):
        return f"{counts.get('failed', 0)} of {sum(counts.values())} failed"
    return YES


async def stream(running: Running) -> str:
    """A run by stream."""
    async with running.worker():
        run = await running.start(TASK, TransportChoice.STREAM)
        return await in_words(run, is_answered(running.server))


async def background(running: Running) -> str:
    """A run by background responses."""
    async with running.worker():
        run = await running.start(TASK, TransportChoice.BACKGROUND)
        return await in_words(run, is_answered(running.server))


async def auto(running: Running) -> str:
    """A run by what the worker thinks best."""
    async with running.worker():
        return await in_words(await running.start(TASK), is_answered(running.server))


async def tool(running: Running) -> str:
    """A run with a function call, whose answer shows that the model has seen both the task and the result."""
    if not running.server.follows_words:
        return "not asked"
    async with running.worker():
        run = await running.start(CALL_TASK)
        return await in_words(run, is_answered(running.server, CALL_TASK, "The gate open is open."))


async def cancel(running: Running) -> str:
    """A run that is cancelled while its response is written."""
    async with running.worker():
        run = await running.start("Take 60 seconds.")
        await until(lambda: _is_under_way(run), seconds=60)
        await run.handle.signal("cancel")
        result = await run.result(seconds=90)
        return YES if result.status is AgentStatus.CANCELLED else f"{result.status}"


async def kill(running: Running) -> str:
    """A run whose worker is killed while its response is written."""
    async with running.worker() as first:
        run = await running.start("Take 6 seconds.")
        await until(lambda: _is_under_way(run), seconds=60)
        first.kill()
    async with running.worker():
        return await in_words(run, is_answered(running.server))


COLUMNS: dict[str, Callable[[Running], Awaitable[str]]] = {
    "behaviour": behaviour,
    "stream": stream,
    "background": background,
    "auto": auto,
    "tool": tool,
    "cancel": cancel,
    "kill of the worker": kill,
}


async def _is_under_way(run: Run) -> bool:
    description = await run.handle.describe()
    pending = [each.activity_type.name for each in description.raw_description.pending_activities]
    return description.close_time is not None or bool(
        {"create_response", "await_response", "stream_response"}.intersection(pending)
    )


@pytest.mark.timeout(600)
@pytest.mark.parametrize("column", COLUMNS)
async def test_runs_on_a_server_of_others_come_to_what_is_known_of_it(running: Running, column: str) -> None:
    running.cells[column] = await COLUMNS[column](running)
    assert running.cells[column] == running.server.known.get(column, YES)


def write_row(page: Path, running: Running) -> None:
    """Put a server's row into the table: columns that were not tried stay as they are."""
    name = f"{running.server.name} {running.server.version}"
    lines = page.read_text().splitlines()
    head = next(number for number, line in enumerate(lines) if line.startswith("| server |"))
    end = next(number for number in range(head, len(lines) + 1) if number == len(lines) or not lines[number].strip())
    rows = {line.split("|")[1].strip(): line for line in lines[head + 2 : end]}
    kept = dict(zip(COLUMNS, (cell.strip() for cell in rows.get(name, "").split("|")[2:-1]), strict=False))
    cells = [running.cells.get(column, kept.get(column, "")) for column in COLUMNS]
    rows[name] = f"| {name} | {' | '.join(cells)} |"
    table = ["| server | " + " | ".join(COLUMNS) + " |", "|---" * (len(COLUMNS) + 1) + "|", *rows.values()]
    page.write_text("\n".join([*lines[:head], *table, *lines[end:]]) + "\n")
