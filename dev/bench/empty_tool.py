"""The yardstick of the MCP benchmark: a server over stdio with one tool that does nothing."""

import asyncio
from typing import Any

from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp_types import (
    CallToolRequestParams,
    CallToolResult,
    ListToolsResult,
    PaginatedRequestParams,
    TextContent,
    Tool,
)

from durable_responses.mcp_server.transports import serve_stdio

NAME = "nothing"

Context = ServerRequestContext[Any, Any]


async def list_tools(_: Context, __: PaginatedRequestParams | None) -> ListToolsResult:
    return ListToolsResult(tools=[Tool(name=NAME, input_schema={"type": "object"})])


async def call_tool(_: Context, __: CallToolRequestParams) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text="")])


if __name__ == "__main__":
    asyncio.run(serve_stdio(Server("empty", on_list_tools=list_tools, on_call_tool=call_tool)))
