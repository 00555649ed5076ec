#!/usr/bin/env bash
# Codex shows its model neither the bounds and defaults of an MCP tool's arguments nor the text of its result
#
# `minimum`, `maximum` and `default` are taken out of a tool's schema before the model gets it; and where a result has
# structured content, the text beside it is left out. So bounds belong into descriptions, and what a model must read into
# the structured content.
# Versions: @openai/codex 0.171.0. What users of this project meet of it: nothing; both are done.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes > /dev/null
npm install --silent --no-audit --no-fund @openai/codex@0.171.0 > /dev/null
cat > server.py << 'PROGRAM'
import json
import sys

number = {"type": "integer", "minimum": 1, "maximum": 9, "default": 3, "description": "How many."}
tool = {"name": "count", "inputSchema": {"type": "object", "properties": {"number": number}}}
for line in sys.stdin:
    asked = json.loads(line)
    if "id" not in asked:
        continue
    match asked["method"]:
        case "initialize":
            version = asked["params"]["protocolVersion"]
            info = {"name": "example", "version": "1"}
            result = {"protocolVersion": version, "capabilities": {"tools": {}}, "serverInfo": info}
        case "tools/list":
            result = {"tools": [tool]}
        case "tools/call":
            text = {"type": "text", "text": "Counted; now call it again with 2."}
            result = {"content": [text], "structuredContent": {"counted": 1}}
        case _:
            error = {"code": -32601, "message": "Method not found"}
            print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "error": error}), flush=True)
            continue
    print(json.dumps({"jsonrpc": "2.0", "id": asked["id"], "result": result}), flush=True)
PROGRAM
cat > model.py << 'PROGRAM'
"""A model that calls the tool once; what it is shown is printed."""
import http.server
import json
import os
import subprocess
import sys
import threading

USAGE = {"input_tokens": 1, "output_tokens": 1, "total_tokens": 2}


class Model(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_GET(self):
        self.answer(b'{"object": "list", "data": [], "models": []}', "application/json")

    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        outputs = [item["output"] for item in asked["input"] if item["type"] == "function_call_output"]
        if outputs:
            print("result:", str(outputs[0]).partition("Output:\n")[2])
            item = {"type": "message", "id": "msg_1", "role": "assistant", "status": "completed"}
            item["content"] = [{"type": "output_text", "text": "done", "annotations": []}]
        else:
            [space] = [tool for tool in asked["tools"] if tool.get("name", "").startswith("mcp__example")]
            print("argument:", json.dumps(space["tools"][0]["parameters"]["properties"]["number"], sort_keys=True))
            item = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "status": "completed"}
            item |= {"namespace": space["name"], "name": "count", "arguments": "{}"}
        response = {"id": "resp_1", "object": "response", "status": "completed", "output": [item], "usage": USAGE}
        events = [
            {"type": "response.created", "response": {**response, "status": "in_progress", "output": []}},
            {"type": "response.output_item.done", "output_index": 0, "item": item},
            {"type": "response.completed", "response": response},
        ]
        said = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
        self.answer(said.encode(), "text/event-stream")

    def answer(self, body, kind):
        self.send_response(200)
        self.send_header("content-type", kind)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Model)
threading.Thread(target=listening.serve_forever, daemon=True).start()
os.mkdir("home")
with open("home/config.toml", "w") as config:
    config.write(f"""
model = "gpt-5.4"
model_provider = "scripted"
approval_policy = "never"
sandbox_mode = "danger-full-access"
[model_providers.scripted]
name = "scripted"
base_url = "http://127.0.0.1:{listening.server_port}/v1"
wire_api = "responses"
[mcp_servers.example]
command = {json.dumps(sys.executable)}
args = [{json.dumps(os.path.abspath("server.py"))}]
required = true
""")
command = ["node_modules/.bin/codex", "exec", "--skip-git-repo-check", "Count."]
environment = {**os.environ, "CODEX_HOME": os.path.abspath("home"), "OPENAI_API_KEY": "none"}
done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
if done.returncode:
    print(done.stderr)
PROGRAM
python3 model.py > seen.txt
cat > expected.txt << 'EXPECTED'
argument: {"description": "How many.", "type": "integer"}
result: {"counted":1}
EXPECTED
cat seen.txt
diff expected.txt seen.txt > difference.txt || {
    cat difference.txt
    echo "This has changed: codex-hides-bounds-and-text no longer behaves as described." >&2
    exit 1
}
