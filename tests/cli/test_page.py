"""docs/command-line.md: each command is typed in a shell, in this order, in a folder that is not the checkout."""

import asyncio
import re
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from durable_responses.jobs.job_errors import JobExists
from durable_responses.settings import Settings
from durable_responses.workflows.contract import AgentInput
from tests.support.processes import CHECKOUT
from tests.support.shell import Shell

PAGE = (CHECKOUT / "docs" / "command-line.md").read_text()
TYPED = [
    line for block in re.findall(r"^```\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL) for line in block.splitlines()
]
BEFORE = """
set -euo pipefail
git init --quiet .
echo one > change.md
git add change.md
echo two > change.md
echo "Say hello." > task.md
echo '{"type": "object", "properties": {"owner": {"type": "string"}}}' > schema.json
mkdir -p ~/.config/fish/completions
"""


@pytest.mark.timeout(900)
async def test_every_command_of_the_page_does_what_it_says(echoing: Shell) -> None:
    jobs = echoing.jobs
    for job_id in ("what-is-still-open-3f9a2c", "my-job"):
        with suppress(JobExists):  # other pages that are typed on this server have a run of that name, too
            await jobs.start(AgentInput(task="Say it."), job_id=job_id)
            await jobs.result(job_id)
    running = await jobs.start(
        AgentInput(task="Compare.", model="scenario:think?seconds=900"), job_id="compare-the-two-plans-81d0fe"
    )
    lines = [f"{line} || {{ echo failed: {number}; exit 1; }}" for number, line in enumerate(TYPED)]
    shell = await asyncio.create_subprocess_exec(
        *("bash", "-c", "\n".join([BEFORE, *lines])),
        cwd=echoing.folder,
        env={
            **echoing.env,
            "HOME": str(echoing.folder),
            "AGENT_CACHE_FOLDER": str(Settings().cache_folder),
            "PATH": f"{Path(sys.executable).parent}:{echoing.env['PATH']}",
        },
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await shell.communicate()
    assert shell.returncode == 0, printed.decode()
    assert (echoing.folder / "answer.md").read_text() == "Which points of the release checklist are open?\n"
    assert (echoing.folder / "run.md").read_text().startswith("# ")
    assert [steer.text for steer in (await jobs.state(running)).state.steers] == ["Leave the tickets out."]
    await jobs.cancel(running)
