"""Servers over HTTP that want a token: logged in to by a person, or by the worker itself."""

import asyncio
import json
import stat
import sys
import threading
import urllib.request
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from durable_responses.mcp_tools.configuration import ClientCredentials, McpServer
from durable_responses.mcp_tools.oauth import Login
from durable_responses.mcp_tools.sessions import ServerError, Sessions, Surroundings
from tests.support.oauth_mcp_server import CLIENT, SECRET
from tests.support.processes import CHECKOUT, free_port, port_serves


@asynccontextmanager
async def serving(folder: Path, port: int) -> AsyncIterator[McpServer]:
    """The server, and its entry."""
    command = [sys.executable, "-m", "tests.support.oauth_mcp_server", str(folder), str(port)]
    process = await asyncio.create_subprocess_exec(*command, cwd=CHECKOUT)
    try:
        async with asyncio.timeout(30):
            while not port_serves(port):
                await asyncio.sleep(0.05)
        yield McpServer(url=f"http://127.0.0.1:{port}/mcp")
    finally:
        process.kill()
        await process.wait()


def grants(folder: Path) -> list[str]:
    """What tokens were given for."""
    file = folder / "grants"
    return file.read_text().splitlines() if file.exists() else []


async def quiet(progress: float, total: float | None, message: str | None) -> None:
    """Nobody wants to know."""


def agree(url: str) -> None:
    """Open the page of a login, as a browser does."""
    threading.Thread(target=lambda: urllib.request.urlopen(url).read()).start()


async def logged_in(server: McpServer, tokens: Path) -> None:
    async with Sessions({"it": server}, surroundings=Surroundings(tokens=tokens, login=Login(agree))) as sessions:
        assert "add" in (await sessions.listing("it")).tools


async def listed(server: McpServer, tokens: Path) -> bool:
    """Whether a worker that starts now can use the server."""
    async with Sessions({"it": server}, surroundings=Surroundings(tokens=tokens)) as sessions:
        return "add" in (await sessions.listing("it")).tools


async def test_a_person_logs_in_once_and_workers_use_the_token(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    async with serving(tmp_path, free_port()) as server:
        with pytest.raises(ServerError, match=r"where it asks for a login: `durable-responses tools login it`"):
            await listed(server, tokens)
        await logged_in(server, tokens)
        assert await listed(server, tokens)
    assert grants(tmp_path) == ["authorization_code"]
    [file] = tokens.glob("it-*.json")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(tokens.stat().st_mode) == 0o700


def expire(tokens: Path) -> None:
    """The time of the token in this folder is over."""
    [file] = tokens.glob("it-*.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), "expires_at": 1.0}))


async def test_a_token_whose_time_is_over_is_renewed_where_it_was_given(tmp_path: Path) -> None:
    """By a worker that has started since: it knows from the file when that is, and where."""
    tokens = tmp_path / "tokens"
    async with serving(tmp_path, free_port()) as server:
        await logged_in(server, tokens)
        expire(tokens)
        assert await listed(server, tokens)
        assert await listed(server, tokens)
    assert grants(tmp_path) == ["authorization_code", "refresh_token"]


async def test_of_several_workers_one_renews_a_token(tmp_path: Path) -> None:
    """What renews it is good for once."""
    tokens = tmp_path / "tokens"
    async with serving(tmp_path, free_port()) as server:
        await logged_in(server, tokens)
        expire(tokens)
        assert all(await asyncio.gather(*(listed(server, tokens) for _ in range(5))))
    assert grants(tmp_path) == ["authorization_code", "refresh_token"]


async def test_a_worker_uses_the_token_that_another_one_has_renewed(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    async with serving(tmp_path, free_port()) as server:
        await logged_in(server, tokens)
        async with Sessions({"it": server}, surroundings=Surroundings(tokens=tokens)) as sessions:
            await sessions.listing("it")
            expire(tokens)
            assert await listed(server, tokens)
            answer = await sessions.call("it", "add", {"a": 1, "b": 2}, quiet)
    assert answer.text == "3"
    assert grants(tmp_path) == ["authorization_code", "refresh_token"]


async def test_a_token_that_is_refused_before_its_time_is_renewed(tmp_path: Path) -> None:
    tokens = tmp_path / "tokens"
    async with serving(tmp_path, free_port()) as server:
        await logged_in(server, tokens)
        (tmp_path / "revokes").touch()
        assert await listed(server, tokens)
        assert await listed(server, tokens)
    assert grants(tmp_path) == ["authorization_code", "refresh_token"]


async def test_a_login_that_is_over_ends_no_call_that_is_under_way(tmp_path: Path) -> None:
    """The call that meets it is not made, and is told what to do."""
    tokens = tmp_path / "tokens"
    async with serving(tmp_path, free_port()) as server:
        await logged_in(server, tokens)
        async with Sessions({"it": server}, surroundings=Surroundings(tokens=tokens)) as sessions:
            under_way = asyncio.create_task(sessions.call("it", "look_slowly", {}, quiet))
            async with asyncio.timeout(30):
                while not (tmp_path / "look_slowly").exists():
                    await asyncio.sleep(0.02)
            [file] = tokens.glob("it-*.json")
            stored = json.loads(file.read_text())
            stored["tokens"]["refresh_token"] = "spent"
            file.write_text(json.dumps({**stored, "expires_at": 1.0}))
            with pytest.raises(ServerError, match=r"add was not called: .*`durable-responses tools login it`"):
                await sessions.call("it", "add", {"a": 1, "b": 2}, quiet)
            (tmp_path / "open").touch()
            assert (await under_way).text == "look_slowly: 1"


async def test_a_client_that_is_refused_is_told_in_words(tmp_path: Path) -> None:
    async with serving(tmp_path, free_port()) as server:
        nobody = ClientCredentials(client_id="x", client_secret="y", issuer=f"http://127.0.0.1:{free_port()}")
        with pytest.raises(ServerError, match="'it' cannot be used: nobody could authorize it: ") as failed:
            await listed(server.model_copy(update={"oauth": nobody}), tmp_path / "tokens")
    assert "\n" not in str(failed.value)


async def test_a_worker_logs_in_by_itself_with_a_secret(tmp_path: Path) -> None:
    async with serving(tmp_path, free_port()) as server:
        assert server.url is not None
        issuer = server.url.removesuffix("/mcp")
        client = ClientCredentials(client_id=CLIENT, client_secret="${SECRET}", issuer=issuer)
        entry = server.model_copy(update={"oauth": client}).resolved({"SECRET": SECRET})
        assert await listed(entry, tmp_path / "tokens")
        assert await listed(entry, tmp_path / "tokens")
    assert grants(tmp_path) == ["client_credentials"]


async def test_a_login_that_is_refused_says_so(tmp_path: Path) -> None:
    def refuse(url: str) -> None:
        del url
        agree(f"{login.redirect_uri}?error=access_denied")

    login = Login(refuse)
    async with serving(tmp_path, free_port()) as server:
        surroundings = Surroundings(tokens=tmp_path / "tokens", login=login)
        async with Sessions({"it": server}, surroundings=surroundings) as sessions:
            with pytest.raises(ServerError, match="the login was refused: access_denied"):
                await sessions.listing("it")
