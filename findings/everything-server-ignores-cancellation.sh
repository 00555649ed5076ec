#!/usr/bin/env bash
# The MCP project's example server goes on with a call that its client has cancelled
#
# After `notifications/cancelled` a server should stop working on the request (2025-11-25, Cancellation, Behavior Requirements).
# `trigger-long-running-operation` of the `everything` server does not look at the signal that its SDK gives it: all of its
# steps are done, and their progress is reported for a request that is over. No result follows, which is as it should be.
# See https://github.com/modelcontextprotocol/servers/issues/1124.
# Versions: @modelcontextprotocol/server-everything 2026.8.31. What users of this project meet of it: progress of a call that is over is dropped, and a server that still reports it some seconds later is started anew.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes > /dev/null
npm install --silent --no-audit --no-fund @modelcontextprotocol/server-everything@2026.8.31 > /dev/null
cat > program.py << 'PROGRAM'
import asyncio
import json
import time
from asyncio.subprocess import DEVNULL, PIPE

HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": {"name": "example", "version": "1"}}
CALL = {
    "name": "trigger-long-running-operation",
    "arguments": {"duration": 5, "steps": 20},
    "_meta": {"progressToken": "steps"},
}


async def main():
    started = ("node_modules/.bin/mcp-server-everything", "stdio")
    server = await asyncio.create_subprocess_exec(*started, stdin=PIPE, stdout=PIPE, stderr=DEVNULL)

    def send(method, params=None, **of_a_request):
        message = {"jsonrpc": "2.0", "method": method, "params": params or {}, **of_a_request}
        server.stdin.write(json.dumps(message).encode() + b"\n")

    async def received():
        return json.loads(await server.stdout.readline())

    async def cancel():
        await asyncio.sleep(1.5)
        send("notifications/cancelled", {"requestId": 2, "reason": "nobody needs it"})
        return time.monotonic()

    send("initialize", HELLO, id=1)
    while (await received()).get("id") != 1:
        pass
    send("notifications/initialized")
    send("tools/call", CALL, id=2)
    cancelled = asyncio.create_task(cancel())
    latest, result = 0.0, False
    try:
        async with asyncio.timeout(8):
            while True:
                message = await received()
                result |= message.get("id") == 2
                if message.get("method") == "notifications/progress":
                    latest, step = time.monotonic(), message["params"]["progress"]
    except TimeoutError:
        pass
    print("last step that was reported:", step)
    print("more than 3 s after the cancellation:", latest - await cancelled > 3)
    print("a result came:", result)
    server.kill()
    await server.wait()


asyncio.run(main())
PROGRAM
python3 program.py > seen.txt
cat > expected.txt << 'EXPECTED'
last step that was reported: 20
more than 3 s after the cancellation: True
a result came: False
EXPECTED
cat seen.txt
diff expected.txt seen.txt > difference.txt || {
    cat difference.txt
    echo "This has changed: everything-server-ignores-cancellation no longer behaves as described." >&2
    exit 1
}
