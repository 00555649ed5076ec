#!/usr/bin/env bash
# Codex sends a field to any custom provider that the published API does not have
#
# `codex exec` with a provider of the user's own (wire API `responses`) puts `client_metadata` into each create. The
# reference and the types of the official client do not know it, so a server that refuses unknown parameters, as OpenAI
# does, refuses every turn. Versions: @openai/codex 0.169.0, openai 3.57.0. What users of this project meet of it: nothing;
# the emulator accepts the field.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm install --no-audit --no-fund --ignore-scripts --silent --prefix . @openai/codex@0.169.0
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check openai==3.57.0
cat > program.py << 'PROGRAM'
import gzip
import json
import os
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from openai.types.responses.response_create_params import ResponseCreateParamsStreaming

PUBLISHED = {name for kind in ResponseCreateParamsStreaming.__mro__ for name in vars(kind).get("__annotations__", {})}
PUBLISHED |= set(ResponseCreateParamsStreaming.__annotations__)
response = {"id": "resp_1", "object": "response", "created_at": 1, "status": "completed", "model": "m", "output": []}
seen = []


class Provider(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["content-length"]))
        seen.append(json.loads(gzip.decompress(body) if body[:2] == b"\x1f\x8b" else body))
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.end_headers()
        for kind in ("response.created", "response.completed"):
            event = {"type": kind, "sequence_number": 0, "response": response}
            self.wfile.write(f"event: {kind}\ndata: {json.dumps(event)}\n\n".encode())

    def do_GET(self):
        self.send_error(404)

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Provider)
threading.Thread(target=server.serve_forever, daemon=True).start()
os.mkdir("home")
with open("home/config.toml", "w") as config:
    config.write(
        f"""model = "m"
model_provider = "own"
[model_providers.own]
name = "own"
base_url = "http://127.0.0.1:{server.server_port}/v1"
wire_api = "responses"
"""
    )
command = ["node_modules/.bin/codex", "exec", "--skip-git-repo-check", "Say hello."]
environment = {**os.environ, "CODEX_HOME": os.path.abspath("home")}
subprocess.run(command, env=environment, stdin=subprocess.DEVNULL, capture_output=True, timeout=120)
print("unpublished:", sorted({name for body in seen for name in body} - PUBLISHED))
PROGRAM
environment/bin/python program.py > seen.txt
cat > expected.txt << 'EXPECTED'
unpublished: ['client_metadata']
EXPECTED
echo "$(node_modules/.bin/codex --version)"
cat seen.txt
diff expected.txt seen.txt > difference.txt || {
    cat difference.txt
    echo "This has changed: codex-sends-unpublished-fields no longer behaves as described." >&2
    exit 1
}
