"""The Web UI as an ASGI application: its pages, and Temporal's HTTP API behind them."""

import json
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import FileResponse, JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from durable_responses.host_check import HostCheck
from durable_responses.web_ui import ALLOWED_HOST
from durable_responses.web_ui.markdown import rendered
from durable_responses.web_ui.pages import SETTINGS, Pages

_API = "/api/v1/"
# Payloads as they are stored. By default the API would show those that are JSON in a form of its own.
_AS_STORED = "application/json+no-payload-shorthand"
_HEADERS = {"Host": ALLOWED_HOST, "Accept": _AS_STORED, "Content-Type": _AS_STORED}
_SAFE = {"X-Content-Type-Options": "nosniff", "X-Frame-Options": "SAMEORIGIN", "Referrer-Policy": "same-origin"}
# The page waits for news of a run for as long as the server does: a minute.
_TIMEOUT = httpx.Timeout(5, read=90)
_UNAVAILABLE = 14


@dataclass(frozen=True)
class WebUiOptions:
    """`temporal` is the base URL of the server's HTTP API, `pages` the folder of the pages."""

    temporal: str
    pages: Path
    default_namespace: str = ""
    allowed_hosts: Collection[str] = ()


def create_app(options: WebUiOptions) -> Starlette:
    """The application. A foreign page gets a 403, also one of another port of this machine."""
    pages = Pages(options.pages)
    temporal = _Temporal(options.temporal)

    async def page(request: Request) -> Response:
        found = pages.find(request.url.path)
        if found is None:
            return PlainTextResponse("There is no such page of Temporal's Web UI.", 404)
        return FileResponse(
            found.path, media_type=found.media_type, headers={**_SAFE, "Cache-Control": found.cache_control}
        )

    async def settings(request: Request) -> Response:
        found = pages.find(request.url.path)
        if found is None:
            return JSONResponse({"code": 5, "message": "Not Found"}, 404)
        said = json.loads(found.path.read_bytes())
        if "DefaultNamespace" in said and options.default_namespace:
            said["DefaultNamespace"] = options.default_namespace
        return JSONResponse(said, headers=_SAFE)

    async def markdown(request: Request) -> Response:
        theme = request.query_params.get("theme", "")
        return rendered(request.query_params.get("content", ""), dark=theme.startswith("dark"))

    async def history(request: Request) -> Response:
        return await temporal.whole_history(**request.path_params)

    async def healthy(_: Request) -> Response:
        return JSONResponse({"status": "OK"})

    return Starlette(
        routes=[
            *(Route(f"/{name}", settings) for name in SETTINGS),
            Route(f"{_API}namespaces/{{namespace}}/workflows/{{workflow:path}}/run/{{run}}/history.json", history),
            Route(f"{_API}{{path:path}}", temporal.pass_on, methods=["GET", "POST", "PUT", "PATCH", "DELETE"]),
            Route("/render", markdown),
            Route("/healthz", healthy),
            Route("/{path:path}", page),
        ],
        middleware=[Middleware(HostCheck, allowed=options.allowed_hosts, same_origin=True)],
    )


class _Temporal:
    """Temporal's HTTP API."""

    def __init__(self, base_url: str) -> None:
        self._http = httpx.AsyncClient(base_url=base_url, headers=_HEADERS, timeout=_TIMEOUT, trust_env=False)

    async def pass_on(self, request: Request) -> Response:
        """Ask the API what a page asks."""
        # As it came: an id of a run may hold an encoded slash.
        target = request.scope["raw_path"] + (b"?" + query if (query := request.scope["query_string"]) else b"")
        return await self._ask(request.method, target.decode("latin-1"), await request.body())

    async def whole_history(self, namespace: str, workflow: str, run: str) -> Response:
        """All events of a run in one list, which the API gives in parts only."""
        path = f"{_API}namespaces/{quote(namespace, safe='')}/workflows/{quote(workflow, safe='')}/history"
        events: list[Any] = []
        token = ""
        while True:
            query = str(httpx.QueryParams({"execution.runId": run, "nextPageToken": token}))
            answer = await self._ask("GET", f"{path}?{query}")
            if answer.status_code != 200:
                return answer
            part = json.loads(bytes(answer.body))
            events += part.get("history", {}).get("events", [])
            if not (token := part.get("nextPageToken", "")):
                return JSONResponse(events, headers=_SAFE)

    async def _ask(self, method: str, target: str, body: bytes = b"") -> Response:
        try:
            answer = await self._http.request(method, target, content=body)
        except httpx.HTTPError:
            return JSONResponse({"code": _UNAVAILABLE, "message": "Temporal does not answer."}, 503)
        return Response(answer.content, answer.status_code, _SAFE, "application/json")
