#!/usr/bin/env bash
# httpx-sse loses the first event of a stream that begins with a byte order mark
#
# The format says that one leading U+FEFF is to be ignored (WHATWG HTML, 9.2.5, "stream = [ bom ] *event"). httpx-sse
# takes it for a part of the first field's name, which is then unknown; the event is dropped without a word, later
# ones are read.
# Versions: httpx-sse 0.4.3, httpx 0.28.1. What users of this project meet of it: nothing; events are read by a reader of our own, which leaves the mark out.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check httpx==0.28.1 httpx-sse==0.4.3
cat > program.py << 'PROGRAM'
import httpx
from httpx_sse import EventSource

for mark in ("", "\ufeff"):
    request = httpx.Request("GET", "http://localhost/")
    body = f"{mark}data: first\n\ndata: second\n\n".encode()
    answer = httpx.Response(200, headers={"content-type": "text/event-stream"}, content=body, request=request)
    print(f"begins with {mark!a}:", [event.data for event in EventSource(answer).iter_sse()])
PROGRAM
environment/bin/python program.py > seen.txt
cat > expected.txt << 'EXPECTED'
begins with '': ['first', 'second']
begins with '\ufeff': ['second']
EXPECTED
cat seen.txt
diff expected.txt seen.txt > difference.txt || {
    cat difference.txt
    echo "This has changed: httpx-sse-byte-order-mark no longer behaves as described." >&2
    exit 1
}
