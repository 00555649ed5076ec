#!/usr/bin/env bash
# httpx-sse takes a media type in another spelling for the wrong one
#
# Media types are compared without case (RFC 9110, 8.3.1). httpx-sse looks for the lower-case text in the header, so a
# server that writes `Text/Event-Stream` is refused with SSEError before its first event is read.
# Versions: httpx-sse 0.4.3, httpx 0.28.1. What users of this project meet of it: nothing; the first bytes of an answer tell what it is, not its header.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check httpx==0.28.1 httpx-sse==0.4.3
cat > program.py << 'PROGRAM'
import httpx
from httpx_sse import EventSource, SSEError

for media_type in ("text/event-stream", "Text/Event-Stream"):
    request = httpx.Request("GET", "http://localhost/")
    answer = httpx.Response(200, headers={"content-type": media_type}, content=b"data: hello\n\n", request=request)
    try:
        print(media_type, [event.data for event in EventSource(answer).iter_sse()])
    except SSEError as error:
        print(media_type, error)
PROGRAM
environment/bin/python program.py > seen.txt
cat > expected.txt << 'EXPECTED'
text/event-stream ['hello']
Text/Event-Stream Expected response header Content-Type to contain 'text/event-stream', got 'Text/Event-Stream'
EXPECTED
cat seen.txt
diff expected.txt seen.txt > difference.txt || {
    cat difference.txt
    echo "This has changed: httpx-sse-media-type-case no longer behaves as described." >&2
    exit 1
}
