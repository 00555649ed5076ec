#!/usr/bin/env bash
# The openai client's stream helper forgets the text that it has streamed
#
# Several gateways end a stream with a `response.completed` whose `output` is an empty list, after they have streamed
# every item. `responses.stream` accumulates the items while it iterates, then takes the final response from that
# event alone: `get_final_response().output_text` is empty although the text has arrived, delta by delta.
# Versions: openai 3.57.0, httpx 0.28.1. What users of this project meet of it: nothing; the streamed items are the output where the last event has none.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check openai==3.57.0 httpx==0.28.1
cat > program.py << 'PROGRAM'
import json

import httpx
import openai

RESPONSE = {
    "id": "resp_1", "object": "response", "created_at": 0, "model": "m", "status": "in_progress", "output": [],
    "parallel_tool_calls": True, "tool_choice": "auto", "tools": [],
}


def client_of(events):
    body = "".join(f"event: {event['type']}\ndata: {json.dumps(event)}\n\n" for event in events)
    answer = httpx.MockTransport(
        lambda _: httpx.Response(200, headers={"content-type": "text/event-stream"}, content=body.encode())
    )
    return openai.OpenAI(api_key="none", base_url="http://localhost/v1", http_client=httpx.Client(transport=answer))


CREATED = {"type": "response.created", "sequence_number": 0, "response": RESPONSE}

MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
TEXT = {"type": "output_text", "text": "", "annotations": []}
DONE = MESSAGE | {"status": "completed", "content": [TEXT | {"text": "Hello"}]}
AT = {"output_index": 0, "content_index": 0, "item_id": "msg_1"}
events = [
    CREATED,
    {"type": "response.output_item.added", "sequence_number": 1, "output_index": 0, "item": MESSAGE},
    {"type": "response.content_part.added", "sequence_number": 2, "part": TEXT, **AT},
    {"type": "response.output_text.delta", "sequence_number": 3, "delta": "Hello", "logprobs": [], **AT},
    {"type": "response.output_item.done", "sequence_number": 4, "output_index": 0, "item": DONE},
    {"type": "response.completed", "sequence_number": 5, "response": RESPONSE | {"status": "completed"}},
]
with client_of(events).responses.stream(model="m", input="Say hello.") as stream:
    deltas = [event.delta for event in stream if event.type == "response.output_text.delta"]
    print("streamed:", "".join(deltas))
    print("final:", repr(stream.get_final_response().output_text))
PROGRAM
environment/bin/python program.py > seen.txt
cat > expected.txt << 'EXPECTED'
streamed: Hello
final: ''
EXPECTED
cat seen.txt
diff expected.txt seen.txt > difference.txt || {
    cat difference.txt
    echo "This has changed: openai-stream-helper-empty-output no longer behaves as described." >&2
    exit 1
}
