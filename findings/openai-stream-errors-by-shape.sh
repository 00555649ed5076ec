#!/usr/bin/env bash
# The openai client raises for one form of a stream's error event and hands the other out as an ordinary event
#
# An error event in a stream of the Responses API is documented with its fields at the top (`code`, `message`);
# servers, OpenAI's among them, also send them below `error`. The client raises APIError for the nested form. The
# documented, flat form comes out of the iterator like any other event, and the iteration then ends without an
# exception.
# Versions: openai 3.57.0, httpx 0.28.1. What users of this project meet of it: nothing; both forms are read into one error.
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

DETAIL = {"code": "server_error", "message": "It broke.", "param": None}
FORMS = {
    "nested": {"type": "error", "sequence_number": 1, "error": DETAIL | {"type": "server_error"}},
    "flat": {"type": "error", "sequence_number": 1, **DETAIL},
}
for name, event in FORMS.items():
    try:
        for seen in client_of([CREATED, event]).responses.create(model="m", input="Hello.", stream=True):
            print(f"{name}: event {seen.type}")
        print(f"{name}: the iteration ends without an exception")
    except openai.APIError as error:
        print(f"{name}: raises {type(error).__name__}: {error}")
PROGRAM
environment/bin/python program.py > seen.txt
cat > expected.txt << 'EXPECTED'
nested: event response.created
nested: raises APIError: It broke.
flat: event response.created
flat: event error
flat: the iteration ends without an exception
EXPECTED
cat seen.txt
diff expected.txt seen.txt > difference.txt || {
    cat difference.txt
    echo "This has changed: openai-stream-errors-by-shape no longer behaves as described." >&2
    exit 1
}
