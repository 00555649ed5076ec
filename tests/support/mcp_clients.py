"""MCP servers as processes, and the SDK's own clients of them, over stdio and over HTTP."""

import asyncio
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, Self

import httpx2
from mcp.client.client import Client
from mcp.client.extension import ClientExtension
from mcp.client.session import ElicitationFnT
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.dispatcher import ProgressFnT
from mcp_types import CallToolResult, ResourceLink, TextContent

from durable_responses.mcp_server.tools import ERROR_META, JOB_META
from durable_responses.settings import child_environment
from tests.support.processes import Process, free_port, port_serves

MODERN, LEGACY = "2026-07-28", "legacy"
"""The two generations of the protocol, as the SDK's client names them: without and with a handshake."""

FINAL = {"completed", "incomplete", "failed", "cancelled"}


@dataclass(frozen=True)
class Reply:
    """The result of a tool call: the structured content, and the text beside it.

    A call that failed has no structured content, but says why in its text and, for programs, in a word.
    """

    content: dict[str, Any]
    text: str
    is_error: bool
    failed_as: str | None = None
    failed_job: str | None = None
    links: tuple[ResourceLink, ...] = ()

    @classmethod
    def of(cls, result: CallToolResult) -> Self:
        """What the client received."""
        text, *links = result.content
        assert isinstance(text, TextContent)
        if result.is_error:
            assert result.structured_content is None
            assert result.meta is not None
            return cls({}, text.text, True, str(result.meta[ERROR_META]), result.meta.get(JOB_META))
        assert isinstance(result.structured_content, dict), result
        return cls(
            result.structured_content, text.text, False, links=tuple(x for x in links if isinstance(x, ResourceLink))
        )

    def __getitem__(self, name: str) -> Any:
        return self.content[name]


class Session:
    """A connected client, with the tools as methods."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def call(self, tool: str, progress: ProgressFnT | None = None, **arguments: Any) -> Reply:
        """Call a tool. The SDK's client checks the structured content against the published schema."""
        return Reply.of(await self.client.call_tool(tool, arguments, progress_callback=progress))

    async def start(self, task: str = "Say hello.", **arguments: Any) -> str:
        """Start a job; its id."""
        started = await self.call("gpt5_agent_start", task=task, **arguments)
        assert not started.is_error, started.text
        return str(started["job_id"])

    async def poll(self, job_id: str, wait_seconds: float = 0) -> Reply:
        """Look at a job."""
        return await self.call("gpt5_agent_poll", job_id=job_id, wait_seconds=wait_seconds)

    async def cancel(self, job_id: str) -> Reply:
        """Cancel a job."""
        return await self.call("gpt5_agent_cancel", job_id=job_id)

    async def until(self, job_id: str, *statuses: str, wait_seconds: float = 0.3, seconds: float = 60) -> Reply:
        """Poll until the job has one of these statuses."""
        async with asyncio.timeout(seconds):
            while (reply := await self.poll(job_id, wait_seconds))["status"] not in statuses:
                assert reply["status"] not in FINAL, reply.text
        return reply

    async def ended(self, job_id: str) -> Reply:
        """Poll, as a model would, until the job has ended."""
        return await self.until(job_id, *FINAL, wait_seconds=10)


class McpServer(Protocol):
    """A server that clients connect to."""

    def session(
        self,
        *,
        mode: str = MODERN,
        extensions: Sequence[ClientExtension] = (),
        elicit: ElicitationFnT | None = None,
    ) -> AbstractAsyncContextManager[Session]:
        """A client of this server; `elicit`: how its user answers forms, if it shows any."""
        ...


@dataclass(frozen=True)
class StdioServer:
    """`python -m durable_responses.mcp_server`, started by each client for itself. Its log is in `folder`."""

    settings: dict[str, str]
    folder: Path
    log: Path = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "log", self.folder / "mcp-stdio.log")

    @property
    def parameters(self) -> StdioServerParameters:
        """How a client starts it. Clients start servers in a folder of their own: ours."""
        command = ["-P", "-m", "durable_responses.mcp_server"]
        return StdioServerParameters(command=sys.executable, args=command, env=self.environment, cwd=self.folder)

    @property
    def environment(self) -> dict[str, str]:
        """The environment of the server."""
        return child_environment(**self.settings)

    @asynccontextmanager
    async def session(
        self,
        *,
        mode: str = MODERN,
        extensions: Sequence[ClientExtension] = (),
        elicit: ElicitationFnT | None = None,
    ) -> AsyncIterator[Session]:
        """A client with a server of its own."""
        with self.log.open("a") as log:
            transport = stdio_client(self.parameters, errlog=log)
            async with Client(transport, mode=mode, extensions=list(extensions), elicitation_callback=elicit) as client:
                yield Session(client)


class HttpServer(Process):
    """`python -m durable_responses.mcp_server --http`, for any number of clients."""

    def __init__(self, settings: dict[str, str], folder: Path, *, token: str | None = None) -> None:
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}/mcp"
        self.token = token
        environment = child_environment(**settings, AGENT_MCP_PORT=str(self.port), AGENT_MCP_TOKEN=token)
        command = [sys.executable, "-P", "-m", "durable_responses.mcp_server", "--http"]
        folder.mkdir(exist_ok=True)
        super().__init__(command, log=folder / "mcp-http.log", env=environment, cwd=folder)

    async def start(self) -> Self:
        """Start, and wait until it listens."""
        await super().start()
        await self.wait_for_line("MCP at http://")
        while not port_serves(self.port):
            assert self.is_alive, self.tail()
            await asyncio.sleep(0.02)
        return self

    @asynccontextmanager
    async def session(
        self,
        *,
        mode: str = MODERN,
        extensions: Sequence[ClientExtension] = (),
        elicit: ElicitationFnT | None = None,
    ) -> AsyncIterator[Session]:
        """A client."""
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        async with httpx2.AsyncClient(headers=headers, timeout=60, trust_env=False) as http:
            transport = streamable_http_client(self.url, http_client=http)
            async with Client(transport, mode=mode, extensions=list(extensions), elicitation_callback=elicit) as client:
                yield Session(client)
