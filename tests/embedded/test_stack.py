import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from temporalio.client import WorkflowHandle

from durable_responses.connection import TemporalUnreachable, connect
from durable_responses.embedded import StackError, ensure_readable, ensure_running, kept_in_use, running_stack, stop
from durable_responses.embedded.folder import StateFolder
from durable_responses.progress import Progress
from durable_responses.settings import SetupError, child_environment
from durable_responses.stack_file import PartName, StackFile, StackMode
from durable_responses.workflows.contract import WORKFLOW_TYPE, TaskQueue
from tests.embedded.conftest import Stack
from tests.support.processes import Process, TemporalServer, WorkerProcess, free_port


async def start_a_run_for_later(stack: Stack) -> WorkflowHandle[Any, Any]:
    client = await connect(stack.settings)
    return await client.start_workflow(
        WORKFLOW_TYPE, {"task": "later"}, id="open", task_queue=TaskQueue.AGENTS, start_delay=timedelta(hours=1)
    )


@pytest.fixture
async def open_run(standing: Stack) -> AsyncIterator[None]:
    """A run that is open for as long as the test."""
    run = await start_a_run_for_later(standing)
    yield
    await run.terminate()


async def test_what_does_not_run_is_started_in_the_background(stack: Stack) -> None:
    file = await stack.ensure_running()
    assert file.mode is StackMode.BACKGROUND
    assert file.is_ready
    said = [line for line in stack.said if not isinstance(line, Progress)]
    assert said == ["Starting Temporal, a worker and everything else that is not configured, in the background."]


async def test_what_runs_is_not_started_again(standing: Stack) -> None:
    before = standing.file
    standing.said.clear()
    assert await standing.ensure_running() == before
    assert standing.said == []


async def test_two_commands_at_the_same_time_start_one_stack(stack: Stack) -> None:
    one, other = await asyncio.gather(stack.ensure_running(), stack.ensure_running())
    assert one == other


async def test_the_stack_outlives_the_command_that_started_it(stack: Stack, tmp_path: Path) -> None:
    program = (
        "import asyncio; from durable_responses import embedded, settings; "
        "asyncio.run(embedded.ensure_running(settings.Settings.load(), print))"
    )
    environment = child_environment(AGENT_STATE_FOLDER=str(stack.folder))
    async with Process([sys.executable, "-c", program], log=tmp_path / "command.log", env=environment) as command:
        assert await command.wait(timeout=90) == 0
    assert stack.file.is_ready


async def test_whoever_comes_while_an_idle_stack_ends_gets_the_next_one(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """H2: its Temporal still answers, and is gone a moment later."""
    monkeypatch.setenv("AGENT_IDLE_STOP", "1s")
    before = await stack.ensure_running()
    os.kill(stack.pid(PartName.EMULATOR), signal.SIGSTOP)  # so that the end takes a while
    # Who comes before it says so still gets this one.
    await stack.until(lambda file: file.ending and "No run was open" in stack.log("stack"))
    after = await ensure_readable(stack.settings, stack.said.append)
    assert after is not None
    assert after.pid != before.pid
    assert stack.said[-1] == "Starting Temporal in the background, to read its runs."
    assert await anext((await connect(stack.settings)).list_workflows(), None) is None


async def test_a_stack_that_somebody_uses_is_not_idle(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """H2"""
    monkeypatch.setenv("AGENT_IDLE_STOP", "2s")
    before = await stack.ensure_running()
    async with kept_in_use(stack.settings):
        for _ in range(4):  # seconds
            await until_noted(StateFolder(stack.settings).last_use)
        assert stack.file == before
    await stack.until_gone()


async def until_noted(last_use: Path) -> None:
    before = last_use.stat().st_mtime_ns
    while last_use.stat().st_mtime_ns == before:
        await asyncio.sleep(0.02)


async def test_a_killed_supervisor_in_the_background_is_replaced_with_all_its_parts(stack: Stack) -> None:
    before = await stack.ensure_running()
    stack.kill(before.pid)
    after = await stack.until(lambda file: file.is_ready and file.pid != before.pid)
    assert after.temporal_address == before.temporal_address
    assert not {part.pid for part in before.parts.values()} & {part.pid for part in after.parts.values()}


async def test_a_stack_of_which_everything_was_killed_is_started_anew(stack: Stack) -> None:
    before = await stack.ensure_running()
    await start_a_run_for_later(stack)
    await stack.kill_everything()
    after = await stack.ensure_running()
    assert after.pid != before.pid
    client = await connect(stack.settings)
    assert (await client.get_workflow_handle("open").describe()).workflow_type == WORKFLOW_TYPE


async def test_a_stale_stack_file_is_not_believed(stack: Stack) -> None:
    before = await stack.ensure_running()
    await stop(stack.settings, stack.said.append)
    StackFile.path(stack.settings).write_text(before.model_dump_json())
    assert running_stack(stack.settings) is None


async def test_down_stops_everything(stack: Stack) -> None:
    await stack.ensure_running()
    assert await stop(stack.settings, stack.said.append)
    assert running_stack(stack.settings) is None
    assert not any(lock.is_held for lock in stack.locks)


async def test_down_without_a_stack_says_that_nothing_ran(stack: Stack) -> None:
    assert not await stop(stack.settings, stack.said.append)
    assert stack.said == []


async def test_an_idle_stack_with_other_settings_is_started_again(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = await stack.ensure_running()
    monkeypatch.setenv("AGENT_MODEL", "gpt-other")
    after = await stack.ensure_running()
    assert after.pid != before.pid
    assert "The background stack was started with another AGENT_MODEL; restarting it." in stack.said


async def test_a_stack_with_open_runs_and_another_key_is_left_alone(
    standing: Stack, open_run: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = standing.file
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-to-be-shown")
    with pytest.raises(StackError, match=r"started with another OPENAI_API_KEY.*: wait for its runs") as caught:
        await standing.ensure_running()
    assert "sk-not" not in str(caught.value)
    assert standing.file == before


async def test_a_stack_with_open_runs_and_a_small_difference_is_used_with_a_word(
    standing: Stack, open_run: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = standing.file
    monkeypatch.setenv("AGENT_MAX_TOOLS", "3")
    assert await standing.ensure_running() == before
    assert standing.said[-1].startswith("The running stack was started with another AGENT_MAX_TOOLS")


async def test_a_variable_that_is_forgotten_in_a_second_terminal_restarts_nothing(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """H1"""
    with monkeypatch.context() as first_terminal:
        first_terminal.setenv("AGENT_MODEL", "gpt-other")
        before = await stack.ensure_running()
    assert await stack.ensure_running() == before
    assert stack.said[-1].startswith("The running stack was started with another AGENT_MODEL, which is not set here")


async def test_a_typo_in_the_tool_modules_is_found_before_a_stack_that_works_is_stopped(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """H1"""
    before = await stack.ensure_running()
    monkeypatch.setenv("AGENT_TOOL_MODULES", "no_such_module")
    with pytest.raises(StackError, match=r"AGENT_TOOL_MODULES cannot be loaded.*no_such_module"):
        await stack.ensure_running()
    assert stack.file == before


async def test_tools_of_the_folder_one_works_in_are_found_and_files_named_like_ours_are_not_run(
    stack: Stack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "my_tools.py").write_text(
        "from durable_responses import Effect, tool\n\n\n@tool(effect=Effect.PURE)\n"
        'def shout(text: str) -> str:\n    """Say it louder."""\n    return text.upper()\n'
    )
    for name in ("worker", "starter", "durable_responses", "settings", "emulator", "embedded"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('not ours')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("AGENT_TOOL_MODULES", "my_tools")
    assert (await stack.ensure_running()).is_ready


async def test_a_worker_that_cannot_start_is_told_in_one_sentence(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AGENT_TOOL_MODULES", "no_such_module")
    with pytest.raises(StackError, match=r"The worker did not start: .*no_such_module"):
        await stack.ensure_running()
    assert running_stack(stack.settings) is None


async def test_a_state_folder_that_cannot_be_used_is_named(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    stack.folder.write_text("a file")
    with pytest.raises(SetupError, match=r"state folder .*/state cannot be used .*: set AGENT_STATE_FOLDER"):
        await stack.ensure_running()


async def test_the_stack_file_holds_no_secret(stack: Stack, monkeypatch: pytest.MonkeyPatch) -> None:
    """A25: the API key is in no file of the stack."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-not-to-be-shown")
    monkeypatch.setenv("OPENAI_BASE_URL", f"http://127.0.0.1:{free_port()}/v1")
    await stack.ensure_running()
    await stop(stack.settings, stack.said.append)
    texts = [path.read_bytes() for path in stack.folder.rglob("*") if path.is_file()]
    assert texts
    assert not any(b"sk-not-to-be-shown" in text for text in texts)


async def test_a_configured_server_that_has_a_worker_needs_no_stack(
    stack: Stack, temporal: TemporalServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", temporal.address)
    monkeypatch.setenv("AGENT_TASK_QUEUE", "elsewhere")
    worker = WorkerProcess(temporal, "http://127.0.0.1:9/v1", folder=tmp_path, AGENT_TASK_QUEUE="elsewhere")
    async with worker:
        assert await ensure_running(stack.settings, stack.said.append) is None
    assert running_stack(stack.settings) is None


async def test_a_configured_server_without_a_worker_gets_one_and_no_second_server(
    stack: Stack, temporal: TemporalServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", temporal.address)
    monkeypatch.setenv("AGENT_TASK_QUEUE", "lonely")
    file = await stack.ensure_running()
    assert file.temporal_address == temporal.address
    assert set(file.parts) == {PartName.EMULATOR, PartName.WORKER}


async def test_a_configured_server_that_does_not_answer_is_no_reason_to_start_another(
    stack: Stack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEMPORAL_ADDRESS", f"127.0.0.1:{free_port()}")
    with pytest.raises(TemporalUnreachable):
        await stack.ensure_running()
    assert running_stack(stack.settings) is None
