"""What a hostile, or merely confused, client sends: refused in one sentence, and nothing leaks or breaks."""

from pathlib import Path
from typing import Any

import pytest
from mcp.shared.exceptions import MCPError

from durable_responses.jobs.starting import job_id_for
from tests.mcp_server.conftest import Deployment
from tests.support.mcp_clients import HttpServer, McpServer, StdioServer

NOT_FOUND = {"error": "job_not_found"}
OF_A_JOB = [
    ("gpt5_agent_poll", {}),
    ("gpt5_agent_continue", {"task": "Go on."}),
    ("gpt5_agent_steer", {"message": "Be brief."}),
    ("gpt5_agent_cancel", {}),
]
NO_JOBS = [
    "agent-00000000000000000000000000000000",
    "",
    "..",
    "../../etc/passwd",
    "a" * 100_000,
    "\x00",
    "ünïcödé",
    "%2e",
]


@pytest.mark.parametrize("job_id", NO_JOBS, ids=lambda job_id: repr(job_id[:40]))
@pytest.mark.parametrize(("tool", "said"), OF_A_JOB)
async def test_an_unknown_job_is_a_result_and_no_error(
    http: HttpServer, tool: str, said: dict[str, Any], job_id: str
) -> None:
    """A17: the SDK's client has checked it against the output schema."""
    async with http.session() as session:
        reply = await session.call(tool, job_id=job_id, **said)
    assert (reply.content, reply.is_error) == (NOT_FOUND, False)


@pytest.mark.parametrize(("tool", "said"), OF_A_JOB)
async def test_a_workflow_of_another_type_is_no_job(
    http: HttpServer, deployment: Deployment, tool: str, said: dict[str, Any]
) -> None:
    """A17: nothing of it is told, and it is not signalled."""
    handle = await deployment.client.start_workflow("SomebodyElses", id=f"theirs-{tool}", task_queue="theirs")
    async with http.session() as session:
        reply = await session.call(tool, job_id=handle.id, **said)
    described = await handle.describe()
    assert reply.content == NOT_FOUND
    assert "SomebodyElses" not in reply.text
    assert described.history_length == 2  # started, and a workflow task scheduled: no signal


async def test_workflows_of_other_types_are_not_listed(http: HttpServer, deployment: Deployment) -> None:
    handle = await deployment.client.start_workflow("SomebodyElses", id="theirs-unlisted", task_queue="theirs")
    async with http.session() as session:
        listed = await session.call("gpt5_agent_list", limit=50)
    assert handle.id not in [job["job_id"] for job in listed["jobs"]]


async def test_the_idempotency_key_of_a_workflow_of_another_type_gives_nothing_away(
    http: HttpServer, deployment: Deployment
) -> None:
    """A14, A17."""
    await deployment.client.start_workflow("SomebodyElses", id=job_id_for("taken"), task_queue="theirs")
    async with http.session() as session:
        reply = await session.call("gpt5_agent_start", task="Think.", idempotency_key="taken")
    assert reply.failed_as == "invalid_arguments"
    assert "idempotency_key" in reply.text
    assert "SomebodyElses" not in reply.text


@pytest.mark.parametrize(
    ("tool", "given", "named"),
    [
        ("gpt5_agent_start", {}, "task is missing"),
        ("gpt5_agent", {"task": 5}, "task: "),
        ("gpt5_agent_start", {"task": "Think.", "max_iterations": "many"}, "max_iterations: "),
        ("gpt5_agent_start", {"task": "Think.", "api_key": "sk-1"}, "there is no argument 'api_key'"),
        ("gpt5_agent_poll", {"job_id": 5}, "job_id: "),
        ("gpt5_agent_poll", {"job_id": "agent-1", "wait_seconds": "long"}, "wait_seconds: "),
        ("gpt5_agent_continue", {"job_id": "agent-1"}, "task is missing"),
        ("gpt5_agent_continue", {"job_id": "agent-1", "task": " "}, "task: is blank"),
        ("gpt5_agent_continue", {"job_id": "a", "task": "Go.", "context": "x"}, "there is no argument 'context'"),
        ("gpt5_agent_steer", {"job_id": "agent-1", "message": ""}, "message: "),
        ("gpt5_agent_steer", {"message": "Be brief."}, "job_id is missing"),
        ("gpt5_agent_cancel", {}, "job_id is missing"),
        ("gpt5_agent_list", {"limit": -1}, "limit: "),
    ],
)
async def test_wrong_arguments_are_an_error_that_names_them(
    server: McpServer, tool: str, given: dict[str, Any], named: str
) -> None:
    """A23: over stdio and HTTP; the error is a result, so that a model can mend its call."""
    async with server.session() as session:
        reply = await session.call(tool, **given)
    assert reply.failed_as == "invalid_arguments"
    assert named in reply.text


async def test_an_unknown_tool_is_an_error_of_the_protocol(http: HttpServer) -> None:
    async with http.session() as session:
        with pytest.raises(MCPError, match="There is no tool 'gpt6_agent'"):
            await session.client.call_tool("gpt6_agent", {})


async def test_a_task_of_10_megabytes_is_refused_in_a_sentence(stdio: StdioServer) -> None:
    """A23: and the server goes on serving."""
    async with stdio.session() as session:
        reply = await session.call("gpt5_agent_start", task="x" * 10_000_000)
        assert reply.failed_as == "invalid_arguments"
        assert "`files`" in reply.text
        assert len(reply.text) < 300
        assert (await session.call("gpt5_agent_list")).is_error is False


async def test_a_task_of_10_megabytes_over_http_breaks_nothing(http: HttpServer) -> None:
    """The SDK's server refuses bodies over 4 MiB."""
    async with http.session() as session:
        with pytest.raises(MCPError):
            await session.call("gpt5_agent_start", task="x" * 10_000_000)
        assert (await session.call("gpt5_agent_list")).is_error is False


@pytest.mark.parametrize("path", ["../secret.md", "/etc/hostname", "link.md"])
async def test_files_outside_the_root_are_refused_before_anything_starts(
    http: HttpServer, deployment: Deployment, path: str
) -> None:
    """A24: traversal, absolute paths, symlinks."""
    (deployment.folder / "secret.md").write_text("secret")
    link = deployment.root / "link.md"
    if not link.is_symlink():
        link.symlink_to(deployment.folder / "secret.md")
    async with http.session() as session:
        reply = await session.call("gpt5_agent_start", task="Read.", file_path=path)
    assert reply.failed_as == "invalid_arguments"
    assert "file_path is outside the allowed root" in reply.text


@pytest.mark.parametrize(
    ("name", "folder"),
    [("../../escaped.md", "one"), ("/escaped", "two"), ("..\\escaped.md", "three"), ("a/../../escaped", "four")],
)
async def test_a_file_name_cannot_leave_the_folder(
    http: HttpServer, deployment: Deployment, name: str, folder: str
) -> None:
    """A22: it loses its separators and dots, and gains .md."""
    async with http.session() as session:
        job_id = await session.start(model="scenario:echo", output_filename=name, output_folder=folder)
        done = await session.ended(job_id)
    path = Path(done["result_path"])
    assert path.parent == deployment.root / folder
    assert path.suffix == ".md"
    assert ".." not in path.name
