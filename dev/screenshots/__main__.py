"""Take the pictures: `python -m dev.screenshots FOLDER`."""

import asyncio
import json
import socket
import sys
import tempfile
from pathlib import Path

from dev.screenshots.browser import Page, chromium, find_chromium
from dev.screenshots.recording import DARK, LIGHT, find_tmux, moving, terminal
from dev.screenshots.runs import ASKING, ASKS, FINISHED, WRITING, add_scenarios, make
from durable_responses.connection import connect
from durable_responses.embedded import ensure_running, jobs_here, stop
from durable_responses.jobs.jobs import Jobs
from durable_responses.process import leave
from durable_responses.provider import ProviderKind, configured_provider
from durable_responses.settings import Settings, SetupError, child_environment, configured_address
from durable_responses.stack_file import StackFile

_PROGRAMS = Path(sys.executable).parent
_COLUMNS_OF_TERMINAL, _ROWS = 100, 28
_COMMAND = 'durable-responses run "What is still open before Fernwick 2.0 can ship?" --effort high'
_ASKING_COMMAND = f'durable-responses run "Plan the next release of Fernwick." --model scenario:{ASKS.name}'
_REPLIES = {"Enter alone leaves it open:": "1"}
_COLUMNS = ["Status", "Workflow ID", "AgentStatus", "AgentModel", "AgentIteration", "AgentTenant", "Start"]


async def _main(folder: Path) -> None:
    settings = Settings.load()
    if configured_address() or configured_provider(settings) is not ProviderKind.EMULATOR:
        raise SetupError(
            "The pictures show the embedded stack: unset TEMPORAL_ADDRESS, OPENAI_API_KEY and OPENAI_BASE_URL."
        )
    find_tmux()
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as state:
        settings = settings.model_copy(update={"state_folder": Path(state)})
        try:
            stack = await ensure_running(settings, _tell)
            assert stack is not None
            await add_scenarios(stack)
            await _record(folder, Path(state))
            find_chromium()  # the pictures of the terminal need none
            jobs = await jobs_here(await connect(settings), settings)
            await make(jobs)
            async with chromium() as page:
                await _take_all(page, stack, jobs, folder)
        finally:
            await stop(settings, _tell)


async def _record(folder: Path, state: Path) -> None:
    """Runs on a terminal, from the command to the answer, for pages that are light and for such that are dark."""
    # Who answers is shown.
    variables = {
        "AGENT_STATE_FOLDER": str(state),
        "LOGNAME": "ada",
        "PATH": f"{_PROGRAMS}:{child_environment()['PATH']}",
    }
    async with terminal(_COLUMNS_OF_TERMINAL, _ROWS, Path.cwd(), variables) as shell:
        recorded = {"panel": await shell.type(_COMMAND)}
    async with terminal(_COLUMNS_OF_TERMINAL, _ROWS, Path.cwd(), variables) as shell:
        recorded["question"] = await shell.type(_ASKING_COMMAND, _REPLIES)
    for name, pictures in recorded.items():
        for kind, theme in (("light", LIGHT), ("dark", DARK)):
            _save(folder, f"{name}-{kind}.svg", moving(pictures, _COLUMNS_OF_TERMINAL, theme).encode())


async def _take_all(page: Page, stack: StackFile, jobs: Jobs, folder: Path) -> None:
    runs = f"{stack.web_ui}/namespaces/{stack.namespace}/workflows"
    await page.show(runs, FINISHED)
    await page.evaluate(f"localStorage.setItem('namespace-workflow-table-columns', {_columns(stack.namespace)})")
    await page.show(runs, "AgentTenant")
    await page.wait_for("gpt-5.4-mini")
    _save(folder, "runs.png", await page.take(493))
    shown = (FINISHED, WRITING, ASKING)
    finished, writing, asking = [f"{runs}/{job_id}/{(await jobs.state(job_id)).run_id}" for job_id in shown]
    await page.show(f"{finished}/history", "create response 3")
    await page.click("Descending")
    await page.wait_for("create response 1")
    _save(folder, "run.png", await page.take(1090))
    await page.show(f"{writing}/user-metadata", "Current Details")
    # Summary, details and current details, each in a frame of its own.
    await page.wait_until("document.querySelectorAll('iframe').length >= 3")
    _save(folder, "user-metadata.png", await page.take(1010))
    await page.show(f"{asking}/user-metadata", "Current Details")
    await page.wait_until("document.querySelectorAll('iframe').length >= 3")
    _save(folder, "question.png", await page.take(1030))
    await page.show(f"{writing}/pending-activities", "await_response")
    await page.wait_for("preview")
    # A worker's identity names its machine, which is nobody's business.
    await page.replace(f"@{socket.gethostname()}", "@worker-1")
    _save(folder, "pending-activity.png", await page.take(700))


def _save(folder: Path, name: str, picture: bytes) -> None:
    (folder / name).write_bytes(picture)
    _tell(f"Took {folder / name}")


def _columns(namespace: str) -> str:
    """The store of the list's columns, as a string of JavaScript."""
    return json.dumps(json.dumps({namespace: [{"label": label, "pinned": False} for label in _COLUMNS]}))


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")


def main() -> int:
    """Take them; the exit code is 1 where something is missing, and standard error says what to do."""
    try:
        folder = Path(sys.argv[1])
        folder.mkdir(parents=True, exist_ok=True)
        asyncio.run(_main(folder))
    except SetupError as error:
        _tell(str(error))
        return 1
    return 0


if __name__ == "__main__":
    leave(main())
