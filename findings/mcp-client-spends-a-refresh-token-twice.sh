#!/usr/bin/env bash
# Two sessions of the mcp client over one token store spend the same refresh token
#
# `OAuthClientProvider` reads its `TokenStorage` before its first request. When the access token has expired it sends the
# refresh token that it read then, without a look at what the store holds by now. Where refresh tokens are good for once, as
# they must be for public clients (2025-11-25, Authorization, Token Theft), the session that comes second gets
# `invalid_grant` and wants its user to log in again, while a valid token is in the store. (Of a stored token it does not
# know when it expires: https://github.com/modelcontextprotocol/python-sdk/issues/3250. The sessions here are told.)
# Versions: mcp 2.3.0. What users of this project meet of it: nothing; before a session renews a token it looks at the store, and one renews at a time.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
python3 -m venv environment
environment/bin/pip install --quiet --disable-pip-version-check mcp==2.3.0
cat > program.py << 'PROGRAM'
import asyncio
import json
import logging
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs

import httpx2
from mcp.client.auth import OAuthClientProvider, OAuthFlowError
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken

logging.disable()
REDIRECT = "http://127.0.0.1/callback"
asked = []


class Server(BaseHTTPRequestHandler):
    """Gives tokens and asks for them. Only the newest ones are good."""

    newest = 1

    def do_POST(self):
        form = parse_qs(self.rfile.read(int(self.headers["content-length"])).decode())
        if self.path == "/mcp":
            good = self.headers["authorization"] == f"Bearer access-{Server.newest}"
            return self.answer(200 if good else 401, {})
        [spent] = form["refresh_token"]
        good = spent == f"refresh-{Server.newest}"
        asked.append(f"{spent}: {'granted' if good else 'invalid_grant'}")
        if not good:
            return self.answer(400, {"error": "invalid_grant"})
        Server.newest += 1
        return self.answer(200, given(expires_in=3600))

    def do_GET(self):
        self.answer(404, {})

    def answer(self, status, body):
        content = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_):
        pass


def given(expires_in):
    number = Server.newest
    tokens = {"access_token": f"access-{number}", "refresh_token": f"refresh-{number}"}
    return {"token_type": "Bearer", "expires_in": expires_in, **tokens}


class Store:
    """What a login has left."""

    def __init__(self):
        self.tokens = OAuthToken.model_validate(given(expires_in=2))

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return OAuthClientInformationFull(client_id="example", redirect_uris=[REDIRECT], token_endpoint_auth_method="none")

    async def set_client_info(self, client_info):
        pass


async def main():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Server)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}/mcp"
    store = Store()

    def session():
        provider = OAuthClientProvider(url, OAuthClientMetadata(redirect_uris=[REDIRECT]), store)
        provider.context.update_token_expiry(store.tokens)
        return httpx2.AsyncClient(auth=provider, trust_env=False)

    async with session() as first, session() as second:
        print("at first:", [(await each.post(url)).status_code for each in (first, second)])
        await asyncio.sleep(3)
        print("first session, later:", (await first.post(url)).status_code)
        try:
            print("second session, later:", (await second.post(url)).status_code)
        except OAuthFlowError as error:
            print("second session, later:", error)
    print(*asked, sep="\n")
    print("the store holds:", store.tokens.access_token, store.tokens.refresh_token)


asyncio.run(main())
PROGRAM
environment/bin/python program.py > seen.txt
cat > expected.txt << 'EXPECTED'
at first: [200, 200]
first session, later: 200
second session, later: No redirect handler provided for authorization code grant
refresh-1: granted
refresh-1: invalid_grant
the store holds: access-2 refresh-2
EXPECTED
cat seen.txt
diff expected.txt seen.txt > difference.txt || {
    cat difference.txt
    echo "This has changed: mcp-client-spends-a-refresh-token-twice no longer behaves as described." >&2
    exit 1
}
