#!/usr/bin/env bash
# With OAuth, the mcp client sends a request only when the one before it has an answer
#
# `OAuthClientProvider` holds its lock while a request waits for the headers of its response, also where there is a valid
# token. A server may answer a call with JSON once it has run (2025-11-25, Transports, Sending Messages to the Server), so one
# slow call keeps all others of its session waiting, their cancellations and answers to questions of the server too.
# Versions: mcp 2.3.0, httpx2 as it brings it. What users of this project meet of it: nothing; where there is a token, requests are sent without the provider.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check mcp==2.3.0
cat > program.py << 'PROGRAM'
import asyncio
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import httpx2
from mcp.client.auth import OAuthClientProvider
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken

REDIRECT = "http://127.0.0.1/callback"


class Server(BaseHTTPRequestHandler):
    def do_POST(self):
        time.sleep(2 if self.path == "/slow" else 0)
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


class Store:
    async def get_tokens(self):
        return OAuthToken(access_token="a", token_type="Bearer", expires_in=3600)

    async def get_client_info(self):
        return OAuthClientInformationFull(client_id="example", redirect_uris=[REDIRECT])


async def main():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    with_oauth = OAuthClientProvider(url, OAuthClientMetadata(redirect_uris=[REDIRECT]), Store())
    for auth in (None, with_oauth):
        async with httpx2.AsyncClient(auth=auth, trust_env=False) as client:
            await client.post(f"{url}/quick")
            slow = asyncio.create_task(client.post(f"{url}/slow"))
            await asyncio.sleep(0.5)
            await client.post(f"{url}/quick")
            print("with OAuth:" if auth else "without:", "the slow one had ended first:", slow.done())
            await slow


asyncio.run(main())
PROGRAM
environment/bin/python program.py > seen.txt
cat > expected.txt << 'EXPECTED'
without: the slow one had ended first: False
with OAuth: the slow one had ended first: True
EXPECTED
cat seen.txt
diff expected.txt seen.txt > difference.txt || {
    cat difference.txt
    echo "This has changed: mcp-client-authorizes-one-request-at-a-time no longer behaves as described." >&2
    exit 1
}
