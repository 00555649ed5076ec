#!/usr/bin/env bash
# The mcp client waits for ever for an answer over stdio in which a text has half a character
#
# JSON may spell half of a surrogate pair as an escape (RFC 8259, section 8.2), and programs in JavaScript and Python write such
# texts: one that is cut in the middle of an emoji. The client cannot read the line, and tells it to a handler of messages only:
# `call_tool` gets no answer and no error, although the message has its request's id.
# Versions: mcp 2.3.0. What users of this project meet of it: nothing; the half is replaced by U+FFFD, and a line that cannot be read is an error of its call.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check mcp==2.3.0
cat > server.py << 'SERVER'
import json
import sys

HELLO = {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}}, "serverInfo": {"name": "cuts", "version": "1"}}
for line in sys.stdin:
    asked = json.loads(line)
    text = "a\N{GRINNING FACE}b".encode("utf-16-le")[:4].decode("utf-16-le", "surrogatepass")
    answers = {"initialize": HELLO, "tools/call": {"content": [{"type": "text", "text": text}]}}
    if "id" in asked and (result := answers.get(asked["method"])) is not None:
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
    elif "id" in asked:
        error = {"code": -32601, "message": "Method not found"}
        print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "error": error}), flush=True)
SERVER
cat > program.py << 'PROGRAM'
import asyncio
import logging
import sys

from mcp import ClientSession, StdioServerParameters
from mcp.client.stdio import stdio_client

logging.disable()


async def main():
    async with stdio_client(StdioServerParameters(command=sys.executable, args=["server.py"])) as streams:
        async with ClientSession(*streams) as session:
            await session.initialize()
            try:
                async with asyncio.timeout(5):
                    print(await session.call_tool("cut", {}))
            except TimeoutError:
                print("no answer and no error within 5 s")


asyncio.run(main())
PROGRAM
environment/bin/python program.py > seen.txt 2> /dev/null
cat > expected.txt << 'EXPECTED'
no answer and no error within 5 s
EXPECTED
cat seen.txt
diff expected.txt seen.txt > difference.txt || {
    cat difference.txt
    echo "This has changed: mcp-client-waits-for-half-a-character no longer behaves as described." >&2
    exit 1
}
