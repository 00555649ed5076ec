"""An MCP server over HTTP that wants a token, and the authorization server that gives one: a program.

    python -m tests.support.oauth_mcp_server FOLDER PORT

Whoever opens the page of a login has agreed. What tokens were given for is noted in FOLDER.
"""

import secrets
import sys
from pathlib import Path
from typing import Any

import uvicorn
from starlette.requests import Request
from starlette.responses import JSONResponse, RedirectResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from tests.support import mcp_tool_server

CLIENT, SECRET = "the-client", "the-client-secret"


class AuthorizationServer:
    """Gives tokens for codes, for those to renew them, and for a client's secret."""

    def __init__(self, folder: Path, url: str) -> None:
        self._folder = folder
        self.url = url
        self._valid: set[str] = set()
        self._renews = ""

    def is_valid(self, header: bytes) -> bool:
        """Whether a request may come in. The file `revokes` ends all tokens that were given so far."""
        if (self._folder / "revokes").exists():
            (self._folder / "revokes").unlink()
            self._valid.clear()
        return header.decode().removeprefix("Bearer ") in self._valid

    def routes(self) -> list[Route]:
        """Where it is asked."""
        return [
            Route("/.well-known/oauth-protected-resource/mcp", self.resource),
            Route("/.well-known/oauth-authorization-server", self.metadata),
            Route("/register", self.register, methods=["POST"]),
            Route("/authorize", self.authorize),
            Route("/elsewhere/token", self.token, methods=["POST"]),
        ]

    async def resource(self, _: Request) -> Response:
        return JSONResponse({"resource": f"{self.url}/mcp", "authorization_servers": [self.url]})

    async def metadata(self, _: Request) -> Response:
        return JSONResponse(
            {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/elsewhere/token",
                "registration_endpoint": f"{self.url}/register",
                "response_types_supported": ["code"],
                "grant_types_supported": ["authorization_code", "refresh_token", "client_credentials"],
                "code_challenge_methods_supported": ["S256"],
                "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
            }
        )

    async def register(self, request: Request) -> Response:
        asked: dict[str, Any] = await request.json()
        return JSONResponse({**asked, "client_id": secrets.token_hex(8)}, status_code=201)

    async def authorize(self, request: Request) -> Response:
        asked = request.query_params
        return RedirectResponse(f"{asked['redirect_uri']}?code=the-code&state={asked['state']}", status_code=302)

    async def token(self, request: Request) -> Response:
        asked = await request.form()
        with (self._folder / "grants").open("a") as file:
            file.write(f"{asked['grant_type']}\n")
        if asked["grant_type"] == "refresh_token" and asked["refresh_token"] != self._renews:
            return JSONResponse({"error": "invalid_grant"}, status_code=400)
        token = secrets.token_hex(16)
        self._valid.add(token)
        given = {"access_token": token, "token_type": "Bearer", "expires_in": 3600}
        if asked["grant_type"] != "client_credentials":
            given["refresh_token"] = self._renews = secrets.token_hex(16)  # it is good for once
        return JSONResponse(given)


def guarded(app: ASGIApp, authorization: AuthorizationServer) -> ASGIApp:
    """The server, for those who have a token."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        headers = dict(scope.get("headers") or [])
        is_asked = scope["type"] == "http" and scope["path"] == "/mcp"
        if is_asked and not authorization.is_valid(headers.get(b"authorization", b"")):
            where = f'Bearer resource_metadata="{authorization.url}/.well-known/oauth-protected-resource/mcp"'
            await Response(status_code=401, headers={"WWW-Authenticate": where})(scope, receive, send)
            return
        await app(scope, receive, send)

    return call


def main() -> None:
    """Serve."""
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    mcp_tool_server.serve_in(folder)
    authorization = AuthorizationServer(folder, f"http://127.0.0.1:{port}")
    app = mcp_tool_server.server.streamable_http_app()
    app.router.routes.extend(authorization.routes())
    uvicorn.run(guarded(app, authorization), host="127.0.0.1", port=port, log_level="warning")


if __name__ == "__main__":
    main()
