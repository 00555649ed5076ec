"""Taking the pages over from a server, and finding them again."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route

from durable_responses.web_ui.pages import Page, Pages, PagesMissing, take_over
from tests.support.processes import free_port

INDEX = '<script>import("/_app/immutable/entry/start.a1.js")</script><link href="/favicon.ico">'
FILES = {
    "/_app/immutable/entry/start.a1.js": (
        "text/javascript",
        'import "../chunks/b-2.js"; const c = ["_app/immutable/x.css"]',
    ),
    "/_app/immutable/chunks/b-2.js": ("text/javascript", "const n = new URL(`../workers/w.worker-3.js`)"),
    "/_app/immutable/workers/w.worker-3.js": ("text/javascript", "1"),
    "/_app/immutable/x.css": ("text/css", "a { src: url(./font.woff2) }"),
    "/_app/immutable/font.woff2": ("font/woff2", "f"),
    "/favicon.ico": ("image/x-icon", "i"),
    "/api/v1/settings": ("application/json", "{}"),
}


@asynccontextmanager
async def serving(files: dict[str, tuple[str, str]], index: str = INDEX) -> AsyncIterator[str]:
    """Temporal's server of the pages: what it does not know is the index."""

    async def answer(request: Request) -> Response:
        path = request.url.path
        if path in files:
            return Response(files[path][1], media_type=files[path][0])
        return Response(status_code=404) if path.startswith("/_app/") else HTMLResponse(index)

    port = free_port()
    app = Starlette(routes=[Route("/{path:path}", answer)])
    server = uvicorn.Server(uvicorn.Config(app, port=port, lifespan="off", log_config=None))
    server.config.load()
    server.lifespan = server.config.lifespan_class(server.config)
    await server.startup()
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        await server.shutdown()


@pytest.fixture
async def pages(tmp_path: Path) -> Pages:
    async with serving(FILES) as url:
        await take_over(url, tmp_path / "pages")
    return Pages(tmp_path / "pages")


def the(page: Page | None) -> tuple[str, str]:
    assert page is not None
    return page.path.read_text(), page.media_type


@pytest.mark.parametrize("path", FILES)
def test_every_file_that_another_one_names_is_taken_over(pages: Pages, path: str) -> None:
    assert the(pages.find(path))[0] == FILES[path][1]


def test_a_place_of_the_ui_is_the_index(pages: Pages) -> None:
    assert the(pages.find("/namespaces/default/workflows/a.b")) == (INDEX, "text/html")


@pytest.mark.parametrize("path", ["/_app/immutable/no.js", "/api/v1/releases", "/_app/../../../etc/passwd"])
def test_what_is_not_there_is_nothing(pages: Pages, path: str) -> None:
    assert pages.find(path) is None


def test_scripts_are_called_so_and_kept_for_good(pages: Pages) -> None:
    script = pages.find("/_app/immutable/chunks/b-2.js")
    assert script is not None
    assert "javascript" in script.media_type
    assert "immutable" in script.cache_control


async def test_a_server_of_something_else_is_not_taken_for_the_web_ui(tmp_path: Path) -> None:
    async with serving({}, index="<h1>Something else</h1>") as url:
        with pytest.raises(PagesMissing, match="is not Temporal's Web UI"):
            await take_over(url, tmp_path / "pages")
    assert not (tmp_path / "pages").exists()


async def test_a_server_that_is_not_there_is_named(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(PagesMissing, match=url):
        await take_over(url, tmp_path / "pages")


def test_a_folder_without_pages_has_none(tmp_path: Path) -> None:
    assert Pages(tmp_path / "missing").find("/") is None
