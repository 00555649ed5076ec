#!/usr/bin/env bash
# openai: what `responses.compact` returns does not fit the type that it is given
#
# The API answers with the user's messages and a compaction item. The client's `CompactedResponse` has room for output
# items only: a user's message becomes a `ResponseOutputMessage` whose text is a `ResponseOutputText` of type `input_text`,
# and with strict validation the whole answer is refused.
# Versions: openai 3.57.0. What users of this project meet of it: nothing; items of a compaction are kept as they came.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv venv
venv/bin/pip install --quiet openai==3.57.0
cat > compact.py << 'PROGRAM'
import http.server
import json
import threading

from openai import APIResponseValidationError, OpenAI

TEXT = {"type": "input_text", "text": "Go on."}
USAGE = {
    "input_tokens": 1,
    "output_tokens": 1,
    "total_tokens": 2,
    "input_tokens_details": {"cached_tokens": 0},
    "output_tokens_details": {"reasoning_tokens": 0},
}
ANSWER = {
    "id": "resp_1",
    "object": "response.compaction",
    "created_at": 1,
    "output": [
        {"type": "message", "id": "msg_1", "role": "user", "status": "completed", "content": [TEXT]},
        {"type": "compaction", "id": "cmp_1", "encrypted_content": "gAAAA"},
    ],
    "usage": USAGE,
}


class Provider(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def do_POST(self):
        self.rfile.read(int(self.headers["content-length"]))
        body = json.dumps(ANSWER).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


listening = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Provider)
threading.Thread(target=listening.serve_forever, daemon=True).start()
options = {"base_url": f"http://127.0.0.1:{listening.server_port}/v1", "api_key": "none", "max_retries": 0}
message = OpenAI(**options).responses.compact(model="gpt-5.4", input="Go on.").output[0]
print(type(message).__name__, message.role, type(message.content[0]).__name__, message.content[0].type)
try:
    OpenAI(**options, _strict_response_validation=True).responses.compact(model="gpt-5.4", input="Go on.")
    print("strict: accepted")
except APIResponseValidationError as error:
    print("strict:", type(error).__name__)
PROGRAM
venv/bin/python compact.py > seen.txt
cat > expected.txt << 'EXPECTED'
ResponseOutputMessage user ResponseOutputText input_text
strict: APIResponseValidationError
EXPECTED
cat seen.txt
diff expected.txt seen.txt > difference.txt || {
    cat difference.txt
    echo "This has changed: openai-compacted-user-messages no longer behaves as described." >&2
    exit 1
}
