#!/usr/bin/env bash
# LiteLLM's bridge takes previous_response_id, names it in the answer, and gives the model nothing of that response
#
# In front of a chat model, LiteLLM's Responses API accepts `previous_response_id`. Without a database it does not look it up:
# the model is sent the new items alone. The answer's own `previous_response_id` is not empty all the same: it is the id of
# the chat completion that the first answer was made of. So the echo looks as if the conversation had been continued.
# Versions: litellm 1.108.7 with its extra `proxy`, without which this part of it does not load. What users of this project
# meet of it: an echo of a chat completion counts as none, and the run sends its whole conversation (docs/conversation.md).
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check 'litellm[proxy]==1.108.7'
cat > program.py << 'PROGRAM'
import asyncio
import json
import os
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"
import litellm


class ChatModel(BaseHTTPRequestHandler):
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])))
        print("the model is sent:", [message["content"] for message in asked["messages"]])
        message = {"role": "assistant", "content": "Noted."}
        choices = [{"index": 0, "message": message, "finish_reason": "stop"}]
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        answer = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m", "choices": choices}
        data = json.dumps({**answer, "usage": usage}).encode()
        self.send_response(200)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_):
        pass


server = ThreadingHTTPServer(("127.0.0.1", 0), ChatModel)
threading.Thread(target=server.serve_forever, daemon=True).start()


async def main():
    place = {"model": "custom_openai/m", "api_base": f"http://127.0.0.1:{server.server_port}/v1", "api_key": "any"}
    first = await litellm.aresponses(input="My name is Ada.", **place)
    second = await litellm.aresponses(input="What is my name?", previous_response_id=first.id, **place)
    print("the answer continues from:", second.previous_response_id)
    print("which is the response asked for:", second.previous_response_id == first.id)


asyncio.run(main())
PROGRAM
environment/bin/python -c "import importlib.metadata as m; print('litellm', m.version('litellm'))"
environment/bin/python program.py 2>/dev/null > seen.txt
cat > expected.txt << 'EXPECTED'
the model is sent: ['My name is Ada.']
the model is sent: ['What is my name?']
the answer continues from: chatcmpl-1
which is the response asked for: False
EXPECTED
cat seen.txt
diff expected.txt seen.txt > difference.txt || {
    cat difference.txt
    echo "This has changed: litellm-bridge-names-what-it-forgets no longer behaves as described." >&2
    exit 1
}
