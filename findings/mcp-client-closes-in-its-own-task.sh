#!/usr/bin/env bash
# The mcp client can be closed only by the task that opened it
#
# A pool of sessions opens a client where it is first wanted and closes it elsewhere. The mcp client holds an anyio
# cancel scope: leaving it in another task raises a RuntimeError about cancel scopes. Each session needs a task of its
# own that opens, serves and closes it.
# Versions: mcp 2.3.0. What users of this project meet of it: one owner task per session (planned with tools from MCP servers).
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
import os
import sys

from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client


async def main():
    client = Client(stdio_client(StdioServerParameters(command=sys.executable, args=["server.py"])))
    await asyncio.create_task(client.__aenter__())
    try:
        await client.__aexit__(None, None, None)
        print("closed")
    except RuntimeError as error:
        print("RuntimeError:", error)
    sys.stdout.flush()
    os._exit(0)


asyncio.run(main())
PROGRAM
environment/bin/python program.py > seen.txt
cat > expected.txt << 'EXPECTED'
RuntimeError: Attempted to exit cancel scope in a different task than it was entered in
EXPECTED
cat seen.txt
diff expected.txt seen.txt > difference.txt || {
    cat difference.txt
    echo "This has changed: mcp-client-closes-in-its-own-task no longer behaves as described." >&2
    exit 1
}
