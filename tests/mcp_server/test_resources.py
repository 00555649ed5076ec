"""Jobs as resources, which clients attach."""

import json
from pathlib import Path

import pytest
from mcp.shared.exceptions import MCPError
from mcp_types import TextResourceContents

from tests.mcp_server.conftest import Deployment
from tests.support.mcp_clients import LEGACY, MODERN, HttpServer, McpServer, Session

THINKS_LONG = "scenario:think?seconds=60"


async def read(session: Session, uri: str) -> TextResourceContents:
    """One resource, never from the client's cache."""
    [content] = (await session.client.read_resource(uri, cache_mode="bypass")).contents
    assert isinstance(content, TextResourceContents)
    return content


@pytest.mark.parametrize("mode", [MODERN, LEGACY])
async def test_a_job_is_two_resources(server: McpServer, mode: str) -> None:
    async with server.session(mode=mode) as session:
        job_id = await session.start("Attach me.", model="scenario:echo")
        done = await session.ended(job_id)
        state = await read(session, f"job://{job_id}")
        result = await read(session, f"job://{job_id}/result")
        again = await session.poll(job_id)
    assert json.loads(state.text) == again.content
    assert state.mime_type == "application/json"
    assert result.text == Path(done["result_path"]).read_text()
    assert result.mime_type == "text/markdown"


async def test_the_state_of_a_running_job_is_live(http: HttpServer) -> None:
    async with http.session() as session:
        job_id = await session.start(model=THINKS_LONG)
        await session.until(job_id, "running")
        running = json.loads((await read(session, f"job://{job_id}")).text)
        await session.cancel(job_id)
        cancelled = json.loads((await read(session, f"job://{job_id}")).text)
    assert (running["status"], cancelled["status"]) == ("running", "cancelled")


async def test_recent_jobs_are_listed(http: HttpServer) -> None:
    async with http.session() as session:
        job_id = await session.start("List me.", model="scenario:echo")
        await session.ended(job_id)
        listed = await session.client.list_resources()
        templates = await session.client.list_resource_templates()
    titles = {resource.uri: resource.title for resource in listed.resources}
    assert titles[f"job://{job_id}"] == "List me."
    assert f"job://{job_id}/result" in titles
    assert {each.uri_template for each in templates.resource_templates} == {"job://{id}", "job://{id}/result"}


async def test_the_output_is_the_result_where_no_file_was_saved(http: HttpServer) -> None:
    async with http.session() as session:
        job_id = await session.start("Not saved.", model="scenario:echo", save_to_file=False)
        await session.ended(job_id)
        assert (await read(session, f"job://{job_id}/result")).text == "Not saved."


async def test_a_result_that_has_become_a_symlink_out_of_the_root_is_not_followed(
    http: HttpServer, deployment: Deployment
) -> None:
    """A22: contained, symlinks resolved."""
    (deployment.folder / "outside.md").write_text("secret")
    async with http.session() as session:
        done = await session.ended(await session.start("Replace me.", model="scenario:echo"))
        Path(done["result_path"]).unlink()
        Path(done["result_path"]).symlink_to(deployment.folder / "outside.md")
        result = await read(session, f"job://{done['job_id']}/result")
    assert result.text == "Replace me."


async def test_an_open_job_has_no_result_yet(http: HttpServer) -> None:
    async with http.session() as session:
        job_id = await session.start(model=THINKS_LONG)
        with pytest.raises(MCPError, match="has no result yet"):
            await read(session, f"job://{job_id}/result")
        await session.cancel(job_id)


@pytest.mark.parametrize(
    "uri",
    [
        *("job://agent-unknown", "job://agent-unknown/result", "job://", "job://a/b/c", "job://a/result/../../x"),
        *("file:///etc/passwd", "job://..%2f..%2fetc%2fpasswd", "job:agent-1", "job://a?b=c"),
    ],
)
async def test_an_address_of_nothing_is_an_error_that_says_so(http: HttpServer, uri: str) -> None:
    """A17: nothing leaks."""
    async with http.session() as session:
        with pytest.raises(MCPError) as refusal:
            await read(session, uri)
    assert refusal.value.code == -32602
