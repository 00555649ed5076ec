"""Files in, results out, and what never leaves: rows A22, A24 and A25 seen through MCP."""

import re
from pathlib import Path

from temporalio.client import Client

from tests.mcp_server.conftest import Deployment
from tests.support.emulator_control import EmulatorProcess
from tests.support.mcp_clients import HttpServer, Session
from tests.support.processes import WorkerProcess

# --- in ----------------------------------------------------------------------------------------------------------


async def test_the_model_reads_the_files_that_were_given(http: HttpServer, deployment: Deployment) -> None:
    """A24, A26: with path and label, after the context."""
    (deployment.root / "notes.md").write_text("The owner is Ada.")
    async with http.session() as session:
        done = await session.ended(
            await session.start(
                "Who owns it?",
                model="scenario:echo",
                context="It is Friday.",
                files=[{"path": "notes.md", "label": "meeting notes"}],
            )
        )
    assert done["output"] == (
        "Who owns it?\n\nContext: It is Friday.\n\n"
        "<file>\npath: notes.md\nlabel: meeting notes\ncontent:\nThe owner is Ada.\n</file>"
    )


async def test_the_bytes_of_a_file_never_enter_history(http: HttpServer, deployment: Deployment) -> None:
    """A24."""
    (deployment.root / "private.md").write_text("The password is swordfish.")
    async with http.session() as session:
        job_id = await session.start("Read it.", model="scenario:think?seconds=0", file_path="private.md")
        await session.ended(job_id)
    assert "swordfish" not in await history_of(deployment.client, job_id)


async def test_a_worker_refuses_what_its_own_root_does_not_allow(deployment: Deployment, tmp_path: Path) -> None:
    """A24: the server's root is carried along, and the worker checks it."""
    (tmp_path / "elsewhere.md").write_text("not for this worker")
    settings = deployment.settings(AGENT_FILES_ROOT=str(tmp_path))
    async with HttpServer(settings, tmp_path) as server, server.session() as session:
        failed = await session.ended(await session.start("Read.", file_path="elsewhere.md"))
    assert failed["status"] == "failed"
    assert failed["error"]["type"] == "invalid_input"
    assert "files_root" in failed["error"]["message"]


# --- out ---------------------------------------------------------------------------------------------------------


async def test_a_result_is_saved_in_the_default_folder_under_a_name_of_its_own(
    http: HttpServer, deployment: Deployment
) -> None:
    """A22: an absolute path; the standard form."""
    async with http.session() as session:
        done = await session.ended(await session.start("Repeat this, please!", model="scenario:echo"))
    path = Path(done["result_path"])
    assert path.parent == deployment.root / "_gpt5_docs"
    assert re.fullmatch(rf"agent_\d{{14}}_repeat-this-please_{done['job_id']}\.md", path.name)
    text = path.read_text()
    assert text.startswith("# Task\n\nRepeat this, please!\n")
    assert all(fact in text for fact in ("## Output", done["response_id"], "scenario:echo", "Iterations: 1", "Tokens:"))


async def test_the_clean_form_is_the_output_alone(http: HttpServer, deployment: Deployment) -> None:
    """A22: in a folder and under a name that the caller gave."""
    async with http.session() as session:
        done = await session.ended(
            await session.start(
                "Only this.",
                model="scenario:echo",
                save_format="clean",
                output_folder="mine/deep",
                output_filename="only",
            )
        )
    assert done["result_path"] == str(deployment.root / "mine" / "deep" / "only.md")
    assert Path(done["result_path"]).read_text() == "Only this.\n"


async def test_a_taken_name_is_reported_and_the_run_is_completed_all_the_same(http: HttpServer) -> None:
    """A22: created exclusively."""
    async with http.session() as session:
        await _save_as_taken(session, "First.")
        second = await _save_as_taken(session, "Second.")
    assert (second.status, second.path) == ("completed", None)
    assert "taken.md already exists" in second.text


async def test_nothing_is_saved_when_that_is_not_wanted(http: HttpServer) -> None:
    """A23: `save_to_file`."""
    async with http.session() as session:
        done = await session.ended(await session.start(model="scenario:echo", save_to_file=False))
    assert done["result_path"] is None


async def test_a_saved_output_is_not_shown_where_the_caller_said_so(http: HttpServer) -> None:
    """A23: `display_in_chat`; whoever polls is told path and size."""
    async with http.session() as session:
        job_id = await session.start("A long report.", model="scenario:echo", display_in_chat=False)
        done = await session.ended(job_id)
    assert done["output"] is None
    assert f"The output (14 bytes) is in {done['result_path']}" in done.text
    assert "A long report." not in done.text


class Saved:
    """How a job ended that was to save its result."""

    def __init__(self, status: str, path: str | None, text: str) -> None:
        self.status, self.path, self.text = status, path, text


async def _save_as_taken(session: Session, task: str) -> Saved:
    job_id = await session.start(task, model="scenario:echo", output_folder="taken", output_filename="taken")
    done = await session.ended(job_id)
    return Saved(done["status"], done["result_path"], done.text)


# --- never out ---------------------------------------------------------------------------------------------------

KEY = "not-a-usual-key-4711"


async def test_a_refused_key_is_an_error_with_all_but_the_key(deployment: Deployment, tmp_path: Path) -> None:
    """A25: status, code and request id are told; the key is in no answer, no history, no log."""
    queue = "agents-over-mcp-refused"
    emulator = EmulatorProcess(tmp_path, "--api-key", "the-right-key")
    settings = deployment.settings(AGENT_TASK_QUEUE=queue, OPENAI_API_KEY=KEY, OPENAI_BASE_URL=emulator.base_url)
    worker = WorkerProcess(
        deployment.temporal,
        emulator.base_url,
        folder=tmp_path,
        AGENT_TASK_QUEUE=queue,
        AGENT_WORKSPACE=str(deployment.root),
        AGENT_OUTPUT_ROOT=str(deployment.root),
        OPENAI_API_KEY=KEY,
    )
    async with emulator, worker, HttpServer(settings, tmp_path) as server, server.session() as session:
        failed = await session.ended(await session.start("Think."))
        told = [str(failed.content), failed.text, worker.output, server.output]
        told.append(await history_of(deployment.client, failed["job_id"]))
    assert failed["error"]["type"] == "authentication_failed"
    assert failed["error"]["http_status"] == 401
    assert failed["error"]["request_id"]
    assert not any(KEY in text for text in told)


async def test_the_key_is_no_argument(http: HttpServer) -> None:
    """A25."""
    async with http.session() as session:
        tools = (await session.client.list_tools()).tools
    assert not any(
        "key" in name and name != "idempotency_key" for tool in tools for name in tool.input_schema["properties"]
    )


async def history_of(client: Client, job_id: str) -> str:
    """Everything that Temporal stores of a run, as text."""
    history = await client.get_workflow_handle(job_id).fetch_history()
    return "\n".join(str(event) for event in history.events)
