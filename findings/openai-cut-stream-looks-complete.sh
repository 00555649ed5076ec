#!/usr/bin/env bash
# Iterating over a cut stream with the openai client ends as a complete one does
#
# When the connection ends cleanly before `response.completed` (a proxy's limit, a server's restart), the iterator of
# `responses.create(stream=True)` just stops: a program that joins the deltas has half an answer and no sign of it.
# The helper `responses.stream` raises in the same case, but only when it is asked for the final response.
# Versions: openai 3.57.0, httpx 0.28.1. What users of this project meet of it: nothing; a stream without its terminal event is a broken one, and the response is read by id.
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

AT = {"output_index": 0, "content_index": 0, "item_id": "msg_1"}
MESSAGE = {"id": "msg_1", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
events = [
    CREATED,
    {"type": "response.output_item.added", "sequence_number": 1, "output_index": 0, "item": MESSAGE},
    {"type": "response.content_part.added", "sequence_number": 2, "part": {"type": "output_text", "text": "", "annotations": []}, **AT},
    {"type": "response.output_text.delta", "sequence_number": 3, "delta": "The first half", "logprobs": [], **AT},
]
seen = [event.type for event in client_of(events).responses.create(model="m", input="Hello.", stream=True)]
print("iterating: ends after", seen[-1])
try:
    with client_of(events).responses.stream(model="m", input="Hello.") as stream:
        for _ in stream:
            pass
        print("helper: iterating ends, too")
        stream.get_final_response()
except RuntimeError as error:
    print("helper:", error)
PROGRAM
environment/bin/python program.py > seen.txt
cat > expected.txt << 'EXPECTED'
iterating: ends after response.output_text.delta
helper: iterating ends, too
helper: Didn't receive a `response.completed` event.
EXPECTED
cat seen.txt
diff expected.txt seen.txt > difference.txt || {
    cat difference.txt
    echo "This has changed: openai-cut-stream-looks-complete no longer behaves as described." >&2
    exit 1
}
