#!/usr/bin/env bash
# Progress does not extend the mcp client's read timeout
#
# The protocol lets a client reset its timeout when progress arrives (2025-11-25, Lifecycle, Timeouts).
# `call_tool(read_timeout_seconds=…)` does not: a tool that reports progress twice a second is given up all the same,
# and the limit is one for the whole call.
# Versions: mcp 2.3.0. What users of this project meet of it: a timer of our own around a call (planned with tools from MCP servers); our own server answers before usual limits.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check mcp==2.3.0
cat > server.py << 'PROGRAM'
import asyncio

from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp_types import CallToolResult, ListToolsResult, TextContent, Tool

TOTAL = {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]}
TOOLS = [
    Tool(name="charge", input_schema={"type": "object"}, output_schema=TOTAL),
    Tool(name="slow", input_schema={"type": "object"}),
]


async def list_tools(context, params):
    return ListToolsResult(tools=TOOLS)


async def call_tool(context, params):
    if params.name == "slow":
        for step in range(6):
            await asyncio.sleep(0.5)
            await context.session.report_progress(float(step))
    return CallToolResult(content=[TextContent(type="text", text="charged 12.50")])


async def main():
    server = Server("example", on_list_tools=list_tools, on_call_tool=call_tool)
    async with stdio_server() as (reading, writing):
        await server.run(reading, writing, server.create_initialization_options())


asyncio.run(main())
PROGRAM
cat > program.py << 'PROGRAM'
import asyncio
import sys

from mcp import Client, MCPError, StdioServerParameters
from mcp.client.stdio import stdio_client


async def main():
    progress = []

    async def note(done, total, message):
        progress.append(done)

    async with Client(stdio_client(StdioServerParameters(command=sys.executable, args=["server.py"]))) as client:
        try:
            await client.call_tool("slow", {}, progress_callback=note, read_timeout_seconds=1.8)
        except MCPError as error:
            print("MCPError:", error)
    print("progress had arrived:", bool(progress))


asyncio.run(main())
PROGRAM
environment/bin/python program.py > seen.txt
cat > expected.txt << 'EXPECTED'
MCPError: Request 'tools/call' timed out
progress had arrived: True
EXPECTED
cat seen.txt
diff expected.txt seen.txt > difference.txt || {
    cat difference.txt
    echo "This has changed: mcp-client-timeout-ignores-progress no longer behaves as described." >&2
    exit 1
}
