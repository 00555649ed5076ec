#!/usr/bin/env bash
# An elicitation callback of the mcp client is not told which call its question belongs to
#
# A server of revision 2025-11-25 asks its user while a call is under way (`elicitation/create`). Over Streamable HTTP the
# question comes on the stream of that call, so the client knows which one it is; its callback gets the id of the
# question alone. Two calls that ask at once cannot be told apart, over any transport.
# Versions: mcp 2.3.0. What users of this project meet of it: calls of a server that has asked are made one after another.
set -euo pipefail
folder=$(mktemp -d)
trap 'kill "$server" 2> /dev/null || true; rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check mcp==2.3.0
cat > server.py << 'PROGRAM'
import sys

import uvicorn
from mcp.server.lowlevel import Server
from mcp_types import CallToolResult, ListToolsResult, TextContent, Tool


async def list_tools(context, params):
    return ListToolsResult(tools=[Tool(name="order", input_schema={"type": "object"})])


async def call_tool(context, params):
    schema = {"type": "object", "properties": {"color": {"type": "string"}}}
    answer = await context.session.elicit_form("Which color?", schema, context.request_id)
    return CallToolResult(content=[TextContent(type="text", text=f"{params.arguments['what']}: {answer.content['color']}")])


server = Server("shop", on_list_tools=list_tools, on_call_tool=call_tool)
uvicorn.run(server.streamable_http_app(), host="127.0.0.1", port=int(sys.argv[1]), log_level="error")
PROGRAM
cat > program.py << 'PROGRAM'
import asyncio
import dataclasses
import sys

from mcp import Client
from mcp_types import ElicitResult


async def main():
    seen = []

    async def asked(context, params):
        seen.append(sorted(field.name for field in dataclasses.fields(context)))
        return ElicitResult(action="accept", content={"color": "red"})

    url = f"http://127.0.0.1:{sys.argv[1]}/mcp"
    async with Client(url, mode="legacy", elicitation_callback=asked) as client:
        results = await asyncio.gather(*(client.call_tool("order", {"what": what}) for what in ("a", "b")))
    print("answers:", [result.content[0].text for result in results])
    print("each callback is given:", *seen[0])


asyncio.run(main())
PROGRAM
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
environment/bin/python server.py "$port" &
server=$!
until (exec 3<> "/dev/tcp/127.0.0.1/$port") 2> /dev/null; do sleep 0.2; done
environment/bin/python program.py "$port" > seen.txt
cat > expected.txt << 'EXPECTED'
answers: ['a: red', 'b: red']
each callback is given: meta request_id session
EXPECTED
cat seen.txt
diff expected.txt seen.txt > difference.txt || {
    cat difference.txt
    echo "This has changed: mcp-elicitation-names-no-call no longer behaves as described." >&2
    exit 1
}
