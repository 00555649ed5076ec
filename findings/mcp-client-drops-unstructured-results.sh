#!/usr/bin/env bash
# The mcp client throws a tool's result away when its structured part is missing
#
# A tool with an output schema that answers text only breaks the protocol, but it has run. `Client.call_tool` raises a
# RuntimeError that does not carry the result: what the tool did and said is lost to the caller, who may well call it
# again.
# Versions: mcp 2.3.0. What users of this project meet of it: the call counts as done and its text is kept (planned with tools from MCP servers).
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

from mcp import Client, StdioServerParameters
from mcp.client.stdio import stdio_client


async def main():
    async with Client(stdio_client(StdioServerParameters(command=sys.executable, args=["server.py"]))) as client:
        await client.list_tools()
        try:
            print(await client.call_tool("charge", {}))
        except RuntimeError as error:
            print("RuntimeError:", error)
            print("carries the text:", "12.50" in str(error))


asyncio.run(main())
PROGRAM
environment/bin/python program.py > seen.txt
cat > expected.txt << 'EXPECTED'
RuntimeError: Tool charge has an output schema but did not return structured content
carries the text: False
EXPECTED
cat seen.txt
diff expected.txt seen.txt > difference.txt || {
    cat difference.txt
    echo "This has changed: mcp-client-drops-unstructured-results no longer behaves as described." >&2
    exit 1
}
