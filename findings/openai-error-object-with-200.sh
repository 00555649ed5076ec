#!/usr/bin/env bash
# The openai client reads an error object that comes with HTTP 200 as a response without fields
#
# Gateways answer 200 with `{"error": {…}}`. `responses.create` returns a Response whose id and status are None and
# whose error is set; nothing is raised until `output_text` is read, which ends in a TypeError about None.
# Versions: openai 3.57.0, httpx 0.28.1. What users of this project meet of it: nothing; it is a refusal, with its message.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check openai==3.57.0 httpx==0.28.1
cat > program.py << 'PROGRAM'
import httpx
import openai

refusal = {"error": {"code": "rate_limit_exceeded", "message": "Slow down.", "type": "requests"}}
answer = httpx.MockTransport(lambda _: httpx.Response(200, json=refusal))
client = openai.OpenAI(api_key="none", base_url="http://localhost/v1", http_client=httpx.Client(transport=answer))
response = client.responses.create(model="m", input="Hello.")
print("id:", response.id, "status:", response.status, "error:", response.error.message)
try:
    print(response.output_text)
except TypeError as error:
    print("output_text:", error)
PROGRAM
environment/bin/python program.py > seen.txt
cat > expected.txt << 'EXPECTED'
id: None status: None error: Slow down.
output_text: 'NoneType' object is not iterable
EXPECTED
cat seen.txt
diff expected.txt seen.txt > difference.txt || {
    cat difference.txt
    echo "This has changed: openai-error-object-with-200 no longer behaves as described." >&2
    exit 1
}
